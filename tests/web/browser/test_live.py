"""Pages that follow what happens: by the stream of events, and by polling where it is kept away."""

from __future__ import annotations

import re
from pathlib import Path

import redis as redis_py
from playwright.sync_api import Browser, Page, expect

from jobd.testing import EmbeddedServer
from tests.web.browser.conftest import Open
from tests.web.serving import serving

SHORT = """
import sys
from jobd.web import live
live.EVERY, live.LASTS = 0.2, 0.5
from jobd.cli.main import main
sys.exit(main())
"""

_TURN = """(away) => {
  Object.defineProperty(document, "hidden", {value: away, configurable: true});
  document.dispatchEvent(new Event("visibilitychange"));
}"""
"""Bring the window to the front, or put it away: without a screen they are all in front."""

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


def _follows(page: Page, redis: redis_py.Redis) -> None:
    """The counters and the chart of now show what has happened since the page was opened."""
    drawn = page.locator("#now-chart canvas")
    expect(drawn).to_be_visible(timeout=30_000)
    redis.mset({"stat:processed": 5000, "stat:failed": 40})
    redis.zadd("retry", {"a": 1, "b": 2})
    expect(page.locator(".counter [data-stat=processed]")).to_have_text("5,000")
    expect(page.locator(".counter [data-stat=failed]")).to_have_text("40")
    expect(page.locator("nav [data-stat=retries]")).to_have_text("2")
    for name in ("processed", "failed"):
        expect(page.locator(f"[data-rate={name}]")).not_to_have_text(re.compile("^[0–]$"))


def test_the_overview_follows_the_stream(visit: Open, redis: redis_py.Redis) -> None:
    page = visit("/")
    expect(page.locator("#pulse.on")).to_be_attached()
    _follows(page, redis)


def test_where_the_stream_is_kept_away_the_overview_polls(
    visit: Open, redis: redis_py.Redis
) -> None:
    page = visit("/find", expected="ERR_FAILED")
    page.route("**/live", lambda route: route.abort())
    with page.expect_response("**/api/v1/stats"):
        page.goto(page.url.replace("/find", "/"))
    _follows(page, redis)
    expect(page.locator("#pulse.on")).to_be_attached()


def test_a_window_in_the_background_keeps_no_connection(visit: Open) -> None:
    page = visit("/")
    expect(page.locator("#pulse.on")).to_be_attached()
    with page.expect_event("requestfailed", lambda asked: asked.url.endswith("/live")):
        page.evaluate(_TURN, True)
    with page.expect_request("**/live"):
        page.evaluate(_TURN, False)
    expect(page.locator("#pulse.on")).to_be_attached()
