"""Why a job is not running: each reason, from the data that makes it true."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from jobd.api import Api, Reason, SortedEntry, why_in_flight, why_queued, why_waiting
from tests.api.conftest import HOSTILE, job, push
from tests.api.test_processes import WORK, beat

ME = "vm:7:n"


def serve(
    api: Api, *queues: str, name: str = ME, weight: int = 0, ruby: bool = False, **fields: Any
) -> None:
    info: dict[str, Any] = {"capsules": {"default": {"weights": dict.fromkeys(queues, weight)}}}
    beating = {"concurrency": 5, "busy": 1, "beat": repr(time.time()), "quiet": "false"}
    info |= {} if ruby else {"implementation": "jobd"}
    beat(api, name, info, **{**beating, **fields})


def queued(api: Api, ahead: int | None = None) -> list[Reason]:
    (found,) = (one for one in api.queue("default") if one.jid == f"{1:024x}")
    return why_queued(api, found, ahead)


def kinds(reasons: list[Reason]) -> list[str]:
    return [reason.kind for reason in reasons]


def entry(api: Api, name: str, score: float, **fields: Any) -> SortedEntry:
    jobs = {"retry": api.retries, "schedule": api.scheduled, "dead": api.dead}[name]
    jobs.clear()
    api.redis.zadd(jobs._key, {job(1, **fields): score})
    return jobs.page().entries[0]


def _tried(times: int, **options: Any) -> dict[str, Any]:
    """Of a job that has failed so often."""
    return {"error_class": "KeyError", "retry_count": times - 1, **options}


def test_no_process_then_none_for_this_queue(api: Api) -> None:
    push(api, "default", job(1))
    (nobody,) = queued(api)
    assert (nobody.kind, nobody.blocks) == ("no_process", True)
    serve(api, "mail", *(f"q{number}" for number in range(9)))
    (unserved,) = queued(api)
    assert (unserved.kind, unserved.blocks) == ("not_served", True)
    assert "serve mail, q0, q1, q2, q3 and 5 more" in unserved.text
    assert "-q default" in unserved.advice
    assert [reason.text for reason in queued(api, 0)[1:]] == ["It is at the front of its queue."]


def test_quiet_and_paused(api: Api) -> None:
    push(api, "default", job(1))
    serve(api, "default", quiet="true")
    api.queue("default").pause()
    paused, quiet = queued(api)
    assert (paused.kind, quiet.kind) == ("paused", "all_quiet")
    assert paused.blocks
    assert quiet.blocks
    assert quiet.text.startswith("The only process")
    serve(api, "default", name="vm:8:n", quiet="true")
    assert queued(api)[1].text.startswith("All 2 processes")
    serve(api, "default", name="vm:9:n")
    api.queue("default").unpause()
    assert kinds(queued(api)) == ["next"]


def test_a_pause_that_the_free_sidekiq_does_not_know(api: Api) -> None:
    push(api, "default", job(1))
    api.queue("default").pause()
    serve(api, "default")
    serve(api, "default", "mail", name="ruby:1:a", ruby=True)
    paused, ignored = queued(api)[:2]
    assert (paused.kind, paused.blocks) == ("paused", False)
    assert "no worker of jobd takes jobs from it" in paused.text
    assert ignored.kind == "not_obeyed"
    assert "takes jobs all the same, unless it is Sidekiq Pro: ruby:1:a." in ignored.text
    assert "quiet them" in ignored.advice
    serve(api, "default", name="ruby:1:a", ruby=True, quiet="true")
    serve(api, "mail", name="ruby:2:b", ruby=True)
    assert [reason.blocks for reason in queued(api) if reason.kind == "paused"] == [True]


def test_advice_for_sidekiqs_names_nothing_of_jobd(api: Api) -> None:
    push(api, "default", job(1))
    for load in ({"quiet": "true"}, {"busy": 5}):
        serve(api, "default", ruby=True, **load)
        (reason,) = queued(api)
        assert "Sidekiq" in reason.advice
        assert "jobctl" not in reason.advice
        serve(api, "default", name="vm:9:n", **load)
        (reason,) = queued(api)
        assert "jobctl" in reason.advice
        api.redis.srem(api.keys.processes, "vm:9:n")
    (late,) = why_waiting(api, entry(api, "schedule", time.time() - 600))
    assert "Sidekiq" in late.text + late.advice
    assert "jobctl" not in late.text + late.advice
    assert "keeper" not in late.text


def test_all_threads_are_busy(api: Api) -> None:
    push(api, "default", job(1))
    serve(api, "default", busy=5)
    running = {**WORK, "payload": job(2, "Slow").decode(), "run_at": 1795416000}
    api.redis.hset(api.keys.work(ME), "t", json.dumps(running))
    (busy,) = queued(api)
    assert (busy.kind, busy.blocks, busy.at) == ("busy", False, 1795416000.0)
    assert "All 5 threads" in busy.text
    assert "Slow" in busy.text


def test_all_threads_are_busy_though_async_jobs_have_places(api: Api) -> None:
    push(api, "default", job(1))
    serve(api, "default", busy=5, concurrency=7, coroutines=5)
    running = {**WORK, "payload": job(2, "Slow").decode(), "run_at": 1795416000}
    threads = ("async-0", "async-1", "async-2", "async-3", "c0u")
    entries: dict[Any, Any] = {thread: json.dumps(running) for thread in threads}
    api.redis.hset(api.keys.work(ME), mapping=entries)
    assert kinds(queued(api)) == ["next"], "a thread is free"
    api.redis.hdel(api.keys.work(ME), "async-3")
    running["payload"] = job(3, "Slower").decode()
    api.redis.hset(api.keys.work(ME), "c1u", json.dumps({**running, "run_at": 1795415000}))
    (busy,) = queued(api)
    assert (busy.kind, busy.blocks, busy.at) == ("busy", False, 1795415000.0)
    assert "All 2 threads" in busy.text
    assert "are busy (async jobs still have places). The longest-running job" in busy.text
    assert "Slower" in busy.text
    serve(api, "default", name="ruby:1:a", ruby=True)
    assert kinds(queued(api)) == ["next"], "one of Ruby has threads"


def test_other_queues_go_first_where_the_order_is_strict(api: Api) -> None:
    push(api, "default", job(1))
    push(api, "urgent", job(2), job(3))
    serve(api, "urgent", "empty", "default")
    (order,) = queued(api)
    assert (order.kind, order.blocks) == ("order", False)
    assert "2 jobs of other queues come before it: urgent" in order.text
    serve(api, "default", "urgent", name="vm:8:n")
    assert kinds(queued(api)) == ["next"], "one process takes it first"
    api.redis.srem(api.keys.processes, "vm:8:n")
    serve(api, "urgent", "default", weight=1)
    assert kinds(queued(api)) == ["next"], "by weights every queue has its turn"


def test_a_paused_queue_comes_before_no_other(api: Api) -> None:
    push(api, "default", job(1))
    push(api, "urgent", job(2), job(3))
    push(api, "high", job(4))
    serve(api, "urgent", "high", "default")
    api.queue("urgent").pause()
    (order,) = queued(api)
    assert "1 job of another queue comes before it: high." in order.text
    api.queue("high").pause()
    assert kinds(queued(api)) == ["next"]
    serve(api, "urgent", "default", name="ruby:1:a", ruby=True)
    assert kinds(queued(api)) == ["next"], "that of jobd takes it first"
    api.redis.srem(api.keys.processes, ME)
    (order,) = queued(api)
    assert "2 jobs of other queues come before it: urgent." in order.text


def test_its_place_and_when_it_may_start(api: Api) -> None:
    now = time.time()
    serve(api, "default")
    old = job(2, created_at=now - 100, enqueued_at=now - 100)
    push(api, "default", old, job(1, created_at=now - 40, enqueued_at=now - 40))
    place, free = queued(api, 1)
    assert (place.kind, free.kind) == ("position", "next")
    assert "1 job is ahead" in place.text
    assert place.at is not None
    assert 58 < place.at - now < 65, "the one in front has waited for a minute more"
    api.queue("default").pause()
    place = queued(api, 1)[-1]
    assert (place.kind, place.at) == ("position", None), "nobody knows"
    assert queued(api, 0)[-1].text == "It is at the front of its queue.", "nothing is next"
    api.queue("default").unpause()
    assert queued(api, 0)[0].text == "It is the next one."


def test_what_waits_for_its_time(api: Api) -> None:
    serve(api, "default")
    later = time.time() + 600
    (scheduled,) = why_waiting(api, entry(api, "schedule", later))
    assert (scheduled.kind, scheduled.at, scheduled.blocks) == ("scheduled", later, False)
    failed = {"retry": 5, "error_class": "KeyError", "retry_count": 2}
    (retry,) = why_waiting(api, entry(api, "retry", later, **failed))
    assert (retry.kind, retry.at) == ("retry", later)
    assert "failed 3 times with KeyError. Attempt 4 of 6 is due at 20" in retry.text
    odd: dict[str, Any] = {"retry": None, "error_class": [], "retry_count": "x"}
    (retry,) = why_waiting(api, entry(api, "retry", later, **odd))
    assert retry.text.startswith("It has failed once. Attempt 2 is due at 20")


def test_what_will_keep_it_waiting_when_its_time_has_come(api: Api) -> None:
    serve(api, "default")
    api.queue("default").pause()
    scheduled, paused = why_waiting(api, entry(api, "schedule", time.time() + 600))
    assert (scheduled.kind, paused.kind) == ("scheduled", "paused")
    assert paused.text.startswith("Then: Queue default is paused")


def test_what_has_expired_will_never_run(api: Api) -> None:
    def expiring(seconds: float) -> bytes:
        return job(1, jobd={"v": 1, "expires_at": time.time() + seconds})

    serve(api, "default")
    api.queue("default").pause()
    push(api, "default", expiring(60))
    assert kinds(queued(api, 0)) == ["paused", "position", "expires"]
    api.queue("default").clear()
    push(api, "default", expiring(-60))
    expired, paused, _ = queued(api, 0)
    assert (expired.kind, expired.blocks, paused.kind) == ("expired", True, "paused")
    assert expired.text.startswith("It expired at 20")
    api.queue("default").unpause()
    assert queued(api, 0)[0].kind == "expired", "not that it is the next one"
    past: dict[str, Any] = {"jobd": {"v": 1, "expires_at": time.time() - 1}}
    assert kinds(why_waiting(api, entry(api, "schedule", time.time() - 60, **past)))[0] == "expired"


def test_what_nobody_here_understands_is_not_just_scheduled(api: Api) -> None:
    serve(api, "default")
    set_aside: dict[str, Any] = {"jobd": {"v": 99, "aside": 2}}
    aside, scheduled = why_waiting(api, entry(api, "schedule", time.time() + 10, **set_aside))
    assert (aside.kind, aside.blocks, scheduled.kind) == ("aside", True, "scheduled")
    assert "2 times, since they do not know all that hangs on it" in aside.text
    assert "of the version that has pushed it" in aside.advice
    push(api, "default", job(1, **set_aside))
    assert queued(api, 0)[0].kind == "aside"


def test_what_is_late(api: Api) -> None:
    past = time.time() - 60
    late, nobody = why_waiting(api, entry(api, "retry", past, retry_count=0))
    assert (late.kind, late.blocks, late.at) == ("late", True, past)
    assert nobody.kind == "no_process"
    serve(api, "default")
    (late,) = why_waiting(api, entry(api, "schedule", past))
    assert (late.kind, late.blocks) == ("late", False)


def test_the_dead(api: Api) -> None:
    died = time.time() - 100
    (used_up,) = why_waiting(api, entry(api, "dead", died, **_tried(6, retry=5)))
    assert (used_up.kind, used_up.blocks) == ("dead", True)
    assert used_up.text.startswith("It is dead: all of its 6 attempts failed.")
    assert used_up.at == died + api.dead_timeout
    assert (
        f"will be deleted at {time.strftime('%Y-%m-%d', time.gmtime(used_up.at))}" in used_up.text
    )


@pytest.mark.parametrize(
    ("fields", "how"),
    [
        ({"error_class": "jobd.keeper.recovery.PoisonPill", "crashes": 3}, "3 processes died"),
        ({}, "a user killed it"),
        (_tried(1, retry=0), "its only attempt failed"),
        (_tried(2, retry=5), "it was killed after 2 attempts of 6"),
        (_tried(26, retry=True), "all of its 26 attempts failed"),
        (_tried(9, retry=True), "killed after 9 attempts, or max_retries allowed no more"),
        (_tried(9, retry_for=60), "it was killed while it still had time"),
        (_tried(9, retry_for=5), "the time for its attempts was over"),
    ],
)
def test_the_payload_tells_what_a_job_died_of(api: Api, fields: dict[str, Any], how: str) -> None:
    died = time.time() - 100
    if "retry_for" in fields:
        fields = {**fields, "failed_at": died - 30}
    assert how in why_waiting(api, entry(api, "dead", died, **fields))[0].text


def test_what_a_worker_has_taken(api: Api) -> None:
    jid, now = f"{1:024x}", api.redis.time()[0]
    assert why_in_flight(api, jid) == []
    serve(api, "default")
    api.redis.hset(api.keys.inflight(ME), "1:default", job(1))
    api.redis.zadd(api.keys.owners, {ME: now + 60})
    assert kinds(why_in_flight(api, jid)) == ["claimed"]
    running = {**WORK, "payload": job(1).decode(), "run_at": 1795416000}
    api.redis.hset(api.keys.work(ME), "t", json.dumps(running))
    (runs,) = why_in_flight(api, jid)
    assert (runs.kind, runs.at) == ("running", 1795416000.0)
    api.redis.hset(api.keys.cancels(ME), "1:default", "1795416010.5")
    cancelled, runs = why_in_flight(api, jid)
    assert (cancelled.kind, cancelled.at, runs.kind) == ("cancelling", 1795416010.5, "running")
    assert "It was cancelled at 2026-11-23" in cancelled.text
    api.redis.hset(api.keys.cancels(ME), "1:default", "force")
    assert "by force" in why_in_flight(api, jid)[0].text
    api.redis.delete(api.keys.cancels(ME))
    serve(api, "default", beat=repr(time.time() - 30))
    silent, runs = why_in_flight(api, jid)
    assert (silent.kind, runs.kind) == ("silent", "running"), "what is not known is not said first"
    assert re.search(r"goes back to its queue in (59|60) s, when its lease ends", silent.text)
    api.redis.delete(api.keys.inflight(ME))
    assert kinds(why_in_flight(api, jid)) == ["ended"]


def test_its_process_is_dead(api: Api) -> None:
    jid, now = f"{1:024x}", api.redis.time()[0]
    api.redis.hset(api.keys.inflight(ME), "1:default", job(1))
    api.redis.zadd(api.keys.owners, {ME: now + 30})
    (silent,) = why_in_flight(api, jid)
    assert silent.kind == "silent"
    assert silent.at is not None
    assert 25 < silent.at - now < 32
    for lease in (now - 1, -7, 0):
        api.redis.zadd(api.keys.owners, {ME: lease})
        assert kinds(why_in_flight(api, jid)) == ["orphaned"]
    # While no daemon runs nobody counts the leases, and none ends.
    api.redis.zadd(api.keys.owners, {ME: now + 30})
    api.redis.hset(api.keys.clock, mapping={"reachable": now - 30, "seen": now - 30})
    (orphaned,) = why_in_flight(api, jid)
    assert (orphaned.kind, orphaned.at) == ("orphaned", None)
    assert "no daemon runs" in orphaned.text
    assert "jobd start" in orphaned.advice


def test_of_jobs_that_are_none(api: Api) -> None:
    serve(api, "default", *HOSTILE[4].decode())
    push(api, "q", *HOSTILE)
    for number, found in enumerate(api.queue("q")):
        assert why_queued(api, found, number)
    api.redis.zadd(api.keys.retry, {raw: n for n, raw in enumerate(HOSTILE)})
    for one in api.retries:
        assert why_waiting(api, one)


def _tell(api: Api, *names: str, seconds: float = 90.0) -> None:
    """A worker tells which classes it knows."""
    digest = f"digest of {names}"
    api.redis.zadd(api.keys.classes, {digest: time.time() + seconds})
    api.redis.sadd(api.keys.classes_of(digest), *names)


def test_a_class_that_no_worker_knows(api: Api) -> None:
    push(api, "default", job(1))
    serve(api, "default")
    name = next(iter(api.queue("default"))).klass
    assert kinds(queued(api)) == ["next"]  # nobody tells
    _tell(api, "shop.other")
    _tell(api, name, seconds=-1.0)
    (unknown,) = queued(api)
    assert (unknown.kind, unknown.blocks) == ("unknown_class", True)
    assert f"No living worker knows the class {name}:" in unknown.text
    waiting = why_waiting(api, entry(api, "retry", time.time() + 99, **_tried(1)))
    assert [each.kind for each in waiting if each.blocks] == ["unknown_class"]
    assert waiting[-1].text.startswith("Then: No living worker knows")
    # A new version has it, during a deploy.
    _tell(api, name, "shop.other")
    assert kinds(queued(api)) == ["next"]


def test_a_class_of_ruby_is_nobodys_business(api: Api) -> None:
    push(api, "default", job(1))
    serve(api, "default", ruby=True)
    _tell(api, "shop.other")
    assert "unknown_class" not in kinds(queued(api))
