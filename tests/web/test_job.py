"""A job's page: what it says of jobs in every place, what can be done, and who may do it."""

from __future__ import annotations

import base64
import json
import time
import zlib
from typing import Any

import msgspec
import pytest

from jobd.api import Api, Progress
from jobd.web import Role
from tests.api.conftest import HOSTILE, job, push
from tests.web.site import Page, Site, as_role
from tests.web.test_busy import NASTY, ONE, process, run

JID = f"{1:024x}"
LINES = [
    "/usr/lib/python3.11/site-packages/requests/api.py:59:in 'get'",
    "/srv/shop/payments.py:88:in 'capture'",
]
FAILED: dict[str, Any] = {
    "error_class": "ConnectionError",
    "error_message": "502 from the gateway",
    "error_backtrace": base64.b64encode(zlib.compress(json.dumps(LINES).encode())).decode(),
    "retry_count": 2,
    "retry": 5,
}


def put(api: Api, name: str, score: float | None = None, **fields: Any) -> str:
    """A job in a sorted set; its key."""
    score = time.time() + 600 if score is None else score
    api.redis.zadd(getattr(api.keys, name), {job(1, "shop.Charge", **fields): score})
    return f"{score!r}-{JID}"


def report(
    api: Api, identity: str, jid: str, done: float, total: float | None = None, **more: Any
) -> None:
    """What the running job with this id has reported."""
    now, since = more.get("now") or time.time(), more.get("since", 10)
    seen = Progress(jid, 1, done, now, total, more.get("note", ""), 0, now - since)
    raw = msgspec.json.encode(seen)
    api.redis.hset(api.keys.progress(identity), f"{len(jid)}{jid[-3:]}:mail", raw)


def look(site: Site, name: str, key: str) -> Page:
    return site.get("/job", set=name, key=key)


def test_one_that_waits_for_a_lock(site: Site, api: Api) -> None:
    raw = job(1, "report", tags=["vip"], jobd={"v": 1, "lock": {"key": "report"}})
    lock = api.keys.lock("report")
    api.redis.hset(lock, mapping={"jid": "holder", "again": raw, "again_jid": JID})
    api.redis.zadd(api.keys.contested, {lock: time.time()})
    page = site.get("/find", jid=JID)
    assert "waits for a lock" in page.text
    assert "waits until job holder has ended" in page.text
    assert "vip" in page.text
    assert "Delete" not in page.links
    refused = site.look("/job/ask", set="lock", key=JID, action="delete")
    assert (refused.status, "use one of: cancel" in refused.text) == (400, True)
    question = site.get(page.links["Cancel job"])
    assert "report is cancelled." in site.press(question, "Cancel job").text
    assert not api.redis.hexists(lock, "again")


def test_one_that_waits_for_another_attempt(site: Site, api: Api) -> None:
    now = time.time()
    times = {"failed_at": now - 900, "retried_at": now - 300, "enqueued_at": now - 1800}
    key = put(api, "retry", now + 600, **FAILED, **times, created_at=now - 3600, tags=["vip"])
    process(api, ONE, info={"capsules": {"a": {"weights": {"default": 0}}}})
    page = look(site, "retry", key)
    for words in (
        *("shop.Charge", "waits for another attempt", "Why is it not running?"),
        "It has failed 3 times with ConnectionError. Attempt 4 of 6 is due in",
        *("ConnectionError", "502 from the gateway", "3 in all", LINES[0], LINES[1]),
        *("Pushed", "Put into queue default", "First failure", "Failed (attempt 3)"),
        *("Attempt number 4", "vip", JID),
    ):
        assert words in page.text, words
    order = [page.text.index(words) for words in ("Pushed", "First failure", "Attempt number 4")]
    assert order == sorted(order)
    marked = [line for line in page.html.splitlines() if 'class="own"' in line]
    assert len(marked) == 1
    assert "payments.py" in marked[0]


def test_what_will_keep_a_scheduled_job_waiting(site: Site, api: Api) -> None:
    page = look(site, "schedule", put(api, "schedule"))
    assert "It is scheduled, and will run in" in page.text
    assert "Then: No worker process runs" in page.text
    assert "Due" in page.text


