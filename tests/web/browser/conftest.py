"""A real browser, and a real ``jobd web`` for it.

Whatever a page writes to the console, an error of a script or something that the content security
policy has kept away, fails the test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
import redis as redis_py
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from jobd.testing import EmbeddedServer
from tests import processes

CHROMIUM = os.environ.get("JOBD_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)

expect.set_options(timeout=15_000)  # a test that fails may take its time
_FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for a module; its windows share nothing. It ends with the module: as long as it
    is there, nothing else in this process can run an event loop."""
    if not CHROMIUM:
        pytest.skip(
            "no Chromium here: apt-get install chromium, or say in JOBD_CHROMIUM where one is"
        )
    before = {process.pid for process in processes.descendants()}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        started = {process.pid for process in processes.descendants()} - before
        processes.worlds.update(started)
        yield browser
        browser.close()
    processes.worlds.difference_update(started)


@pytest.fixture
def require() -> str:
    """The application that the dashboard knows; empty for none."""
    return ""


@pytest.fixture
def address(server: EmbeddedServer, redis: redis_py.Redis, require: str) -> Iterator[str]:
    """Where a dashboard of the test's Redis listens; whoever opens it is an administrator."""
    command = [sys.executable, "-m", "jobd", "web", "--redis", server.url, "-p", "0"]
    command += ["-r", require] if require else []
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[2].rstrip("/")
        process.terminate()


class Open(Protocol):
    """Opens a page in a window of its own."""

    def __call__(
        self,
        path: str,
        *,
        width: int = 1280,
        dark: bool = False,
        script: bool = True,
        expected: str = "",
    ) -> Page: ...


@pytest.fixture
def visit(chromium: Browser, address: str) -> Iterator[Open]:
    """Open pages by ``visit("/retries")``; *expected* is a part of what they may complain about."""
    said: list[str] = []

    contexts = []

    def show(
        path: str,
        *,
        width: int = 1280,
        dark: bool = False,
        script: bool = True,
        expected: str = "",
    ) -> Page:
        def listen(message: ConsoleMessage) -> None:
            is_bad = message.type in ("error", "warning")
            if is_bad and not (expected and expected in message.text):
                said.append(message.text)

        context = chromium.new_context(
            viewport={"width": width, "height": 844},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
        )
        contexts.append(context)
        context.set_default_timeout(15_000)
        page = context.new_page()
        page.on("console", listen)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address + path)
        return page

    yield show
    for context in contexts:
        context.close()
    assert not said, "the pages complained:\n" + "\n".join(said)
