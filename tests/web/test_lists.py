"""The pages of the retries, the scheduled and the dead jobs, and what is done to those."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from jobd.api import Api, JobSet
from jobd.web import Role
from jobd.web.pages import set_actions
from tests.api.conftest import HOSTILE, everything_in, job, push, waiting
from tests.web.site import Page, Site, as_role

SETS = {"retries": "retry", "scheduled": "schedule", "dead": "dead"}

Fill = Callable[..., JobSet]


@pytest.fixture(params=SETS)
def page(request: pytest.FixtureRequest) -> str:
    """Name of one of the pages."""
    return str(request.param)


def fill(api: Api, page: str, *raws: bytes, first: float | None = None) -> JobSet:
    """Put jobs into the set of a page, a second apart."""
    jobs: JobSet = getattr(api, page)
    start = time.time() + 1000 if first is None else first
    places = {raw: start + at for at, raw in enumerate(raws)}
    for at in range(0, len(raws), 1000):
        api.redis.zadd(jobs._key, {raw: places[raw] for raw in raws[at : at + 1000]})
    return jobs


def failed(number: int, **fields: Any) -> bytes:
    """A job that has failed."""
    error = {"error_class": "Net::ReadTimeout", "error_message": f"no answer for order {number}"}
    made = {**error, "failed_at": 1.0, "retry_count": 2, **fields}
    return job(number, made.pop("name", "Bill"), **made)


def numbers(page: Page) -> list[int]:
    """Of the jobs on a page."""
    return [int(key.rpartition("-")[2], 16) for key in page.keys]


def test_an_empty_list_says_what_would_be_in_it(page: str, site: Site) -> None:
    text = site.get(f"/{page}").text
    assert {"retries": "Nothing to retry", "scheduled": "Nothing is scheduled"}.get(
        page, "No dead jobs"
    ) in text
    assert "Nothing here matches" in site.get(f"/{page}", q="x").text


def test_what_a_row_tells(page: str, site: Site, api: Api) -> None:
    fill(api, page, failed(7, tags=["vip"], kwargs={"to": "ada"}, queue="mails"))
    found = site.get(f"/{page}")
    for text in ("Bill", "7", 'to="ada"', "vip", "mails", "in 16 min"):
        assert text in found.text
    # It may go on in another line behind the colons.
    assert ("Net:: ReadTimeout" in found.text) == (page != "scheduled")
    assert found.links["mails"].endswith("/queue?name=mails")
    assert f"/job?set={SETS[page]}&key={found.keys[0]}" in found.links["Bill"]
    assert found.links["Bill"].startswith("/job?")


def test_page_by_page_in_both_orders(page: str, site: Site, api: Api) -> None:
    fill(api, page, *(failed(n) for n in range(60)))
    usual, other = list(range(60)), list(reversed(range(60)))
    if page == "dead":
        usual, other = other, usual
    first = site.get(f"/{page}")
    assert numbers(first) == usual[:25]
    assert numbers(site.get(first.links["Next →"])) == usual[25:50]
    assert numbers(site.get(f"/{page}", order="other", count=50)) == other[:50]
    last = site.get(f"/{page}", start=50)
    assert "51–60 of 60" in last.text
    assert "Next →" not in last.links


def test_many_jobs_of_one_moment(site: Site, api: Api) -> None:
    api.redis.zadd(api.keys.schedule, {job(n): 2_000_000_000.0 for n in range(2500)})
    page = site.get("/scheduled", start=1300)
    asked = site.press(page, "Delete", *(("key", key) for key in page.keys))
    assert "Deleted 25 jobs." in site.press(asked, "Delete 25 jobs").text
    assert api.scheduled.size == 2475


def test_retrying_and_adding_to_a_queue_need_no_question(site: Site, api: Api) -> None:
    for page, button in (
        ("retries", "Retry now"),
        ("dead", "Retry now"),
        ("scheduled", "Add to queue"),
    ):
        fill(api, page, *(failed(n, queue=page) for n in range(3)))
        found = site.get(f"/{page}")
        done = site.press(found, button, ("key", found.keys[1]))
        assert "Put into their queues: 1 job." in done.text
        assert len(waiting(api, page)) == 1
        assert getattr(api, page).size == 2
    assert "No jobs were selected" in site.press(site.get("/retries"), "Retry now").text


@pytest.mark.parametrize("action", ["Kill", "Delete"])
def test_what_takes_away_asks_and_can_be_undone(action: str, site: Site, api: Api) -> None:
    fill(api, "retries", *(failed(n) for n in range(3)))
    before = everything_in(api, api.keys.retry)
    found = site.get("/retries")
    asked = site.press(found, action, *(("key", key) for key in found.keys[:2]))
    assert f"{action} 2 jobs?" in asked.text
    assert "Bill" in asked.text
    assert everything_in(api, api.keys.retry) == before
    done = site.press(asked, f"{action} 2 jobs")
    assert (api.retries.size, api.dead.size) == (1, 2 if action == "Kill" else 0)
    again = site.press(asked, f"{action} 2 jobs")
    assert "0 jobs. No longer there, not a job, or kept out by another one: 2." in again.text
    assert "Restored 2 jobs" in site.press(done, "Undo").text
    assert everything_in(api, api.keys.retry) == before
    assert api.dead.size == 0
    assert "can no longer be undone" in site.press(done, "Undo").text


def test_rescheduling_by_a_delay_or_to_a_time(page: str, site: Site, api: Api) -> None:
    if page == "dead":
        return
    jobs = fill(api, page, failed(1))
    found = site.get(f"/{page}")
    asked = site.press(found, "Reschedule", ("key", found.keys[0]))
    fields = asked.form("Reschedule").hidden

    def answer(*given: tuple[str, str]) -> Page:
        kept = [field for field in fields if field[0] not in dict(given)]
        return site.send(f"/{page}/act", [*kept, *given])

    for wrong, says in (
        *((text, "must be a number") for text in ("", "-1", "soon", "nan")),
        *((text, "hundred years") for text in ("1e99", "1e7")),
    ):
        refused = answer(("kind", "in"), ("amount", wrong), ("unit", "hours"))
        assert refused.status == 422
        assert says in refused.text
    assert answer(("kind", "at"), ("at", "tomorrow")).status == 422
    assert "Rescheduled 1 job" in answer(("kind", "in"), ("amount", "2"), ("unit", "hours")).text
    assert abs(jobs.page().entries[0].waits - 7200) < 60
    key = jobs.page().entries[0].key
    fields = [*(field for field in fields if field[0] != "key"), ("key", key)]
    # A browser whose clock is two hours before UTC.
    answer(("kind", "at"), ("at", "2033-05-18T03:33"), ("zone", "-120"))
    assert jobs.page().entries[0].score == 1_999_992_780.0


def test_who_may_do_what(page: str, api: Api) -> None:
    fill(api, page, failed(1))
    viewer, operator = as_role(api, Role.VIEWER), as_role(api, Role.OPERATOR)
    seen = viewer.get(f"/{page}")
    assert seen.keys == []
    assert "Bill" in seen.text
    assert not any(seen.has_button(text) for text in ("Retry now", "Delete", "Reschedule"))
    found = operator.get(f"/{page}")
    assert not found.has_button("Delete")
    fields = [("sure", "1"), ("all", "1"), ("action", "delete")]
    assert operator.insist(f"/{page}/act", *fields).status == 403
    assert operator.insist(f"/{page}/act", ("action", "explode")).status == 400
    assert getattr(api, page).size == 1


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("order 17", [17]),
        ("error:timeout jid:000000000000000000000005", [5]),
        ("tag:vip", [0, 100]),
        ("class:mail", [0, 50, 100, 150]),
        ("queue:low class:mail", [50, 150]),
        ("17*none", []),
    ],
)
def test_searching(query: str, found: list[int], page: str, site: Site, api: Api) -> None:
    raws = [
        failed(
            n,
            name="MailJob" if n % 50 == 0 else "Bill",
            queue="low" if n % 100 else "high",
            tags=["vip"] if n % 100 == 0 else [],
            error_message=f"no answer for order {n}." if n == 17 else "",
        )
        for n in range(200)
    ]
    fill(api, page, *raws)
    assert sorted(numbers(site.get(f"/{page}", q=query))) == found


def test_a_long_search_goes_on_where_it_was(site: Site, api: Api) -> None:
    fill(api, "dead", *(failed(n, tags=["rare"] if n % 500 == 0 else []) for n in range(40_000)))
    page, seen, pages = site.get("/dead", q="tag:rare"), list[int](), 1
    seen += numbers(page)
    while "Search on" in page.links:
        page = site.get(page.links["Search on"])
        seen, pages = seen + numbers(page), pages + 1
    assert set(seen) == {n for n in range(40_000) if n % 500 == 0}
    assert 1 < pages < 500


@pytest.mark.parametrize("cursor", ["nonsense", "-1", "9" * 20, "9" * 40, "9" * 5000, str(2**64)])
def test_what_is_no_cursor_is_refused(cursor: str, page: str, site: Site, api: Api) -> None:
    fill(api, page, failed(1))
    refused = site.look(f"/{page}", q="x", cursor=cursor)
    assert refused.status == 400
    assert "not a cursor" in refused.text
    fields = [("action", "delete"), ("all", "1"), ("sure", "1"), ("q", "Bill"), ("cursor", cursor)]
    assert site.insist(f"/{page}/act", *fields).status == 400
    assert getattr(api, page).size == 1
    assert site.look(f"/{page}", q="x", cursor=2**64 - 1).status == 200
    assert site.look("/queue", name="mail", q="x", cursor=cursor).status == 400


def _to_the_end(site: Site, page: Page) -> tuple[Page, int]:
    """Press Continue until an action is done; and how often that was."""
    steps = 0
    while page.has_button("Continue"):
        page, steps = site.press(page, "Continue"), steps + 1
    return page, steps


def test_what_has_to_stay_stops_no_others_and_is_told(
    site: Site, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_actions, "STEP", 0.0)
    api.redis.set(api.keys.queue("broken"), "?")
    stays = (failed(n, queue="broken") for n in range(7000, 7003))
    fill(api, "retries", *(failed(n, name="Mail") for n in range(1000)), failed(1), *stays)
    asked = site.press(site.get("/retries", q="class:bill"), "Retry now", ("all", "1"))
    button = next(text for form in asked.forms for text in form.buttons if text.startswith("Retry"))
    done, steps = _to_the_end(site, site.press(asked, button))
    assert steps
    assert "Put into their queues: 1 job. Kept out by other jobs: 3." in done.text
    assert api.retries.size == 1003


@pytest.mark.parametrize("action", ["Retry now", "Kill", "Delete"])
def test_all_that_match_step_by_step(
    action: str, site: Site, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_actions, "STEP", 0.0)
    fill(api, "retries", *(failed(n, name="Mail" if n % 3 else "Bill") for n in range(3000)))
    page = site.get("/retries", q="class:bill")
    asked = site.press(page, action, ("all", "1"))
    assert "that match “class:bill”" in asked.text
    verb = action.split()[0]
    button = next(text for form in asked.forms for text in form.buttons if text.startswith(verb))
    done, steps = _to_the_end(site, site.press(asked, button))
    assert steps > 2
    assert "1,000 jobs." in done.text
    assert api.retries.size == 2000
    assert done.response.url.params["q"] == "class:bill"
    assert (api.queue("default").size, api.dead.size) == {
        "Retry now": (1000, 0),
        "Kill": (0, 1000),
    }.get(action, (0, 0))
    (entry,) = api.audit.page(100)
    assert entry.jobs == 1000
    if action != "Retry now":
        _, steps = _to_the_end(site, site.press(done, "Undo"))
        assert api.retries.size == 3000


def test_really_all(site: Site, api: Api) -> None:
    fill(api, "dead", *(failed(n) for n in range(1000)))
    asked = site.press(site.get("/dead"), "Delete", ("all", "1"))
    assert "Delete all dead jobs (1,000 jobs)?" in asked.text
    done = site.press(asked, "Delete 1,000 jobs")
    assert api.dead.size == 0
    site.press(done, "Undo")
    assert api.dead.size == 1000


def test_a_long_undo_goes_on(site: Site, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobd.web.pages.trash.STEP", 0.0)
    fill(api, "dead", *(failed(n) for n in range(1000)))
    asked = site.press(site.get("/dead"), "Delete", ("all", "1"))
    first = site.press(site.press(asked, "Delete 1,000 jobs"), "Undo")
    assert "100 of 1,000" in first.text
    second = site.press(first, "Continue")
    assert "200 of 1,000" in second.text
    done, steps = _to_the_end(site, second)
    assert "Restored 1,000 jobs" in done.text
    assert steps == 8
    assert api.dead.size == 1000


def test_a_long_undo_says_how_many_are_not_there_any_more(
    site: Site, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.web.pages.trash.STEP", 0.0)
    fill(api, "retries", *(failed(n) for n in range(300)))
    api.acting_as("ann").retries.sweep("kill").run()
    api.redis.zremrangebyrank(api.keys.dead, 0, 49)
    done, _ = _to_the_end(site, site.press(site.get("/trash"), "Restore"))
    assert "Restored 250 jobs. Moved or run in the meantime: 50." in done.text


@pytest.mark.parametrize("raw", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_is_in_a_set(raw: bytes, page: str, site: Site, api: Api) -> None:
    fill(api, page, raw, first=float("inf"))
    for path in (f"/{page}", f"/{page}?order=other", f"/{page}?q=x", f"/{page}?q=class:A"):
        found = site.get(path)
        assert len(found.html) < 30_000
        assert not [tag for tag, given in found.tags if tag == "script" and "src" not in given]
    if page != "scheduled":
        site.get(f"/{page}/groups")
    found = site.get(f"/{page}")
    site.press(site.press(found, "Delete", ("key", found.keys[0])), "Delete 1 job")
    assert getattr(api, page).size == 0
    assert "Restored 1 job" in site.press(site.get("/trash"), "Restore").text


def test_html_in_every_field_is_text(page: str, site: Site, api: Api) -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    fields = {"tags": [evil], "error_class": evil, "error_message": evil, "queue": evil}
    fill(api, page, failed(1, name=evil, jid=evil, args=[evil], kwargs={evil: evil}, **fields))
    paths = [f"/{page}", f"/{page}?q=alert", "/queues", "/audit", "/trash"]
    if page != "scheduled":
        paths.append(f"/{page}/groups")
    for path in paths:
        found = site.get(path)
        assert not [tag for tag, given in found.tags if tag == "script" and "src" not in given]
        assert not [given for tag, given in found.tags if tag == "img" or "onerror" in given]
    found = site.get(f"/{page}")
    asked = site.press(found, "Delete", ("key", found.keys[0]))
    assert not [tag for tag, given in asked.tags if tag == "img"]
    site.press(asked, "Delete 1 job")
    assert (
        evil
        in site.get(
            next(href for href in site.get("/trash").links.values() if "/trash/jobs" in href)
        ).text
    )


def test_a_secret_is_not_shown(site: Site, api: Api) -> None:
    fill(api, "retries", failed(1, args=[1, "TOPSECRET"], encrypt=True))
    page = site.get("/retries")
    assert "[encrypted data]" in page.text
    assert "TOPSECRET" not in page.html
    assert "TOPSECRET" not in site.press(page, "Delete", ("key", page.keys[0])).html


def test_a_secret_of_what_is_no_job_is_not_shown(page: str, site: Site, api: Api) -> None:
    raws = [
        b'{"args":[1,"TOPSECRET"],"encrypt":true,"jid":"a"}',
        b'{"class":"Mail","args":"TOPSECRET","encrypt":true,"jid":"b"}',
    ]
    fill(api, page, *raws)
    push(api, "mail", *raws)
    found = site.get(f"/{page}")
    assert found.text.count("not a job") == 2
    asked = site.press(found, "Delete", ("all", "1"))
    done = site.press(asked, "Delete 2 jobs")
    (address,) = (href for href in site.get("/trash").links.values() if "/trash/jobs" in href)
    for shown in (found, asked, done, site.get("/queue", name="mail"), site.get(address)):
        assert "TOPSECRET" not in shown.html
    assert "[encrypted data]" in site.get("/queue", name="mail").text


def test_finds_are_in_no_order(site: Site, api: Api) -> None:
    fill(api, "retries", *(failed(n) for n in range(3)))
    assert "Next first" in site.get("/retries").links
    page = site.get("/retries", q="order")
    assert "In no particular order" in page.text
    assert "Next first" not in page.links


def test_a_tag_leads_to_the_jobs_that_have_it(page: str, site: Site, api: Api) -> None:
    odd = ["vip customer", 'with "quotes"', "l" * 100]
    fill(api, page, failed(1, tags=odd), failed(2, tags=["vip customer"]), failed(3, tags=["vip"]))
    listed = site.get(f"/{page}")
    found = site.get(listed.links["vip customer"])
    assert sorted(numbers(found)) == [1, 2]
    assert listed.links['with "quotes"'] == "", "no search can say it"
    assert listed.links["l" * 39 + "…"] == ""
    of_job = site.get("/job", set=SETS[page], key=next(k for k in listed.keys if k.endswith("1")))
    assert sorted(numbers(site.get(of_job.links["vip customer"]))) == [1, 2]
