"""Every code block of the guides is true: it runs, and prints what the page says."""

from __future__ import annotations

import doctest
import gc
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis as redis_py

import jobd
from jobd.jobs.app import default
from jobd.jobs.hooks import Hooks
from jobd.jobs.propagation import propagation
from jobd.testing import EmbeddedServer, fake
from tests.support.daemon import environment

DOCS = Path(__file__).parents[3] / "docs"
BLOCK = re.compile(r"^```(?:python|pycon)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

FILE = re.compile(r"^<!-- file: (\S+) -->\n```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(autouse=True)
def clean(
    server: EmbeddedServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The test server is the usual one, and nothing registered on a page stays behind."""
    monkeypatch.setenv("JOBD_REDIS", server.url)
    monkeypatch.setattr(default, "hooks", Hooks())
    jobd.configure()
    yield
    propagation.reset()
    jobd.client_middleware.clear()
    jobd.server_middleware.clear()
    jobd.error_handlers.clear()
    jobd.death_handlers.clear()
    jobd.cancel_handlers.clear()
    with warnings.catch_warnings():
        # Pages leave connections to their databases open; the warning would meet another test.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


PAGES = [
    "jobs",
    "async",
    "unique",
    "periodic",
    "batches",
    "workflows",
    "results",
    "guarantees",
    "api",
    "sqlalchemy",
    "flask",
    "fastapi",
    "litestar",
    "limits",
    "from-celery",
    "from-rq",
    "from-dramatiq",
    "from-huey",
    "from-sidekiq",
]
"""The blocks of Python on each run one after the other, as one program. What is marked ``rb`` is
Ruby, and what is marked ``py`` is a file of an application, code of another tool, or a part that
does not stand alone: those run below."""


@pytest.mark.parametrize("page", [*(f"{name}.md" for name in PAGES), "../README.md"])
def test_blocks_are_true(
    page: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (DOCS / page).read_text()
    module = ModuleType("app")
    monkeypatch.setitem(sys.modules, "app", module)  # where frameworks look for annotations
    names: dict[str, Any] = vars(module)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    blocks = list(BLOCK.finditer(text))
    assert blocks
    for block in blocks:
        line = text.count("\n", 0, block.start()) + 1
        if block[1].startswith(">>>"):
            test = doctest.DocTest(
                doctest.DocTestParser().get_examples(block[1]), names, page, page, line, None
            )
            test.globs = names  # DocTest copies them, but a page is one program
            runner.run(test, clear_globs=False)
        else:
            source = "\n" * line + block[1]
            exec(compile(source, str(DOCS / page), "exec", dont_inherit=True), names)
    assert runner.failures == 0, capsys.readouterr().out


PARTS = {
    "django.md": """
from types import SimpleNamespace
from tests.unit.contrib import django_site
from jobd import job
@job
def audit(number): ...
@job
def index(number): ...
user = SimpleNamespace(pk=7)
""",
    "fastapi.md": "from fastapi import FastAPI",
    "flask.md": """
import sys
from types import SimpleNamespace
from flask import Flask
app = Flask("shop")
sys.modules["shop"] = SimpleNamespace(create_app=lambda: Flask("made"))
""",
    "litestar.md": """
from litestar import Litestar, get
@get("/")
async def join() -> None: ...
""",
    "periodic.md": """
from jobd import App, Schedule
from jobd.testing import world
app = App()
@app.job(cron=Schedule("0 6 * * *", name="report-eu"))
def report(): ...
api = enter(world(app=app)).api
""",
    "sqlalchemy.md": """
from types import SimpleNamespace
from sqlalchemy.orm import Session
from jobd import job
session, user = enter(Session()), SimpleNamespace(id=7)
@job
def welcome(user_id): ...
""",
}
"""What has to be there before the parts of programs on a page, in the order in which they stand."""

OTHERS = ("from-celery.md", "from-rq.md")
"""Pages that begin with a part of a program for another tool."""

PART = re.compile(r"(?<!-->\n)^```py\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_parts_of_programs_run_or_belong_to_another_tool() -> None:
    pages = {page.name for page in DOCS.glob("*.md") if PART.search(page.read_text())}
    assert pages == {*PARTS, *OTHERS}


@pytest.mark.parametrize("page", PARTS)
def test_parts_of_programs_are_true(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("app")
    monkeypatch.setitem(sys.modules, "app", module)
    monkeypatch.setitem(sys.modules, "shop", ModuleType("shop"))  # which is there again afterwards
    with ExitStack() as stack:
        names: dict[str, Any] = vars(module)
        names["enter"] = stack.enter_context
        if "world(" not in PARTS[page]:
            stack.enter_context(fake())
        for source in (PARTS[page], *PART.findall((DOCS / page).read_text())):
            exec(compile(source, page, "exec", dont_inherit=True), names)
    if page == "django.md":
        from jobd.contrib.django.options import options_of

        assert options_of(names["JOBD"], {})[1] == []
        assert {"OPTIONS", "BACKEND"} <= names["TASKS"]["default"].keys()


def test_the_tests_of_a_page_pass(tmp_path: Path) -> None:
    """docs/testing.md is a module and files of tests. That of Django runs in test_with_django."""
    files = files_of(DOCS / "testing.md")
    del files["shop/tests.py"]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    plugin = ["-p", "jobd_pytest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, "-W", "error"],
        cwd=tmp_path,
        env=environment({"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tests = "".join(files.values()).count("def test_")
    assert tests > 5
    assert f"{tests} passed" in done.stdout


def files_of(page: Path) -> dict[str, str]:
    """The files that a page shows, by their names; what stands in several blocks is one file."""
    files: dict[str, str] = {}
    for name, block in FILE.findall(page.read_text()):
        files[name] = f"{files[name]}\n\n{block}" if name in files else block
    return files