def test_a_dead_one_with_its_deaths(site: Site, api: Api) -> None:
    death = {"owner": "web9:4:cc", "cause": "signal KILL"}
    key = put(api, "dead", time.time() - 60, **FAILED, crashes=3, recovered_from=death, bid="b7")
    page = look(site, "dead", key)
    for words in ("It is dead", "Died", "web9:4:cc", "signal KILL", "Batch", "b7"):
        assert words in page.text, words
    assert "Kill" not in page.links


def test_one_in_a_queue_knows_its_place(site: Site, api: Api) -> None:
    push(api, "default", job(7), job(8), job(1, "shop.Charge"))
    process(api, ONE, info={"capsules": {"a": {"weights": {"default": 0}}}})
    for key in (JID, f"{JID}~{api.queue('default').page(2).entries[0].digest}@2"):
        page = look(site, "queue:default", key)
        assert "in queue default" in page.text
        assert "2 jobs are ahead of it" in page.text
    api.queue("default").pause()
    site = as_role(api, Role.ADMIN)
    assert "Queue default is paused" in look(site, "queue:default", JID).text


def test_how_far_a_running_one_has_come(site: Site, api: Api) -> None:
    process(api, ONE)
    run(api, ONE, job(1, "shop.Charge"), job(2, "Silent", stalled_after=30), since=90)
    report(api, ONE, JID, 450, 1_000, note="<b>orders", since=4_500)
    for page in (look(site, "work", JID), site.get("/busy"), site.get("/busy", only="jobs")):
        for words in ("450 of 1,000", "45 %", "0.10/s", "1 h 31 min left", "<b>orders"):
            assert words in page.text, words
    assert "no progress for" not in look(site, "work", JID).text
    silent = look(site, "work", f"{2:024x}").text
    assert "stalled no progress for 1 min 3" in silent
    assert "It has not reported any." in silent
    assert "stalled" in site.get("/busy").text


def test_one_that_has_not_reported_for_a_while(site: Site, api: Api) -> None:
    process(api, ONE)
    run(api, ONE, job(1, "shop.Charge"), since=90)
    report(api, ONE, JID, 7, now=time.time() - 42)
    text = look(site, "work", JID).text
    assert "7 done" in text
    assert "no progress for 42 s" in text
    assert "left" not in text
    assert "stalled" not in text


def test_its_family(site: Site, api: Api) -> None:
    def of(parent: str) -> dict[str, Any]:
        return {"jobd": {"v": 1, "parent": parent, "root": f"{1:024x}"}}

    top = put(api, "dead", traceparent="00-aa-bb-01")
    push(api, "low", job(2, "shop.Middle", **of(JID)))
    push(api, "low", job(3, "shop.Mine", **of(f"{2:024x}")))
    push(api, "low", job(4, "shop.Child", **of(f"{3:024x}")))
    push(api, "low", job(5, "shop.Orphan", **of("gone")))
    push(api, "low", job(6, "shop.Alone"))
    page = look(site, "queue:low", f"{3:024x}")
    assert "Pushed by, and pushed" in page.text
    middle, child = f"{2:024x}", f"{4:024x}"
    assert page.links["shop.Middle"] == f"/job?set=queue%3Alow&key={middle}"
    assert page.links["shop.Child"] == f"/job?set=queue%3Alow&key={child}"
    assert "1 job that it has pushed is still here:" in page.text
    page = look(site, "dead", top)
    assert page.links["shop.Middle"]
    assert "Trace 00-aa-bb-01" in page.text
    page = look(site, "queue:low", f"{5:024x}")
    assert page.links["gone"] == "/find?jid=gone"
    assert "not found: it has ended, or was not looked at" in page.text
    assert "the first one; those in between are no longer known" in page.text
    assert "Nothing that it has pushed is still here." in page.text
    page = look(site, "queue:low", f"{6:024x}")
    assert "Pushed by, and pushed" not in page.text
    page = site.get(page.links["Search for jobs that it has pushed"])
    assert "Nothing that it has pushed is still here." in page.text


def test_its_context(site: Site, api: Api) -> None:
    field = {"v": 1, "context": {"tenant": {"id": 7}}}
    page = look(site, "retry", put(api, "retry", jobd=field))
    assert 'Context tenant = {"id": 7}' in page.text


