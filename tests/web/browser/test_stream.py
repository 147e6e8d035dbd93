"""The stream of a page, as a browser takes it."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis as redis_py
from playwright.sync_api import Browser

from jobd.testing import EmbeddedServer
from tests.web.serving import serving

pytestmark = pytest.mark.xdist_group("browser")

SHORT = """
import sys
from jobd.web import live
live.EVERY, live.LASTS = 0.2, 0.5
from jobd.cli import main
sys.exit(main())
"""

WATCH = """() => {
  const pulse = document.getElementById("pulse");
  window.seen = [];
  new MutationObserver(() => window.seen.push(pulse.className)).observe(pulse, {attributes: true});
}"""


def test_the_next_stream_begins_without_a_flicker(
    tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis, chromium: Browser
) -> None:
    with serving(tmp_path, settings={"JOBD_REDIS": server.url}, code=SHORT) as served:
        page = chromium.new_page()
        troubles: list[str] = []
        streams: list[str] = []
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on(
            "request", lambda asked: streams.append(asked.url) if "/live" in asked.url else None
        )
        page.goto(served.url)
        page.wait_for_selector("#pulse.on", state="attached")
        page.evaluate(WATCH)
        while len(streams) < 4:
            page.wait_for_event("request", lambda asked: "/live" in asked.url, timeout=20_000)
        redis.set("stat:processed", 4711)
        page.wait_for_selector("[data-stat=processed]:text('4,711')", timeout=20_000)
        assert set(page.evaluate("window.seen")) <= {"dot on"}
        assert troubles == []
        page.context.close()
