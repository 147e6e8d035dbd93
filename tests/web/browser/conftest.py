"""A real browser, and a real ``jobd web`` for it.

Whatever a page writes to the console, an error of a script or something that the content security
policy has kept away, fails the test.

To start a dashboard takes longer than most tests: one serves a whole module. It holds no state, and
forgets between the tests what it has read a moment ago. So do the windows, but for the scripts and
styles that a browser may keep for ever.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import httpx2
import pytest
import redis as redis_py
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)

from jobd.api import Api
from jobd.testing import EmbeddedServer
from tests.support import processes
from tests.web.serving import serving

CHROMIUM = os.environ.get("JOBD_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)

SHOP = """
from jobd import job

@job
def charge(order: int, note: str = "x") -> None: ...
"""
"""The application that the dashboards of the tests know."""

expect.set_options(timeout=15_000)  # a test that fails may take its time
_FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"]
_CSRF = re.compile('name="csrf" value="([^"]+)"')


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


@contextmanager
def dashboard_of(
    directory: Path, redis_url: str, settings: dict[str, str] | None = None
) -> Iterator[str]:
    """A dashboard of a Redis that may outlive a test; its address. It knows the shop."""
    (directory / "shop.py").write_text(SHOP)
    given = {"JOBD_REDIS": redis_url, **(settings or {})}
    with serving(directory, "-r", str(directory / "shop.py"), settings=given) as served:
        processes.kept.add(served.process.pid)
        try:
            yield served.url.rstrip("/")
        finally:
            processes.kept.discard(served.process.pid)


@pytest.fixture(scope="module")
def address(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a dashboard listens; whoever opens it is an administrator."""
    with dashboard_of(tmp_path_factory.mktemp("dashboard"), server.url) as found:
        yield found


@pytest.fixture
def redis(address: str, redis: redis_py.Redis) -> redis_py.Redis:
    """Empty, and the dashboard knows it: it reads anew after everything that somebody does."""
    with httpx2.Client(base_url=address) as client:
        token = _CSRF.search(client.get("/queue", params={"name": "x"}).text)
        assert token
        pressed = {"csrf": token[1], "name": "x", "action": "resume"}
        assert client.post("/queues/act", data=pressed).status_code == 303
    redis.flushall()
    return redis


@pytest.fixture
def api(redis: redis_py.Redis) -> Api:
    return Api(redis)


class Windows:
    """Windows of a browser by how they look, and what the pages in them complain about.

    Attributes:
        said: each complaint.
    """

    def __init__(self, browser: Browser) -> None:
        self.said: list[str] = []
        self._browser = browser
        self._contexts: dict[tuple[int, bool, bool], BrowserContext] = {}

    def open(
        self,
        address: str,
        *,
        width: int = 1280,
        dark: bool = False,
        script: bool = True,
        expected: str = "",
    ) -> Page:
        """Open a page; *expected* is a part of what it may complain about."""

        def listen(message: ConsoleMessage) -> None:
            is_bad = message.type in ("error", "warning")
            if is_bad and not (expected and expected in message.text):
                self.said.append(f"{page.url}: {message.text}")

        look = (width, dark, script)
        if look not in self._contexts:
            self._contexts[look] = self._browser.new_context(
                viewport={"width": width, "height": 844},
                color_scheme="dark" if dark else "light",
                java_script_enabled=script,
            )
            self._contexts[look].set_default_timeout(15_000)
        page = self._contexts[look].new_page()
        page.on("console", listen)
        page.on("pageerror", lambda error: self.said.append(f"{page.url}: {error}"))
        page.goto(address)
        return page

    def close(self) -> None:
        """Close all pages and forget who looked at them; fail if one has complained."""
        for look, context in list(self._contexts.items()):
            _, _, script = look
            if script:
                for page in context.pages:
                    page.close()
                context.clear_cookies()
            else:
                # There a single page that is about to refresh itself may never be closed.
                context.close()
                del self._contexts[look]
        said = self.said.copy()
        self.said.clear()
        assert not said, "the pages complained:\n" + "\n".join(said)


@pytest.fixture(scope="module")
def windows(chromium: Browser) -> Windows:
    """Those of a module."""
    return Windows(chromium)


class Open(Protocol):
    """Opens a page."""

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
def visit(windows: Windows, address: str) -> Iterator[Open]:
    """Open pages of the dashboard by ``visit("/retries")``."""

    def show(
        path: str,
        *,
        width: int = 1280,
        dark: bool = False,
        script: bool = True,
        expected: str = "",
    ) -> Page:
        return windows.open(
            address + path, width=width, dark=dark, script=script, expected=expected
        )

    yield show
    windows.close()