def test_a_running_one(site: Site, api: Api) -> None:
    process(api, ONE)
    run(api, ONE, job(1, "shop.Charge"), since=90)
    api.redis.hset(api.keys.inflight(ONE), "1:mail", job(1, "shop.Charge"))
    api.redis.zadd(api.keys.owners, {ONE: time.time() + 60})
    page = look(site, "work", JID)
    for words in (
        "running",
        f"It is running in {ONE}, and was started 1 min 3",
        "Started",
        "What it is doing",
    ):
        assert words in page.text, words
    assert not page.has_button("Retry now")
    refused = site.look("/job/ask", set="work", key=JID, action="delete")
    assert (refused.status, "cannot be changed" in refused.text) == (400, True)


def test_a_running_one_is_cancelled(site: Site, api: Api) -> None:
    process(api, ONE)
    run(api, ONE, job(1, "shop.Charge"))
    api.redis.hset(api.keys.inflight(ONE), "1:mail", job(1, "shop.Charge"))
    api.redis.zadd(api.keys.owners, {ONE: time.time() + 60})
    question = site.get(look(site, "work", JID).links["Cancel job"])
    assert "Cancel job shop.Charge?" in question.text
    assert not api.redis.exists(api.keys.cancels(ONE))
    assert "shop.Charge is being cancelled." in site.press(question, "Cancel job").text
    assert api.redis.hkeys(api.keys.cancels(ONE)) == [b"1:mail"]
    assert [(entry.who, entry.action, entry.target) for entry in api.audit] == [
        ("admin", "cancel", ONE)
    ]
    assert "cancelled in" in site.get("/audit").text
    # In Busy, too; by then it has ended.
    question = site.get(site.get("/busy").links["Cancel job"])
    api.redis.delete(api.keys.inflight(ONE))
    assert "is nowhere: it is done" in site.press(question, "Cancel job").text
    operator = as_role(api, Role.OPERATOR)
    assert "Cancel job" not in operator.get("/busy").links
    fields = ("set", "work"), ("key", JID), ("action", "cancel")
    assert operator.insist("/job/do", *fields).status == 403


@pytest.mark.parametrize(("later", "order"), [(0.7, 1), (0.0, 1), (-5.0, 1), (5.0, -1)])
def test_it_does_not_start_before_its_push(later: float, order: int, site: Site, api: Api) -> None:
    """When it was started is told in whole seconds."""
    second = float(int(time.time()) - 60)
    at: dict[str, Any] = {"created_at": second + later, "enqueued_at": second + later}
    process(api, ONE)
    run(api, ONE, job(1, "shop.Charge", **at), since=time.time() - second - 0.5)
    text = look(site, "work", JID).text
    pushed, begun = text.index("Pushed into queue"), text.index("Started")
    assert (begun > pushed) is (order > 0)


def test_one_that_a_worker_has_taken_may_have_run_for_seconds(site: Site, api: Api) -> None:
    """Processes tell only every ten seconds what they run."""
    process(api, ONE)
    api.redis.hset(api.keys.inflight(ONE), "1:mail", job(1, "shop.Charge"))
    api.redis.zadd(api.keys.owners, {ONE: time.time() + 60})
    text = look(site, "work", JID).text
    assert f"{ONE} has claimed it: it is running there, starts within a quarter of a second" in text
    assert "The next heartbeat of the process" in text


def test_a_page_tells_of_one_moment(site: Site, api: Api) -> None:
    """The process tells what it runs while somebody looks at the page again and again."""
    process(api, ONE)
    api.redis.hset(api.keys.inflight(ONE), "1:mail", job(1, "shop.Charge"))
    api.redis.zadd(api.keys.owners, {ONE: time.time() + 60})
    assert "has claimed it" in look(site, "work", JID).text
    run(api, ONE, job(1, "shop.Charge"), since=7)
    deadline = time.monotonic() + 30
    while "It is running" not in (text := look(site, "work", JID).text):
        assert "Started" not in text
        assert time.monotonic() < deadline
    assert "Started" in text
    assert "has claimed it" not in text


def test_one_that_ruby_has_cancelled(site: Site, api: Api) -> None:
    process(api, ONE)
    run(api, ONE, job(1, "shop.Charge"))
    api.redis.hset(api.keys.iteration(JID), "cancelled", int(time.time()))
    for page in (look(site, "work", JID), site.get("/busy")):
        assert "cancelled by a user; only iterable jobs of Sidekiq obey that" in page.text
        assert "started 0×" not in page.text
        assert "None" not in page.text


