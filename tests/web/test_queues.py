"""The pages of all queues and of one."""

from __future__ import annotations

import json
import re

import pytest

from jobd.api import Api
from jobd.web import Role
from jobd.web.pages import queue as queue_page
from jobd.web.shared.queue_rates import FORGOTTEN, Flows
from tests.api.conftest import HOSTILE, job, push, waiting
from tests.web.site import TOKEN, Site, as_role
from tests.web.test_busy import ONE, TWO, process

NAMES = ["<script>alert(1)</script>", "a b&c=d/../?#%", "long" * 2000, "naïve 😀", "\x00\x1b[31m"]


def test_nothing_has_been_pushed_yet(site: Site) -> None:
    assert "No queues yet" in site.get("/queues").text
    assert "This queue is empty" in site.get("/queue", name="never").text
    assert "The address names no queue" in site.look("/queue").text


def test_the_queues_and_where_they_lead(site: Site, api: Api) -> None:
    push(api, "default", *(job(n, enqueued_at=1_000_000_000.0) for n in range(1234)))
    push(api, "low", job(1))
    api.queue("low").pause()
    page = site.get("/queues")
    assert "1,234" in page.text
    assert "paused" in page.text
    assert "job 7" not in site.client.get(page.links["default"]).text
    by_size = [
        name for name in site.get("/queues", sort="size").links if name in ("default", "low")
    ]
    assert by_size == ["default", "low"]
    assert "low" in site.get("/queues", q="LO").text
    assert "No queue of that name" in site.get("/queues", q="none").text
    assert site.get("/").links["default"] == page.links["default"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_looked_at_paused_and_cleared(name: str, site: Site, api: Api) -> None:
    push(api, name, job(1))
    page = site.get("/queues")
    assert not [tag for tag, given in page.tags if tag == "script" and "src" not in given]
    page = site.press(page, "Pause")
    assert api.queue(name).paused
    page = site.press(page, "Resume")
    assert not api.queue(name).paused
    asked = site.press(page, "Clear")
    assert api.queue(name).size == 1
    assert "1 job" in asked.text
    assert "can be undone" in asked.text
    done = site.press(asked, "Delete 1 job")
    assert api.queues() == []
    site.press(done, "Undo")
    assert waiting(api, name) == [job(1)]
    assert [entry.action for entry in api.audit.page()] == [
        *("restore", "clear", "unpause", "pause")
    ]
    assert {entry.who for entry in api.audit.page()} == {"admin"}


def test_a_pause_tells_who_does_not_obey_it(site: Site, api: Api) -> None:
    push(api, "mail", job(1))
    process(api, ONE)
    page = site.press(site.get("/queue", name="mail"), "Pause")
    assert "Queue mail is paused: no worker takes jobs from it." in page.text
    assert "Sidekiq" not in page.text
    process(api, TWO, info={"implementation": None})
    site.press(page, "Resume")
    page = site.press(site.get("/queue", name="mail"), "Pause")
    assert "no worker of jobd takes jobs from it. A process of Sidekiq serves it, too" in page.text
    assert f"unless it is Sidekiq Pro: {TWO}." in page.text
    again = site.get("/queue", name="mail")
    assert f"unless it is Sidekiq Pro: {TWO}." in again.text, "as long as it is paused"
    assert "Busy" in again.links


def test_what_is_pushed_into_an_empty_queue(site: Site, api: Api) -> None:
    process(api, ONE)
    assert "taken as soon as they are pushed" in site.get("/queue", name="mail").text
    api.queue("mail").pause()
    site = as_role(api, Role.ADMIN)
    paused = site.get("/queue", name="mail").text
    assert "wait here until the queue is resumed" in paused
    assert "as soon as" not in paused
    process(api, TWO, info={"implementation": None})
    site = as_role(api, Role.ADMIN)
    assert "taken as soon as they are pushed" in site.get("/queue", name="mail").text


def test_a_queue_that_is_paused_before_its_first_job(site: Site, api: Api) -> None:
    api.queue("import").pause()
    assert "import paused" in site.get("/queues").text
    assert "import paused" in site.get("/").text
    page = site.get("/queue", name="import")
    assert "import paused" in page.text
    assert not page.has_button("Pause")
    answer = site.client.get("/api/v1/queues", headers={"authorization": f"Bearer {TOKEN}"})
    assert answer.json()["queues"] == [
        {"name": "import", "size": 0, "latency": 0.0, "paused": True, "slo": None}
    ]
    assert api.redis.smembers(api.keys.queues) == set(), "Sidekiq shows what it did before"
    done = site.press(page, "Resume")
    assert "no longer paused" in done.text
    assert done.has_button("Pause")
    assert not api.queue("import").paused
    assert "No queues yet" in site.get("/queues").text


def test_who_may_do_what(api: Api) -> None:
    push(api, "default", job(1))
    viewer, operator = as_role(api, Role.VIEWER), as_role(api, Role.OPERATOR)
    for path in ("/queues", "/queue?name=default"):
        page = viewer.get(path)
        assert not page.has_button("Pause")
        assert not page.has_button("Clear")
        assert not page.has_button("Move")
        assert operator.get(path).has_button("Pause")
        assert not operator.get(path).has_button("Clear")
        assert not operator.get(path).has_button("Delete")
    token = operator.get("/queues").form("Pause").hidden[0]
    key = operator.get("/queue?name=default").keys[0]
    fields = [token, ("name", "default"), ("sure", "1"), ("key", key)]
    for address, action in (("/queues/act", "clear"), ("/queue/act", "delete")):
        refused = operator.send(address, [*fields, ("action", action)])
        assert refused.status == 403
        assert "admin" in refused.text
    assert waiting(api) == [job(1)]


def test_a_form_that_makes_no_sense_is_refused(site: Site, api: Api) -> None:
    push(api, "default", job(1))
    token = site.get("/queues").form("Pause").hidden[0]
    for address, fields in (
        ("/queues/act", [("action", "explode"), ("name", "default")]),
        ("/queues/act", [("action", "pause")]),
        ("/queue/act", [("action", "explode"), ("name", "default")]),
        ("/queue/act", [("action", "delete"), ("name", "default"), ("key", "nonsense")]),
        ("/queue/act", [("action", "move"), ("name", "default"), ("key", "~" + "0" * 16)]),
    ):
        assert site.send(address, [token, *fields]).status == 400
    assert waiting(api) == [job(1)]


def test_the_jobs_page_by_page_in_both_orders(site: Site, api: Api) -> None:
    push(api, "default", *(job(n) for n in range(70)))
    first = site.get("/queue", name="default")
    assert f"{'0' * 24}~" in first.keys[0]
    assert "1–25 of 70" in first.text
    second = Site.get(site, first.links["Next →"])
    assert [int(key[:24], 16) for key in second.keys] == list(range(25, 50))
    newest = site.get("/queue", name="default", order="other", count=50)
    assert [int(key[:24], 16) for key in newest.keys] == list(range(69, 19, -1))
    assert "ends before this page" in site.get("/queue", name="default", start=1000).text
    for odd in ({"start": "-1"}, {"start": "9" * 40}, {"count": "10000000"}, {"count": "x"}):
        assert len(site.get("/queue", name="default", **odd).keys) in (0, 25)


@pytest.mark.parametrize("order", ["", "other"])
def test_chosen_jobs_are_deleted_while_workers_take_others(
    order: str, site: Site, api: Api
) -> None:
    push(api, "default", *(job(n) for n in range(60)))
    page = site.get("/queue", name="default", order=order, start=20)
    chosen = [("key", key) for key in page.keys[3:6]]
    numbers = [int(key[:24], 16) for _, key in chosen]
    api.redis.rpop(api.keys.queue("default"), 10)
    asked = site.press(page, "Delete", *chosen)
    assert "Delete 3 jobs of queue default?" in asked.text
    push(api, "default", job(1000))
    done = site.press(asked, "Delete 3 jobs")
    left = [*(n for n in range(10, 60) if n not in numbers), 1000]
    assert [json.loads(raw)["args"][0] for raw in waiting(api)] == left
    assert "Restored 3 jobs" in site.press(done, "Undo").text
    assert len(waiting(api)) == 51


def test_one_job_by_its_own_button(site: Site, api: Api) -> None:
    push(api, "default", job(1), job(2))
    page = site.get("/queue", name="default")
    key = page.keys[1]
    address = next(g["formaction"] for tag, g in page.tags if g.get("name") == "only")
    token = page.form("Move").hidden[0]
    asked = site.send(address, [token, ("name", "default"), ("only", key), ("key", page.keys[0])])
    site.press(asked, "Delete 1 job")
    assert waiting(api) == [job(1)]


def test_jobs_that_have_run_meanwhile_are_left_out(site: Site, api: Api) -> None:
    push(api, "default", job(1), job(2))
    page = site.get("/queue", name="default")
    asked = site.press(page, "Delete", *(("key", key) for key in page.keys))
    api.redis.rpop(api.keys.queue("default"))
    done = site.press(asked, "Delete 2 jobs")
    assert "Deleted 1 job of queue default. No longer there: 1." in done.text
    assert "No jobs were selected" in site.press(page, "Delete").text


def test_moving_to_another_queue(site: Site, api: Api) -> None:
    push(api, "default", *(job(n) for n in range(5)))
    page = site.get("/queue", name="default")
    chosen = [("key", key) for key in page.keys[:2]]
    assert "Moved 2 jobs to queue low" in site.press(page, "Move", *chosen, ("target", "low")).text
    assert waiting(api, "low") == [job(0, queue="low"), job(1, queue="low")]
    refused = site.press(page, "Move", *chosen, ("target", "not a name"))
    assert refused.status == 400
    assert "not a name" in refused.text


def test_searching_goes_on_where_it_was(site: Site, api: Api) -> None:
    push(api, "default", *(job(n, "Bill" if n % 1000 == 999 else "Ok") for n in range(40_000)))
    page, numbers = site.get("/queue", name="default", q="class:bill"), []
    for _ in range(100):
        numbers += [int(key[:24], 16) for key in page.keys]
        if "Search on" not in page.links:
            break
        page = site.get(page.links["Search on"])
    assert numbers == [n for n in range(40_000) if n % 1000 == 999]
    assert "40 of 40,000" in page.text
    assert "Nothing here matches" in site.get("/queue", name="low", q="x").text


@pytest.mark.parametrize("raw", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_is_in_a_queue_can_be_seen_found_and_deleted(
    raw: bytes, site: Site, api: Api
) -> None:
    push(api, "default", raw, b"no json")
    for path in ("/queue?name=default", "/queue?name=default&order=other", "/queues", "/"):
        page = site.get(path)
        assert len(page.html) < 30_000
        assert not [tag for tag, given in page.tags if tag == "script" and "src" not in given]
    for query in ("jid:x", "class:A", "error:x tag:*", '"', "no json", "\ud83d", "é*é", "queue:*"):
        site.get("/queue", name="default", q=query.encode(errors="replace"))
    page = site.get("/queue", name="default")
    asked = site.press(page, "Delete", ("key", page.keys[0]))
    site.press(asked, "Delete 1 job")
    assert waiting(api) == [b"no json"]


def test_rates_from_what_was_seen_between_two_looks(api: Api) -> None:
    push(api, "default", *(job(n) for n in range(100)))
    flows = Flows()

    def look(now: float) -> tuple[float | None, ...]:
        rates = flows.look(api, api.queues(), now)["default"]
        return rates.coming, rates.leaving, rates.growing, rates.empty_in

    assert look(0.0) == (None, None, None, None)
    push(api, "default", *(job(n) for n in range(100, 120)))
    api.redis.rpop(api.keys.queue("default"), 40)
    assert look(10.0) == (2.0, 4.0, -2.0, 40.0)
    # Too soon to tell more.
    assert look(10.5) == (2.0, 4.0, -2.0, 40.0)
    # All that was seen has gone: nobody can say how many came.
    api.redis.delete(api.keys.queue("default"))
    push(api, "default", job(1000))
    assert look(20.0)[:3] == (2.0, 4.0, -2.0)
    # Somebody has put jobs back at the other end.
    api.redis.rpush(api.keys.queue("default"), *(job(n) for n in range(10)))
    assert look(30.0)[:2] == (1.5, 2.0)
    assert look(31.0 + FORGOTTEN) == (None, None, None, None)


def test_each_job_has_its_place(site: Site, api: Api) -> None:
    push(api, "default", *(job(n, tags=["rare"] if n == 1200 else []) for n in range(1234)))
    for query, first in (({}, 1), ({"start": 1225}, 1226), ({"order": "other"}, 1234)):
        text = site.get("/queue", name="default", **query).text
        assert re.findall(r" ([\d,]+) \d+ d \d+ h ago Ok", text)[0] == f"{first:,}"
    page = site.get("/queue", name="default", q="tag:rare")
    assert " 1,201 " in page.text
    assert page.links["rare"] == "/queue?name=default&q=tag%3A%22rare%22"


def test_moving_all_jobs(site: Site, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Step by step, in their order, as one action in the audit log."""
    monkeypatch.setattr(queue_page, "STEP", 0.0)
    push(api, "default", *(job(n) for n in range(450)))
    process(api, ONE)
    page = site.get("/queue", name="default")
    asked = site.press(page, "Move all 450", ("target", "low"))
    assert "Move all 450 jobs of queue default to queue low?" in asked.text
    assert "No process takes jobs from that queue." in asked.text
    assert api.queue("default").size == 450, "nothing is done before the answer"
    step = site.press(asked, "Move 450 jobs")
    while step.has_button("Continue"):
        assert "Moving jobs to queue low" in step.text
        push(api, "default", job(1000))  # what comes meanwhile is not moved
        step = site.press(step, "Continue")
    assert "Moved 450 jobs to queue low." in step.text
    moved = [json.loads(raw)["args"][0] for raw in waiting(api, "low")]
    assert moved == list(range(450))
    assert {json.loads(raw)["args"][0] for raw in waiting(api)} == {1000}
    (entry,) = api.audit.page(10)
    assert (entry.action, entry.target, entry.jobs) == ("move to low", "queue:default", 450)


@pytest.mark.parametrize("target", ["", "default", "not a name"])
def test_all_jobs_go_only_to_another_queue(target: str, site: Site, api: Api) -> None:
    push(api, "default", job(1))
    page = site.get("/queue", name="default")
    assert site.press(page, "Move all 1", ("target", target)).status == 400
    assert "Move all" not in as_role(api, Role.VIEWER).get("/queue", name="default").text


def test_a_queue_that_no_process_serves_says_so(site: Site, api: Api) -> None:
    push(api, "mail", job(1))
    push(api, "lonely", job(2))
    process(api, ONE)
    process(api, TWO, quiet="true", info={"capsules": {"a": {"weights": {"lonely": 1}}}})
    for path in ("/", "/queues"):
        text = site.get(path).text
        assert "lonely not served" in text
        assert text.count("not served") == 1, "mail is served"
    page = site.get("/queue", name="lonely")
    assert "No process takes jobs from this queue. Start one with -q lonely" in page.text
    assert "not served" not in site.get("/queue", name="mail").text
    assert "until a process serves this queue" in site.get("/queue", name="new").text
