"""The lists as people use them: with a mouse, with keys, without scripts."""

from __future__ import annotations

import pytest
import redis as redis_py
from playwright.sync_api import expect

from jobd.api import Api
from tests.api.conftest import job, push
from tests.web.browser.conftest import Open
from tests.web.test_lists import failed, fill


@pytest.fixture
def api(redis: redis_py.Redis) -> Api:
    """Some of everything."""
    made = Api(redis)
    push(made, "default", *(job(n) for n in range(60)))
    push(made, "x" * 300, job(1))
    for name in ("retries", "scheduled", "dead"):
        fill(made, name, *(failed(n, tags=["vip"], args=["a" * 500, n]) for n in range(60)))
    made.acting_as("alice").queue("x" * 300).clear()
    return made


def test_choosing_all_on_the_page_and_retrying(api: Api, visit: Open) -> None:
    page = visit("/retries")
    page.get_by_label("All on this page").check()
    expect(page.locator("input[name=key]:checked")).to_have_count(25)
    page.get_by_role("button", name="Retry now").click()
    expect(page.get_by_role("status")).to_contain_text("Put into their queues: 25 jobs.")
    assert api.retries.size == 35


def test_all_sixty_step_by_step_without_a_click(api: Api, visit: Open) -> None:
    page = visit("/dead")
    page.get_by_label("All 60").check()
    page.get_by_role("button", name="Retry now").click()
    page.get_by_role("button", name="Retry 60 jobs now").click()
    expect(page.get_by_role("status")).to_contain_text("60 jobs")
    expect(page.get_by_text("No dead jobs")).to_be_visible()
    assert api.queue("default").size == 120


def test_a_long_action_goes_on_by_itself(redis: redis_py.Redis, visit: Open) -> None:
    api = Api(redis)
    for first in range(0, 60_000, 20_000):
        fill(api, "retries", *(failed(n) for n in range(first, first + 20_000)))
    page = visit("/retries?q=order")
    page.get_by_label("All that match").check()
    page.get_by_role("button", name="Kill").click()
    steps: list[str] = []
    page.on("response", lambda answer: steps.append(answer.request.method))
    page.get_by_role("button", name="Kill at least").click(timeout=60_000)
    expect(page.get_by_role("status")).to_contain_text("Killed 60,000 jobs", timeout=60_000)
    assert steps.count("POST") > 1
    assert api.retries.size == 0


def test_what_deletes_asks_and_is_undone(api: Api, visit: Open) -> None:
    page = visit("/dead")
    page.locator("input[name=key]").first.check()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Delete 1 job?")).to_be_visible()
    page.get_by_role("link", name="Cancel").click()
    assert api.dead.size == 60
    page.locator("input[name=key]").first.check()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete 1 job").click()
    expect(page.get_by_role("status")).to_contain_text("Deleted 1 job.")
    assert api.dead.size == 59
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("status")).to_contain_text("Restored 1 job.")
    assert api.dead.size == 60


def test_rescheduling_to_a_time_of_ones_own_clock(api: Api, visit: Open) -> None:
    page = visit("/scheduled")
    page.locator("input[name=key]").first.check()
    page.get_by_role("button", name="Reschedule").click()
    page.get_by_label("Date and hour").fill("2033-05-18T03:33")
    assert page.get_by_role("radio", name="At").is_checked()
    page.get_by_role("button", name="Reschedule").click()
    expect(page.get_by_role("status")).to_contain_text("Rescheduled 1 job.")
    behind = page.evaluate("new Date('2033-05-18T03:33').getTimezoneOffset()")
    assert api.scheduled.page(59, 1).entries[0].score == 1_999_999_980.0 + 60 * behind


def test_a_search_goes_on_by_itself(redis: redis_py.Redis, visit: Open) -> None:
    api = Api(redis)
    tags = {"tags": ["rare"]}
    fill(api, "dead", *(failed(n, **(tags if n % 3000 == 0 else {})) for n in range(60_000)))
    page = visit("/")
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.wait_for_url("**/dead")
    page.keyboard.press("/")
    page.keyboard.type("tag:rare")
    page.keyboard.press("Enter")
    expect(page.get_by_text("That is all: 20 of 60,000")).to_be_visible(timeout=60_000)
    expect(page.locator("a[data-row]")).to_have_count(20)


def test_the_groups_appear_and_grow_by_themselves(redis: redis_py.Redis, visit: Open) -> None:
    fill(Api(redis), "dead", *(failed(n) for n in range(40_000)))
    page = visit("/dead/groups")
    expect(page.get_by_text("Bill × 40,000")).to_be_visible(timeout=60_000)


def test_keys_walk_through_the_rows(api: Api, visit: Open) -> None:
    page = visit("/dead")
    for _ in range(3):
        page.keyboard.press("j")
    page.keyboard.press("k")
    focused = page.evaluate("document.activeElement.href")
    assert focused == page.locator("a[data-row]").nth(1).evaluate("link => link.href")


def test_a_list_follows_what_happens(api: Api, visit: Open) -> None:
    page = visit("/retries")
    expect(page.locator("a[data-row]")).to_have_count(25)
    api.retries.clear()
    expect(page.get_by_text("Nothing to retry")).to_be_visible()


def test_without_javascript_everything_can_be_done(api: Api, visit: Open) -> None:
    page = visit("/retries", script=False)
    assert not page.get_by_label("All on this page").is_visible()
    page.get_by_label("All 60").check()
    page.get_by_role("button", name="Kill").click()
    page.get_by_role("button", name="Kill 60 jobs").click()
    while page.get_by_role("button", name="Continue").is_visible():
        page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Undo").click()
    assert api.retries.size == 60
    page.goto(page.url.partition("/retries")[0] + "/queue?name=default")
    page.locator("input[name=key]").nth(2).check()
    page.get_by_label("To queue").fill("low")
    page.get_by_role("button", name="Move", exact=True).click()
    assert api.queue("low").size == 1
