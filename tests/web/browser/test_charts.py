"""What the charts draw, and what stands around them."""

from __future__ import annotations

import datetime
import itertools
import time
from typing import Any

from playwright.sync_api import Page

from jobd.api import Api
from tests.api.conftest import job, push
from tests.web.browser import looks
from tests.web.browser.conftest import Open
from tests.web.test_classes import ran

_COLOURED = """(colour) => {
  const drawn = document.querySelector("#days-chart canvas"), canvas = drawn.cloneNode();
  const pen = canvas.getContext("2d", {willReadFrequently: true});
  pen.drawImage(drawn, 0, 0);
  pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(colour).trim();
  const wanted = [1, 3, 5].map((at) => parseInt(pen.fillStyle.slice(at, at + 2), 16));
  const seen = pen.getImageData(0, 0, canvas.width, canvas.height).data;
  let count = 0;
  for (let at = 0; at < seen.length; at += 4)
    count += wanted.every((part, offset) => Math.abs(seen[at + offset] - part) < 40);
  return count;
}"""
"""How many points of the history have a colour."""


def coloured(page: Page, colour: str) -> int:
    page.locator("#days-chart canvas").wait_for()
    page.evaluate("() => new Promise(requestAnimationFrame)")  # when uPlot has drawn
    found: int = page.evaluate(_COLOURED, colour)
    return found


def test_days_without_failures_are_not_red(visit: Open, api: Api) -> None:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    api.redis.set(api.keys.processed_on(today), 1000)
    page = visit("/")
    assert coloured(page, "--good") > 100
    assert coloured(page, "--bad") == 0
    api.redis.set(api.keys.failed_on(today), 500)
    page = visit("/?days=7")
    assert coloured(page, "--bad") > 100


_GAP = """() => {
  const at = Date.now() / 1000 + 100;
  const tell = (after, processed) => document.dispatchEvent(
    new CustomEvent("jobd:stats", {detail: {at: at + after, processed, failed: 0}}));
  for (let second = 0; second <= 20; second += 2) tell(second, 100 * second);
  for (let second = 60; second <= 80; second += 2) tell(second, 100 * second);
  const drawn = document.querySelector("#now-chart canvas"), canvas = drawn.cloneNode();
  const frame = () => new Promise(requestAnimationFrame);
  return frame().then(frame).then(() => {
    const pen = canvas.getContext("2d", {willReadFrequently: true});
    pen.drawImage(drawn, 0, 0);
    pen.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--good").trim();
    const wanted = [1, 3, 5].map((at) => parseInt(pen.fillStyle.slice(at, at + 2), 16));
    const columns = new Set(), seen = pen.getImageData(0, 0, canvas.width, canvas.height).data;
    for (let at = 0; at < seen.length; at += 4)
      if (wanted.every((part, offset) => Math.abs(seen[at + offset] - part) < 40))
        columns.add((at / 4) % canvas.width);
    const marked = [...columns].sort((a, b) => a - b);
    const apart = marked.map((column, at) => column - (marked[at - 1] ?? column));
    return Math.max(...apart) / canvas.width;
  });
}"""
"""The widest part of the chart of now without a line, of 120 seconds of which 40 are missing."""


def test_a_gap_in_what_is_known_has_no_line(visit: Open) -> None:
    page = visit("/")
    page.locator("#now-chart canvas").wait_for()
    assert page.evaluate(_GAP) > 0.2


_LINES = """() => [...document.querySelectorAll(".backlog td:last-child")].map((cell) => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  return new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size;
})"""


def test_a_phone_does_not_take_an_age_apart(visit: Open, api: Api) -> None:
    old: dict[str, Any] = dict.fromkeys(("created_at", "enqueued_at"), time.time() - 20)
    push(api, "customers-and-orders-of-all-countries", job(1, **old))
    older: dict[str, Any] = dict.fromkeys(old, time.time() - 90_000)
    push(api, "paused", job(2, **older))
    api.queue("paused").pause()
    for width in (390, 320):
        page = visit("/", width=width)
        assert page.evaluate(_LINES) == [1, 1]


_TICKS = """() => {
  const seen = [], pen = CanvasRenderingContext2D.prototype, write = pen.fillText;
  pen.fillText = function (text, x, y) {
    const half = this.measureText(text).width / 2;
    const fits = this.textAlign !== "center" || x + half <= this.canvas.width;
    seen.push({text, fits, row: Math.round(y), left: x - half, right: x + half});
    write.call(this, text, x, y);
  };
  document.dispatchEvent(new CustomEvent("jobd:theme"));  // which draws again
  const frame = () => new Promise(requestAnimationFrame);
  return frame().then(frame).then(() => seen);
}"""
"""What is written at the axes."""


