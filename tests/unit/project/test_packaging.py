"""A plain ``pip install pyjobd`` brings everything that the daemon and its tools import."""

from __future__ import annotations

import ast
import re
import runpy
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import setuptools
from packaging.requirements import Requirement

from tests.lowest import OF_USERS, pins

ROOT = Path(__file__).parents[3]

MODULES = {"python-daemon": "daemon"}
"""Distributions whose module is not called as they are."""

CONTRIB = [
    path for path in (ROOT / "jobd/contrib").iterdir() if not path.name.startswith(("_", "."))
]

DATA = {"tzdata"}
"""What is never imported by its name: the standard library reads it."""

OPTIONAL = {"rich", "uvloop", "watchfiles", "asgiref"}
"""What only `jobd demo` and `jobd dev` need, which ask for the extra, and what is used where it is
installed, or where Django is that brings it."""


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    found: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", found.update)
    monkeypatch.chdir(ROOT)
    runpy.run_path(str(ROOT / "setup.py"))
    return found


def imported(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).partition(".")[0]


def test_what_is_imported_is_required(metadata: dict[str, Any]) -> None:
    sources = [path for name in ("jobd", "jobctl") for path in (ROOT / name).rglob("*.py")]
    of_web = [path for path in sources if path.is_relative_to(ROOT / "jobd/web")]
    of_top = [path for path in sources if path.is_relative_to(ROOT / "jobctl/top")]
    of_contrib = [path for path in sources if path.is_relative_to(ROOT / "jobd/contrib")]
    required = modules(metadata["install_requires"])
    assert foreign(set(sources) - {*of_web, *of_top, *of_contrib}) - OPTIONAL == required - DATA
    assert foreign(of_web) - required == modules(metadata["extras_require"]["web"])
    assert foreign(of_top) - required == modules(metadata["extras_require"]["tui"])


@pytest.mark.parametrize("name", sorted(each.stem for each in CONTRIB))
def test_the_extra_of_a_framework_brings_what_its_module_imports(
    metadata: dict[str, Any], name: str
) -> None:
    [path] = [each for each in CONTRIB if each.stem == name]
    sources = path.rglob("*.py") if path.is_dir() else [path]
    extras = metadata["extras_require"]
    # A transaction of FastAPI is one of SQLAlchemy.
    beside = extras["sqlalchemy"] if name == "fastapi" else []
    known = modules([*metadata["install_requires"], *extras["web"], *extras[name], *beside])
    assert foreign(sources) <= known
    assert set(extras[name]) <= set(extras["test"])


def test_what_msgspec_raises_is_caught_by_its_name() -> None:
    """Before its version 0.21 it was no ValueError."""
    wrong = []
    for path in [path for name in ("jobd", "jobctl") for path in (ROOT / name).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Try):
                continue
            tried = "\n".join(map(ast.unparse, node.body))
            caught = ", ".join(ast.unparse(each.type) for each in node.handlers if each.type)
            if re.search(
                r"(msgspec\.(json\.(en|de)code|json\.format|convert)|\b_(en|de)code\w*)\(", tried
            ) and ("ValueError" in caught and "msgspec." not in caught):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: {caught}")
    assert not wrong, "\n".join(wrong)


def modules(requirements: Iterable[str]) -> set[str]:
    found = set()
    for line in requirements:
        name, *extras = re.findall(r"[a-z][a-z0-9-]+", re.split("[<>=]", line)[0])
        found |= {MODULES.get(name, name), *extras}
    return found


def foreign(sources: Iterable[Path]) -> set[str]:
    needed = {name for source in sources for name in imported(source)}
    return needed - sys.stdlib_module_names - {"jobd", "jobctl"}


def test_no_advice_installs_a_stranger() -> None:
    """What the index has under the name jobd is another program; ours is pyjobd."""
    foreign = re.compile(r"\bpip install (?:-\S+ )*['\"]?jobd\b|\bjobd(?:\[\w+\])? @ ")
    root = Path(__file__).parents[3]
    files = [root / "README.md", *root.glob("docs/**/*.md")]
    for package in ("jobd", "jobctl", "benchmarks"):
        files += (root / package).rglob("*.py")
    assert [str(file) for file in files if foreign.search(file.read_text())] == []


def test_the_lowest_versions_are_those_of_setup(metadata: dict[str, Any]) -> None:
    """`make test DEPS=lowest` installs these."""
    extras = metadata["extras_require"]
    named = (extra for name in OF_USERS for extra in extras[name])
    of_users = {*metadata["install_requires"], *named}
    expected = {each.name: each.specifier for each in map(Requirement, of_users)}
    lowest = dict(pin.split("==") for pin in pins(requires("pyjobd") or ()))
    assert expected.keys() == lowest.keys()
    for name, version in lowest.items():
        assert version in expected[name]
        assert f">={version}" in str(expected[name])


def test_a_requirement_without_a_lower_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="no lower bound: redis<9"):
        list(pins(["redis<9"]))


def test_the_requirements_that_the_readme_shows_are_some(metadata: dict[str, Any]) -> None:
    text = (ROOT / "README.md").read_text()
    blocks = re.findall(r"<!-- requirements: [\w.]+ -->\n```\w*\n(.*?)^```$", text, re.S | re.M)
    shown = [
        Requirement(each) for each in re.findall(r"pyjobd[^\n\"]* @ [^\n\"]+", "".join(blocks))
    ]
    assert [each.name for each in shown] == ["pyjobd"] * 3
    assert {extra for each in shown for extra in each.extras} <= metadata["extras_require"].keys()
