"""Busy, stacks, a job's page and its editor in a real browser."""

from __future__ import annotations

import redis as redis_py

from jobd.api import Api
from tests.api.conftest import job, push
from tests.conftest import StartDaemon
from tests.web.browser import looks
from tests.web.browser.conftest import Open
from tests.web.test_busy import ONE, process, run, signals
from tests.web.test_job import FAILED, JID, put

APP = """
import threading
from jobd import job
from jobd.worker import heartbeat

heartbeat.BEAT = 1.0  # so that the tests need not wait long for what comes with the next one

@job
def ponder():
    threading.Event().wait(60)
"""


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
    # The worker is told at once: they may be there before anybody has seen the page wait.
    page.locator("pre.trace .own", has_text="in ponder").wait_for(timeout=25_000)
    assert page.get_by_text("Waiting for 1 process,").count() == 0

    page.go_back()
    page.get_by_role("button", name="Quiet", exact=True).click()
    page.get_by_text("has been told to take no new jobs").wait_for()
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
    page.get_by_text("stops when its jobs end").wait_for()
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
        page.get_by_role("button", name="Run with these").click()
    assert refused.value.status == 422
    page.get_by_text("enter a whole number").wait_for()
    assert page.get_by_label("note", exact=True).input_value() == "hello"
    page.get_by_label("order", exact=True).fill("8")
    page.get_by_role("button", name="Run with these").click()
    page.get_by_text("with your changes").wait_for()
    (record,) = api.queue("default").page()
    assert record.args == [8, "hello"]
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Restored").wait_for()


def test_without_scripts_everything_can_be_done(visit: Open, api: Api) -> None:
    process(api, ONE)
    push(api, "default", job(1, "shop.charge"))
    page = visit("/busy", script=False)
    page.get_by_role("button", name="Quiet", exact=True).click()
    page.get_by_text("told to take no new jobs").wait_for()
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


def test_the_days_tell_their_numbers_under_the_pointer(visit: Open, api: Api) -> None:
    page = visit("/")
    usual = page.locator("[data-readout]").text_content()
    page.locator("#days-chart .u-over").hover()
    page.wait_for_function(
        "usual => document.querySelector('[data-readout]').textContent !== usual", arg=usual
    )
    assert "0 processed, 0 failed" in (page.locator("[data-readout]").text_content() or "")


def test_light_and_dark_at_the_press_of_a_button(visit: Open, api: Api) -> None:
    page = visit("/")
    assert not looks.is_dark(page)
    page.get_by_role("button", name="Light or dark").click()
    assert looks.is_dark(page)
    page.goto(page.url + "queues")
    assert looks.is_dark(page), "this browser remembers it"
    page.get_by_role("button", name="Light or dark").click()
    assert not looks.is_dark(page)
    page.evaluate("localStorage.clear()")


def test_the_keys_explain_themselves(visit: Open, api: Api) -> None:
    page = visit("/")
    page.get_by_role("button", name="Keys").click()
    page.get_by_role("dialog").get_by_text("find a job by its id").wait_for()
    assert looks.serious(page) == []
    page.get_by_role("button", name="Close").click()
    assert not page.get_by_role("dialog").is_visible()
    for key, heading in (("u", "Queues"), ("r", "Retries"), ("d", "Dead"), ("a", "Audit")):
        page.keyboard.press("g")
        page.keyboard.press(key)
        page.get_by_role("heading", name=heading, exact=True).wait_for()


def test_finding_a_job_by_its_id(visit: Open, api: Api) -> None:
    push(api, "default", job(1, "shop.charge"))
    page = visit("/", expected="404 ")
    page.keyboard.press("f")
    page.keyboard.type(JID)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="shop.charge").wait_for()
    page.get_by_role("textbox", name="Find a job by its id").fill("f" * 24)
    page.keyboard.press("Enter")
    page.get_by_text("is running, waiting, scheduled or dead.").wait_for()
