"""Every button that changes something, pressed in a browser; what it says, and what it has done."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from jobd.api import Api, JobSet
from jobd.api.actions import SET_ACTIONS
from jobd.web.pages.set_actions import ASKED
from jobd.web.pages.sets import KINDS
from tests.api.conftest import job, push
from tests.web.browser import looks
from tests.web.browser.conftest import Open
from tests.web.test_busy import ONE, TWO, process, signals
from tests.web.test_job import FAILED, put
from tests.web.test_lists import failed, fill


def press(page: Page, name: str) -> None:
    """The first button or link that is called exactly that."""
    exact = re.compile(rf"^\s*{re.escape(name)}\s*$")
    button = page.get_by_role("button", name=exact)
    button.or_(page.get_by_role("link", name=exact)).first.click()


def says(page: Page, text: str) -> None:
    expect(page.get_by_role("status").first).to_contain_text(text)


@dataclass(frozen=True, slots=True)
class Case:
    """Something that somebody does.

    Attributes:
        make: what is there before; it returns the address of the page.
        presses: the buttons and links, one after the other.
        text: a part of what the page says then.
        done: whether it has been done.
        fields: what is filled in before, by label.
    """

    make: Callable[[Api], str]
    presses: tuple[str, ...]
    text: str
    done: Callable[[Api], bool]
    fields: tuple[tuple[str, str], ...] = ()


def queues(api: Api) -> str:
    push(api, "mail", job(1), job(2))
    return "/queues"


def queue(api: Api) -> str:
    queues(api)
    return "/queue?name=mail"


def paused(page: str) -> Callable[[Api], str]:
    def make(api: Api) -> str:
        queues(api)
        api.queue("mail").pause()
        return page

    return make


def workers(page: str) -> Callable[[Api], str]:
    def make(api: Api) -> str:
        process(api, ONE)
        process(api, TWO)
        return page

    return make


def one_in(name: str) -> Callable[[Api], str]:
    """The page of a job in a sorted set."""
    return lambda api: f"/job?set={name}&key={put(api, name, **FAILED)}"


def queued(api: Api) -> str:
    push(api, "mail", job(1, queue="mail"))
    return f"/job?set=queue:mail&key={1:024x}"


def deleted(page: str) -> Callable[[Api], str]:
    def make(api: Api) -> str:
        push(api, "mail", job(1), job(2))
        alice = api.acting_as("alice")
        alice.queue("mail").clear()
        return page.format(ref=alice.last_ref)

    return make


def told(*identities: str, what: bytes) -> Callable[[Api], bool]:
    return lambda api: all(signals(api, one) == [what] for one in identities)


def sizes(**wanted: int) -> Callable[[Api], bool]:
    """Whether the sets, and the queues by their names, have as many jobs."""

    def check(api: Api) -> bool:
        sets = {"retries": api.retries, "scheduled": api.scheduled, "dead": api.dead}
        found = {n: sets[n].size if n in sets else api.queue(n).size for n in wanted}
        return found == wanted

    return check


def is_paused(api: Api) -> bool:
    return api.queue("mail").paused


def is_running(api: Api) -> bool:
    return not api.queue("mail").paused


CASES = {
    "pause": Case(queues, ("Pause",), "Queue mail is paused", is_paused),
    "resume": Case(paused("/queues"), ("Resume",), "no longer paused", is_running),
    "clear": Case(queues, ("Clear", "Delete 2 jobs"), "Deleted 2 jobs", sizes(mail=0)),
    "queue: pause": Case(queue, ("Pause",), "Queue mail is paused", is_paused),
    "queue: resume": Case(paused("/queue?name=mail"), ("Resume",), "no longer paused", is_running),
    "queue: clear": Case(queue, ("Clear", "Delete 2 jobs"), "Deleted 2 jobs", sizes(mail=0)),
    "queue: clear, undo": Case(
        queue, ("Clear", "Delete 2 jobs", "Undo"), "Restored 2 jobs", sizes(mail=2)
    ),
    "queued job: move": Case(
        queued, ("Move",), "is in queue low", sizes(mail=0, low=1), (("Name of the queue", "low"),)
    ),
    "queued job: delete": Case(queued, ("Delete", "Delete"), "is deleted", sizes(mail=0)),
    "retry: now": Case(
        one_in("retry"), ("Retry now",), "is in its queue", sizes(retries=0, default=1)
    ),
    "retry: kill": Case(one_in("retry"), ("Kill", "Kill"), "is dead", sizes(retries=0, dead=1)),
    "retry: delete": Case(
        one_in("retry"), ("Delete", "Delete"), "is deleted", sizes(retries=0, dead=0)
    ),
    "retry: later": Case(
        one_in("retry"), ("Reschedule",), "is rescheduled", sizes(retries=1), (("How many", "3"),)
    ),
    "schedule: now": Case(
        one_in("schedule"), ("Add to queue",), "is in its queue", sizes(scheduled=0, default=1)
    ),
    "schedule: kill": Case(
        one_in("schedule"), ("Kill", "Kill"), "is dead", sizes(scheduled=0, dead=1)
    ),
    "schedule: delete": Case(
        one_in("schedule"), ("Delete", "Delete"), "is deleted", sizes(scheduled=0)
    ),
    "schedule: later": Case(
        one_in("schedule"), ("Reschedule",), "is rescheduled", sizes(scheduled=1)
    ),
    "dead: now": Case(one_in("dead"), ("Retry now",), "is in its queue", sizes(dead=0, default=1)),
    "dead: delete": Case(one_in("dead"), ("Delete", "Delete"), "is deleted", sizes(dead=0)),
    "quiet": Case(
        workers("/busy"), ("Quiet",), "told to take no new jobs", told(ONE, what=b"TSTP")
    ),
    "quiet, from the list": Case(
        workers("/busy?only=processes"),
        ("Quiet",),
        "told to take no new jobs",
        told(ONE, what=b"TSTP"),
    ),
    "quiet all": Case(
        workers("/busy"),
        ("Quiet all", "Quiet"),
        "2 processes have been told to take",
        told(ONE, TWO, what=b"TSTP"),
    ),
    "stop": Case(
        workers("/busy"), ("Stop", "Stop"), "stops when its jobs", told(ONE, what=b"TERM")
    ),
    "stop all": Case(
        workers("/busy"),
        ("Stop all", "Stop"),
        "2 processes have been told to stop",
        told(ONE, TWO, what=b"TERM"),
    ),
    "stacks": Case(
        workers("/busy"), ("Stacks",), "Waiting for 1 process,", told(ONE, what=b"TTIN")
    ),
    "stacks of all": Case(
        workers("/busy"),
        ("Stacks of all",),
        "Waiting for 2 processes",
        told(ONE, TWO, what=b"TTIN"),
    ),
    "stacks, again": Case(
        workers(f"/busy/stacks?identity={ONE}"),
        ("Ask again",),
        "Waiting for 1 process,",
        told(ONE, what=b"TTIN"),
    ),
    "trash: restore": Case(deleted("/trash"), ("Restore",), "Restored 2 jobs", sizes(mail=2)),
    "trash: delete for good": Case(
        deleted("/trash"),
        ("Delete for good", "Delete 2 jobs for good"),
        "Deleted 2 jobs for good",
        lambda api: api.trash.page().size == 0,
    ),
    "deletion: restore": Case(
        deleted("/trash/jobs?ref={ref}"), ("Restore 2 jobs",), "Restored 2 jobs", sizes(mail=2)
    ),
    "deletion: delete for good": Case(
        deleted("/trash/jobs?ref={ref}"),
        ("Delete for good", "Delete 2 jobs for good"),
        "Deleted 2 jobs for good",
        lambda api: api.trash.page().size == 0,
    ),
    "audit: undo": Case(deleted("/audit"), ("Undo",), "Restored 2 jobs", sizes(mail=2)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_pressing(case: Case, visit: Open, api: Api) -> None:
    page = visit(case.make(api))
    for label, value in case.fields:
        page.get_by_label(label).fill(value)
    for name in case.presses:
        press(page, name)
    says(page, case.text)
    assert case.done(api)


def _set(api: Api, page: str) -> JobSet:
    found: JobSet = getattr(api, page)
    return found


# What is done to all and to a group is the same for all sets.
@pytest.mark.parametrize(
    ("page_name", "action", "which"),
    [
        (kind.page, act.name, which)
        for kind in KINDS
        for act in kind.actions
        for which in (("chosen", "all", "group") if kind.page == "retries" else ("chosen",))
    ],
)
def test_on_jobs_of_a_set(page_name: str, action: str, which: str, visit: Open, api: Api) -> None:
    act = SET_ACTIONS[action]
    fill(api, page_name, *(failed(n) for n in range(4)))
    fill(api, page_name, failed(9, error_class="Other", name="Rare"), first=9e9)
    jobs = _set(api, page_name)
    before = [entry.score for entry in jobs]
    page = visit(f"/{page_name}/groups" if which == "group" else f"/{page_name}")
    count = {"chosen": 2, "all": 5, "group": 4}[which]
    if which == "chosen":
        for row in page.get_by_role("row").filter(has_text="Bill").all()[:2]:
            row.get_by_role("checkbox").check()
    elif which == "all":
        page.get_by_label("All 5").check()
    press(page, act.button)
    if act.asks or which != "chosen":
        which_jobs = {
            "chosen": f"{count} jobs",
            "all": f"all retries ({count} jobs)",
            "group": f"{count} jobs that failed with Net::ReadTimeout",
        }[which]
        expect(page.locator("h1")).to_have_text(f"{ASKED[action].filled(jobs=which_jobs)}?")
        assert looks.serious(page) == []
        asked = ASKED[action].filled(jobs=f"{count} jobs")
        press(page, act.button if action == "reschedule" else asked)
    says(page, act.done(count, ""))
    if action == "reschedule":
        assert len({entry.score for entry in jobs} - set(before)) >= 1
        assert jobs.size == 5
        return
    assert jobs.size == 5 - count
    assert api.queue("default").size == (count if action in ("retry", "add_to_queue") else 0)
    if action == "kill":
        assert api.dead.size == count
    if act.undoable:
        press(page, "Undo")
        says(page, f"Restored {count} jobs.")
        assert jobs.size == 5


def test_the_button_of_one_queued_job(visit: Open, api: Api) -> None:
    page = visit(queue(api))
    page.get_by_role("row").filter(has_text="Ok").first.get_by_role("button").click()
    press(page, "Delete 1 job")
    says(page, "Deleted 1 job of queue mail.")
    assert api.queue("mail").size == 1


@pytest.mark.parametrize("action", ["Move", "Delete"])
def test_on_chosen_jobs_of_a_queue(action: str, visit: Open, api: Api) -> None:
    page = visit(queue(api))
    page.get_by_label("All on this page").check()
    page.get_by_label("To queue").fill("low")
    page.locator(".bulk").get_by_role("button", name=action, exact=True).click()
    if action == "Delete":
        press(page, "Delete 2 jobs")
    says(page, f"{action}d 2 jobs")
    assert sizes(mail=0, low=2 if action == "Move" else 0)(api)


def test_a_new_time_that_is_none_is_refused(visit: Open, api: Api) -> None:
    fill(api, "retries", failed(1))
    page = visit("/retries", expected="422 ")
    page.get_by_label("Select Bill").check()
    press(page, "Reschedule")
    page.get_by_label("How long").fill("soon")
    press(page, "Reschedule")
    expect(page.get_by_role("alert").filter(visible=True)).not_to_be_empty()
    assert looks.serious(page) == []