def test_one_that_is_not_there_any_more_is_looked_for(site: Site, api: Api) -> None:
    key = put(api, "retry")
    page = look(site, "retry", key)
    api.retries.retry_all()
    assert "in queue default" in look(site, "retry", key).text
    late = site.press(page, "Retry now")
    assert late.status == 404
    assert "not here any more" in late.text
    api.queue("default").clear()
    gone = site.look("/job", set="retry", key=key)
    assert gone.status == 404
    assert "leaves nothing in Redis" in gone.text
    assert site.look("/job", set="retry", key="1.0-~0123456789abcdef").status == 404


@pytest.mark.parametrize("place", [("nowhere", "1.0-a"), ("retry", "x"), ("", ""), ("queue:", "a")])
def test_addresses_that_mean_nothing(site: Site, place: tuple[str, str]) -> None:
    assert site.look("/job", set=place[0], key=place[1]).status in (400, 404)


def test_retry_and_add_to_the_queue_now(site: Site, api: Api) -> None:
    page = site.press(look(site, "retry", put(api, "retry", **FAILED)), "Retry now")
    assert "shop.Charge is in its queue." in page.text
    assert "in queue default" in page.text, "the page of the job where it is now"
    (queued,) = api.queue("default").page()
    assert queued["retry_count"] == 1, "that uses up no attempt"
    api.queue("default").clear()
    site.press(look(site, "schedule", put(api, "schedule")), "Add to queue")
    assert api.queue("default").size == 1
    assert [entry.action for entry in api.audit] == ["add_to_queue", "retry"]


def test_kill_and_undo(site: Site, api: Api) -> None:
    key = put(api, "retry", **FAILED)
    question = site.get(look(site, "retry", key).links["Kill"])
    assert "Kill shop.Charge?" in question.text
    assert api.retries.size == 1
    page = site.press(question, "Kill")
    assert "shop.Charge is dead." in page.text
    assert (api.retries.size, api.dead.size) == (0, 1)
    site.press(page, "Undo")
    assert (api.retries.size, api.dead.size) == (1, 0)


@pytest.mark.parametrize("name", ["retry", "schedule", "dead", "queue:default"])
def test_delete_and_undo(site: Site, api: Api, name: str) -> None:
    if name == "queue:default":
        push(api, "default", job(1, "shop.Charge"))
        key = JID
    else:
        key = put(api, name)
    question = site.get(look(site, name, key).links["Delete"])
    assert "24 hours this can be undone" in question.text
    page = site.press(question, "Delete")
    assert "shop.Charge is deleted." in page.text
    assert page.status == 200, "a list, and not that the job is nowhere"
    assert api.find(JID).first(1, seconds=5) == []
    site.press(page, "Undo")
    (found,) = api.find(JID).first(1, seconds=5)
    assert found.place == name


def test_another_time(site: Site, api: Api) -> None:
    page = look(site, "schedule", put(api, "schedule"))
    after = site.press(page, "Reschedule", ("amount", "2"), ("unit", "days"))
    assert "is rescheduled" in after.text
    (entry,) = api.scheduled.page()
    assert abs(entry.score - time.time() - 2 * 86400) < 60
    for amount, unit, says in (
        *(("-1", "days", "a number"), ("x", "days", "a number"), ("nan", "days", "a number")),
        *(("1", "years", "a number"), ("36501", "days", "hundred years")),
        ("1e300", "days", "hundred years"),
    ):
        wrong = site.press(after, "Reschedule", ("amount", amount), ("unit", unit))
        assert wrong.status == 400
        assert says in wrong.text


def test_another_queue(site: Site, api: Api) -> None:
    push(api, "default", job(1, "shop.Charge"))
    page = look(site, "queue:default", JID)
    assert "in queue low" in site.press(page, "Move", ("queue", "low")).text
    assert (api.queue("default").size, api.queue("low").size) == (0, 1)
    page = look(site, "queue:low", JID)
    assert site.press(page, "Move", ("queue", "no good")).status == 400


