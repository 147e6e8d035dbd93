"""Every code block of the guides is true: it runs, and prints what the page says."""

from __future__ import annotations

import doctest
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

import jobd
from jobd import hooks
from jobd.testing import EmbeddedServer

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(?:python|pycon)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(autouse=True)
def clean(
    server: EmbeddedServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """The test server is the usual one, and nothing registered on a page stays behind."""
    monkeypatch.setenv("JOBD_REDIS", server.url)
    monkeypatch.setattr(hooks, "_hooks", {event: [] for event in hooks._hooks})
    jobd.configure()
    yield
    jobd.client_middleware.clear()
    jobd.server_middleware.clear()
    jobd.error_handlers.clear()
    jobd.death_handlers.clear()


@pytest.mark.parametrize("page", ["jobs.md", "guarantees.md", "api.md", "../README.md"])
def test_blocks_are_true(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = (DOCS / page).read_text()
    names: dict[str, Any] = {"__name__": "app"}
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