def ticks(page: Page) -> set[str]:
    written: list[dict[str, Any]] = page.evaluate(_TICKS)
    for tick, following in itertools.pairwise(written):
        assert tick["fits"], tick["text"]
        apart = tick["row"] != following["row"] or tick["right"] < following["left"]
        assert apart, (tick["text"], following["text"])
    return {tick["text"] for tick in written}


def test_the_axis_of_times_has_a_unit(visit: Open, api: Api) -> None:
    ran(api.redis, "shop.report", 900.0, 1_600.0)
    assert {"10 min", "40 min"} <= ticks(visit("/classes"))
    assert "1 h" in ticks(visit("/classes?scale=log"))
    ran(api.redis, "shop.report", 90_000.0)
    assert {"6 h", "24 h"} <= ticks(visit("/classes?hours=2"))
    found = ticks(visit("/classes/one?name=shop.report"))
    assert {"1", "2", "3"} <= found, "numbers of executions have none"
    for width in (1280, 390):
        assert "6 h" in ticks(visit("/classes?hours=72", width=width))


_ENDS_ON_A_TICK = """(hours) => {
  const chart = document.getElementById("metrics-chart"), drawn = JSON.parse(chart.dataset.chart);
  const last = Date.UTC(2026, 8, 29) / 1000, count = drawn.times.length;
  drawn.times = drawn.times.map((_, at) => last - hours * 3600 * (1 - at / (count - 1)));
  chart.dataset.chart = JSON.stringify(drawn);
}"""
"""The last time is one that is written at the axis, at its very end."""


def test_a_time_at_the_end_of_the_axis_is_not_cut(visit: Open, api: Api) -> None:
    ran(api.redis, "shop.report", 900.0)
    for hours, last in (8, "Sep 29"), (72, "Sep 29"):
        page = visit(f"/classes?hours={hours}")
        page.evaluate(_ENDS_ON_A_TICK, hours)
        assert last in ticks(page)
    assert ticks(visit("/?days=180"))


def test_no_class_has_the_colour_of_failures(visit: Open, api: Api) -> None:
    for number in range(7):
        ran(api.redis, f"shop.job{number}", number + 1.0)
    page = visit("/classes")
    page.locator("#metrics-legend i").nth(5).wait_for()
    colours = page.evaluate("""() => [...document.querySelectorAll("#metrics-legend i, .bad")]
      .map((each) => each.matches("i") ? each.style.backgroundColor : getComputedStyle(each).color)
    """)
    assert len(set(colours)) == len(colours) == 7, "six classes, and the banner of trouble"


_DRAWN = """() => document.querySelector("#metrics-chart .u-wrap").offsetWidth
  === document.getElementById("metrics-chart").clientWidth"""
"""Whether the chart is as wide as its place."""

_LABELS = """() => {
  const chart = document.getElementById("metrics-chart").getBoundingClientRect();
  const labels = [...document.querySelectorAll("#metrics-chart .deploy")];
  const boxes = labels.map((each) => each.getBoundingClientRect());
  const plot = document.querySelector("#metrics-chart .u-over").getBoundingClientRect();
  const apart = (a, b) =>
    a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
  return {
    shown: labels.map((each) => each.title),
    covered: boxes.flatMap((a, at) => boxes.slice(at + 1).filter((b) => !apart(a, b))).length,
    outside: boxes.filter((box) => box.left < plot.left || box.right > plot.right
      || box.top < chart.top || box.bottom > plot.top + 1).length,
  };
}"""


def test_labels_of_deploys_cover_nothing(visit: Open, api: Api) -> None:
    ran(api.redis, "shop.charge", 1.0)
    now, told = time.time(), []
    for minutes in (58, 57, 56, 55, 54, 30, 12, 2, 1, 0):
        told.append(f"4f2ab{minutes} Charge twice as fast, in the background")
        assert api.deploys.mark(told[-1], at=now - 60 * minutes)
    for path in ("/classes", "/classes/one?name=shop.charge"):
        page = visit(path)
        for width in (1280, 390, 320):
            page.set_viewport_size({"width": width, "height": 844})
            assert looks.too_wide(page) == []
            page.wait_for_function(_DRAWN)
            found = page.evaluate(_LABELS)
            assert (found["covered"], found["outside"]) == (0, 0)
            assert set(found["shown"]) <= set(told)
            assert len(found["shown"]) >= (5 if width == 1280 else 2)
        page.get_by_text("10 deploys").click()
        assert page.locator(".deploys li").count() == len(told)
        page.get_by_text(told[3]).last.wait_for()