def test_what_each_role_may_do(api: Api) -> None:
    key = put(api, "retry")
    viewer, operator = as_role(api, Role.VIEWER), as_role(api, Role.OPERATOR)
    page = look(viewer, "retry", key)
    assert not page.has_button("Retry now")
    assert {"Kill", "Delete", "Edit and retry"}.isdisjoint(page.links)
    page = look(operator, "retry", key)
    assert page.has_button("Retry now")
    assert {"Kill", "Delete", "Edit and retry"}.isdisjoint(page.links)
    for site, action, status in (
        *((viewer, "retry", 403), (viewer, "reschedule", 403), (operator, "delete", 403)),
        *((operator, "kill", 403), (operator, "explode", 400), (operator, "move", 400)),
    ):
        fields = [("set", "retry"), ("key", key), ("action", action)]
        assert site.insist("/job/do", *fields).status == status, action
    assert operator.look("/job/ask", set="retry", key=key, action="kill").status == 403
    assert operator.look("/job/edit", set="retry", key=key).status == 403
    assert api.retries.size == 1


def test_encrypted_arguments_are_never_shown(site: Site, api: Api) -> None:
    secret: dict[str, Any] = {"args": [1, "SECRET"], "kwargs": {"pin": "SECRET"}, "encrypt": True}
    key = put(api, "retry", **secret)
    page = look(site, "retry", key)
    assert "SECRET" not in page.html
    assert "[encrypted data]" in page.text
    malformed = json.dumps({"args": ["SECRET"], "encrypt": True, "jid": "abcdef"}).encode()
    api.redis.zadd(api.keys.dead, {malformed: 7.0})
    assert "SECRET" not in look(site, "dead", "7.0-abcdef").html


def test_jobs_of_ruby(site: Site, api: Api) -> None:
    wrapped = {"job_class": "GuestMailer", "arguments": [{"_aj_globalid": "gid://shop/User/7"}]}
    fields: dict[str, Any] = {
        "class": "Sidekiq::ActiveJob::Wrapper",
        "wrapped": "GuestMailer",
        "args": [wrapped],
    }
    key = put(api, "retry", **fields, error_backtrace=["/app/models/user.rb:7:in 'save'"])
    page = look(site, "retry", key)
    assert "GuestMailer" in page.text
    assert "gid://shop/User/7" in page.text
    assert "user.rb:7" in page.text


def test_whatever_is_in_redis(site: Site, api: Api) -> None:
    nasty = job(1, NASTY, args=[NASTY], tags=[NASTY], error_class=NASTY, error_message=NASTY * 999)
    fields = json.dumps({"class": "A", "args": [], NASTY: {NASTY: 1}, "jid": NASTY, "queue": NASTY})
    raws = [*HOSTILE, nasty, fields.encode()]
    places = [("dead", {raw: 1795416000.0 + n for n, raw in enumerate(raws)})]
    api.redis.zadd(api.keys.dead, places[0][1])
    push(api, "q", *raws)
    addresses = [("dead", entry.key) for entry in api.dead]
    for before, record in enumerate(api.queue("q")):
        addresses.append(("queue:q", f"~{record.digest}@{before}"))
    process(api, ONE)
    run(api, ONE, *raws)
    addresses += [("work", work.job.jid) for work in api.work if work.job.jid]
    # Of a hash this large a page reads some fields, and which the server decides.
    assert len(addresses) >= 2 * len(raws)
    for name, key in addresses:
        page = look(site, name, key)
        assert "<script>window" not in page.html
        assert len(page.html) < 1_000_000
        if name == "dead":
            site.get("/job/ask", set=name, key=key, action="delete")
            assert site.look("/job/edit", set=name, key=key).status in (200, 400)


def test_a_message_of_several_lines(site: Site, api: Api) -> None:
    """Ruby's have code in them: a list shows the first line, the page of the job all of them."""
    message = "undefined method `name'\n    1: <p>\n    2: <%= user.name %>\n"
    key = put(api, "retry", **{**FAILED, "error_message": message})
    listed = site.get("/retries").text
    assert "undefined method `name' …" in listed
    assert "user.name" not in listed
    assert "`name&#39;\n    1: &lt;p&gt;" in look(site, "retry", key).html


def test_how_often_it_is_tried_again(site: Site, api: Api) -> None:
    assert "Retries 25, the default" in look(site, "retry", put(api, "retry", retry=True)).text
    api.retries.clear()
    assert "Retries 3" in look(site, "retry", put(api, "retry", retry=3)).text


def test_one_that_has_ended_does_not_run(site: Site, api: Api) -> None:
    process(api, ONE)
    run(api, ONE, job(1, "shop.Charge"))
    page = look(site, "work", JID)
    assert "has ended since then" in page.text
    assert "shop.Charge ended" in page.text
    assert "shop.Charge running" not in page.text
