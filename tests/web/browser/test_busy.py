"""Busy, stacks, a job's page and its editor in a real browser."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from axe_playwright_python.sync_playwright import Axe

from jobd.api import Api
from tests.api.conftest import job, push
from tests.conftest import StartDaemon
from tests.web.browser.conftest import Open
from tests.web.test_busy import NASTY, ONE, process, run, signals
from tests.web.test_job import FAILED, JID, put

TOO_WIDE = """(() => {
  const most = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= most) return [];
  return [...document.querySelectorAll("main *")]
    .filter((each) => each.getBoundingClientRect().right > most)
    .map((each) => `${each.tagName}.${each.className} ${each.textContent.slice(0, 40)}`);
})()"""
"""What makes a page wider than its window."""

pytestmark = pytest.mark.xdist_group("browser")

SHOP = """
from jobd import job

@job
def charge(order: int, note: str = "x") -> None: ...
"""

APP = """
import threading
from jobd import job

@job
def ponder():
    threading.Event().wait(60)
"""


@pytest.fixture
def api(redis: redis_py.Redis) -> Api:
    return Api(redis)


@pytest.fixture
def require(tmp_path: Path) -> str:
    """The application that the dashboard knows."""
    file = tmp_path / "shop.py"
    file.write_text(SHOP)
    return str(file)


def test_the_page_follows_what_runs(visit: Open, api: Api) -> None:
    process(api, ONE)
    page = visit("/busy")
    page.get_by_text("5 threads wait for work").wait_for()
    run(api, ONE, job(1, "shop.Charge"), since=61)
    page.get_by_role("link", name="shop.Charge").wait_for(timeout=15_000)
    elapsed = page.locator("time[data-elapsed]")
    before = elapsed.text_content()
    page.wait_for_function(
        "before => document.querySelector('time[data-elapsed]').textContent !== before", arg=before
    )
    page.get_by_role("link", name="Busy 1").wait_for()


def test_stacks_of_a_real_worker_appear_by_themselves(
    visit: Open, daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-c", "2", "-t", "0")
    redis.lpush("queue:default", b'{"class":"app.ponder","args":[],"jid":"0123456789abcdef"}')
    page = visit("/busy")
    page.get_by_role("button", name="Stacks", exact=True).click()
    page.get_by_text("Waiting for 1 processes").wait_for()
    page.locator("pre.trace .own", has_text="in ponder").wait_for(timeout=25_000)
    assert page.get_by_text("Waiting for 1 processes").count() == 0

    page.go_back()
    page.get_by_role("button", name="Quiet", exact=True).click()
    page.get_by_text("takes no new jobs with its next heartbeat").wait_for()
    page.locator(".worker .tag", has_text="quiet").wait_for(timeout=25_000)
    running.stop()


def test_stopping_by_the_keyboard_asks(visit: Open, api: Api) -> None:
    process(api, ONE)
    page = visit("/busy")
    page.get_by_role("link", name="Stop", exact=True).press("Enter")
    page.get_by_role("heading", name=f"Stop process {ONE}?").wait_for()
    page.keyboard.press("Enter")
    assert signals(api, ONE) == [], "the button that stops is not the one that is chosen"
    page.get_by_role("button", name="Stop", exact=True).press("Enter")
    page.get_by_text("stops when its jobs have ended").wait_for()
    assert signals(api, ONE) == [b"TERM"]


def test_edit_and_retry_with_a_form(visit: Open, api: Api) -> None:
    fields = {"class": "shop.charge", "args": [7, "hello"]}
    key = put(api, "retry", **{**FAILED, **fields})
    page = visit(f"/job?set=retry&key={key}", expected="422 ")
    page.get_by_role("link", name="Edit and retry").click()
    order = page.get_by_label("order", exact=True)
    assert order.input_value() == "7"
    order.fill("eight")
    with page.expect_response(lambda answer: answer.request.method == "POST") as refused:
        page.get_by_role("button", name="Run it with these").click()
    assert refused.value.status == 422
    page.get_by_text("a whole number is wanted").wait_for()
    assert page.get_by_label("note", exact=True).input_value() == "hello"
    page.get_by_label("order", exact=True).fill("8")
    page.get_by_role("button", name="Run it with these").click()
    page.get_by_text("as you changed it").wait_for()
    (record,) = api.queue("default").page()
    assert record.args == [8, "hello"]
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Restored").wait_for()


def test_without_scripts_everything_can_be_done(visit: Open, api: Api) -> None:
    process(api, ONE)
    push(api, "default", job(1, "shop.charge"))
    page = visit("/busy", script=False)
    page.get_by_role("button", name="Quiet", exact=True).click()
    page.get_by_text("takes no new jobs").wait_for()
    page.get_by_role("textbox", name="Find a job by its id").fill(JID)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="shop.charge").wait_for()
    page.get_by_role("combobox", name="Name of the queue").fill("low")
    page.get_by_role("button", name="Move").click()
    page.get_by_text("in queue low").first.wait_for()


def test_the_keys(visit: Open, api: Api) -> None:
    process(api, ONE)
    run(api, ONE, job(1, "shop.Charge"), job(2, "shop.Refund"))
    page = visit("/")
    page.keyboard.press("?")
    page.get_by_role("dialog").get_by_text("next and previous row").wait_for()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("b")
    page.get_by_role("heading", name="Busy").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/job?set=work**")
    page.keyboard.press("f")
    assert page.evaluate("document.activeElement.id") == "find"


@pytest.mark.parametrize("dark", [False, True], ids=["desk-light", "phone-dark"])
def test_hostile_payloads_do_nothing_and_fit(visit: Open, api: Api, dark: bool) -> None:
    process(api, ONE, info={"tag": NASTY * 9, "labels": [NASTY, "x" * 300], "hostname": "h" * 300})
    long: dict[str, Any] = {
        "args": ["y" * 5000, {NASTY: NASTY}],
        "tags": ["z" * 300],
        "class": NASTY * 5,
    }
    run(api, ONE, job(1, **long), queue="q" * 500)
    nasty = {**FAILED, **long, "error_message": "w" * 5000, "error_class": NASTY}
    key = put(api, "dead", time.time(), **nasty)
    api.redis.hset(
        api.keys.stacks(ONE),
        mapping={"at": "1.0", "text": f"\n\nThread a: {NASTY}\n" + "v" * 5000},
    )
    width = 390 if dark else 1280
    for path in (
        *("/", "/busy", "/busy?only=jobs", "/busy?only=processes", f"/busy/stacks?identity={ONE}"),
        *(f"/job?set=dead&key={key}", f"/job?set=work&key={JID}"),
        *(f"/job/edit?set=dead&key={key}", "/find"),
    ):
        page = visit(path, dark=dark, width=width)
        page.locator("#pulse.on").wait_for()
        assert page.evaluate(TOO_WIDE) == [], path
        assert page.evaluate("window.hit") is None, path
        background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (background == "rgb(14, 17, 24)") is dark
        page.context.close()


def test_the_days_tell_their_numbers_under_the_pointer(visit: Open, api: Api) -> None:
    page = visit("/")
    usual = page.locator("[data-readout]").text_content()
    page.locator("#days-chart .u-over").hover()
    page.wait_for_function(
        "usual => document.querySelector('[data-readout]').textContent !== usual", arg=usual
    )
    assert "0 processed, 0 failed" in (page.locator("[data-readout]").text_content() or "")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious(visit: Open, api: Api, dark: bool) -> None:
    process(api, ONE)
    run(api, ONE, job(1, "shop.Charge", tags=["vip"]))
    push(api, "default", job(2))
    key = put(api, "retry", **{**FAILED, "class": "shop.charge", "args": [7, "hello"]})
    told: dict[Any, Any] = {
        "at": repr(time.time()),
        "text": 'Thread a (0x1): x\n  File "/srv/a.py", line 1, in f',
    }
    api.redis.hset(api.keys.stacks(ONE), mapping=told)
    for path in (
        *("/", "/busy", "/busy?only=jobs", "/busy?only=processes", f"/busy/stacks?identity={ONE}"),
        *(f"/busy/ask?do=stop&identity={ONE}", f"/job?set=retry&key={key}"),
        *(f"/job?set=work&key={JID}", f"/job/edit?set=retry&key={key}"),
        *(f"/job/edit?set=retry&key={key}&json=1", "/find"),
    ):
        page = visit(path, dark=dark)
        found = Axe().run(page).response["violations"]
        page.context.close()
        serious = [one for one in found if one["impact"] in ("serious", "critical")]
        assert not serious, (path, [(one["id"], one["nodes"][0]["html"]) for one in serious])
