"""Pushes, claims, ends, retries and deaths, on both stores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from jobd.errors import Retry, Snooze
from jobd.jobs.app import App
from jobd.jobs.context import current_job
from jobd.store.keys import Keys
from jobd.testing.simulation import World
from tests.conformance.conftest import START, Open

KEYS = Keys()


@pytest.fixture
def ran() -> list[Any]:
    return []


def in_flight(w: World) -> int:
    return len(list(w.api.in_flight))


def test_jobs_run_in_the_order_of_their_pushes_and_leave_nothing(
    w: World, app: App, ran: list[Any]
) -> None:
    note = app.job(name="note")(lambda value: ran.append(value))
    for value in range(30):
        note.perform_async(value)
    payload = json.loads(w.queue().page().entries[0].value)
    assert payload["created_at"] == payload["enqueued_at"] == START
    assert w.run() == 30
    assert ran == list(range(30))
    assert w.api.counters().processed == 30
    assert w.queue().size == in_flight(w) == 0
    assert w.api.history(1)[0].processed == 30


def test_a_bulk_push_is_one_queue_and_one_schedule(w: World, app: App, ran: list[Any]) -> None:
    note = app.job(name="note")(lambda value: ran.append(value))
    jids = note.perform_bulk([[value] for value in range(1200)])
    assert len(set(jids)) == 1200
    app.client.push_bulk({"class": "note", "args": [["x"], ["y"]], "at": [60, 30]})
    assert w.run() == 1200
    assert w.advance(minutes=1) == 2
    assert ran == [*range(1200), "y", "x"]


def test_a_scheduled_job_runs_at_its_time_and_not_before(
    w: World, app: App, ran: list[Any]
) -> None:
    times: list[float] = []
    app.job(name="when")(lambda: times.append(w.now))
    app.client.push({"class": "when", "args": [], "at": 3600.5})
    app.client.push({"class": "when", "args": [], "at": START + 10})
    assert w.advance(seconds=9.999) == 0
    assert w.scheduled.size == 2
    assert w.advance(hours=3) == 2
    assert times == [START + 10, START + 3600.5]
    assert w.now == pytest.approx(START + 9.999 + 3 * 3600)


def test_what_becomes_due_runs_in_the_order_of_the_times(
    w: World, app: App, ran: list[Any]
) -> None:
    note = app.job(name="note")(lambda value: ran.append(value))
    for at in (500, 3, 40, 40.5, 7):
        note.perform_in(at, at)
    w.advance(minutes=10)
    assert ran == [3, 7, 40, 40.5, 500]


def test_queues_are_served_in_the_order_that_is_given(
    open_world: Open, app: App, ran: list[Any]
) -> None:
    note = app.job(name="note")(lambda value: ran.append(value))
    with open_world(queues=["high", "low"]) as w:
        for queue in ("low", "high", "other"):
            note.set(queue=queue).perform_async(queue)
        assert w.run() == 2
        assert ran == ["high", "low"]
        assert w.queue("other").size == 1


def test_a_paused_queue_waits(w: World, app: App, ran: list[Any]) -> None:
    note = app.job(name="note")(lambda value: ran.append(value))
    w.queue().pause()
    note.perform_async(1)
    assert w.run() == 0
    assert w.queue().size == 1
    w.queue().unpause()
    assert w.run() == 1


def test_jobs_that_jobs_push_run_as_well(w: World, app: App, ran: list[Any]) -> None:
    @app.job(name="down")
    def down(number: int) -> None:
        ran.append(number)
        if number:
            down.perform_async(number - 1)

    down.perform_async(3)
    assert w.run() == 4
    assert ran == [3, 2, 1, 0]


def test_coroutines_run_too(w: World, app: App, ran: list[Any]) -> None:
    @app.job(name="later")
    async def later(value: int) -> None:
        ran.append((value, current_job().attempt))

    later.perform_async(1)
    assert w.run() == 1
    assert ran == [(1, 1)]


# -- failures --------------------------------------------------------------------------------------


def test_a_failed_job_is_retried_after_its_delay(w: World, app: App) -> None:
    attempts: list[float] = []

    @app.job(name="flaky", backtrace=2)
    def flaky() -> None:
        attempts.append(w.now)
        if len(attempts) < 3:
            raise ValueError("not yet")

    flaky.perform_async()
    assert w.run() == 1
    [entry] = w.retries.page().entries
    assert 15 <= entry.score - START < 25
    failed = json.loads(entry.value)
    assert (failed["error_class"], failed["error_message"]) == ("ValueError", "not yet")
    assert failed["retry_count"] == 0
    assert failed["error_backtrace"]
    assert w.api.counters().failed == 1
    assert w.advance(minutes=5) == 2
    assert attempts[1] == pytest.approx(entry.score)
    assert 16 <= attempts[2] - attempts[1] < 36
    assert w.retries.size == 0
    counters = w.api.counters()
    assert (counters.processed, counters.failed) == (3, 2)
    assert [str(error) for error in w.errors] == ["not yet", "not yet"]


def test_the_job_and_its_options_choose_the_delay(w: World, app: App) -> None:
    def fail() -> None:
        raise ValueError("no")

    def asks() -> None:
        raise Retry(after=1000)

    app.job(name="slow", retry_in=lambda count, _error, _job: 500 * (count + 1))(fail)
    app.job(name="asks")(asks)
    app.client.push({"class": "slow", "args": []})
    app.client.push({"class": "asks", "args": []})
    w.run()
    delays = {json.loads(e.value)["class"]: e.score - START for e in w.retries.page().entries}
    assert 500 <= delays["slow"] < 510
    assert delays["asks"] == pytest.approx(1000, abs=10)


def test_a_job_without_retries_left_is_dead(w: World, app: App) -> None:
    told: list[Mapping[str, Any]] = []
    app.death_handlers.append(lambda job, _error: told.append(job))

    @app.job(name="broken", retry=2)
    def broken() -> None:
        raise ValueError("no")

    broken.perform_async()
    assert w.advance(hours=1) == 3
    [entry] = w.dead.page().entries
    assert json.loads(entry.value)["retry_count"] == 2
    assert w.retries.size == 0
    assert len(told) == 1
    assert entry.retry()
    assert w.run() == 1
    assert w.dead.size == 1  # its retries are still used up


def test_the_dead_set_is_trimmed(open_world: Open, app: App) -> None:
    broken = app.job(name="broken", retry=0)(lambda value: 1 / 0)
    with open_world(dead_max_jobs=4, dead_timeout=3600) as w:
        for value in range(6):
            broken.perform_async(value)
        w.run()
        left = {json.loads(entry.value)["args"][0] for entry in w.dead.page().entries}
        assert w.dead.size == len(left) == 3
        w.advance(hours=2)
        broken.perform_async(7)
        w.run()
        assert [json.loads(e.value)["args"] for e in w.dead.page().entries] == [[7]]


def test_a_job_that_keeps_nothing_is_discarded(w: World, app: App) -> None:
    app.job(name="once", retry=False)(lambda: 1 / 0).perform_async()
    app.job(name="gone", retry=0, dead=False)(lambda: 1 / 0).perform_async()
    assert w.run() == 2
    assert w.dead.size == w.retries.size == in_flight(w) == 0
    assert w.api.counters().failed == 2


def test_an_unknown_class_is_retried_and_a_malformed_payload_dies(w: World) -> None:
    w.redis.sadd("queues", "default")
    w.redis.lpush("queue:default", b'{"class":"Nobody","args":[],"jid":"a"}', b"not json")
    w.run()
    assert json.loads(w.retries.page().entries[0].value)["error_class"].endswith("UnknownJobError")
    assert b"not json" in w.dead.page().entries[0].value
    assert w.api.counters().processed == 1


def test_a_job_that_snoozes_runs_again_later(w: World, app: App) -> None:
    times: list[float] = []

    @app.job(name="sleepy")
    def sleepy() -> None:
        times.append(w.now - START)
        if len(times) == 1:
            raise Snooze(60)
        if len(times) == 2:
            raise Snooze(0)

    sleepy.perform_async()
    assert w.run() == 1
    assert w.scheduled.size == 1
    assert w.advance(hours=1) == 2
    assert times == [0, 60, 60]
    assert w.api.counters().failed == 0


def test_a_job_that_is_too_old_expires(w: World, app: App, ran: list[Any]) -> None:
    note = app.job(name="note", expires_in=30)(lambda value: ran.append(value))
    w.queue().pause()
    note.perform_async(1)
    w.advance(seconds=31)
    note.perform_async(2)
    w.queue().unpause()
    assert w.run() == 2
    assert ran == [2]
    assert w.api.counters().expired == 1


# -- workers that end ------------------------------------------------------------------------------


def test_a_stopped_worker_gives_its_job_back_to_the_head_of_the_queue(
    w: World, app: App, ran: list[Any]
) -> None:
    note = app.job(name="note")(lambda value: ran.append(value))
    note.perform_async(1)
    note.perform_async(2)
    w.stop_during(note)
    assert w.run(1) == 1
    assert in_flight(w) == 0
    assert w.queue().size == 2
    assert w.run() == 2
    assert ran == [1, 1, 2]
    assert w.api.counters().failed == 1  # the interrupted execution


def test_the_job_of_a_killed_worker_runs_again_and_is_marked(
    w: World, app: App, ran: list[Any]
) -> None:
    note = app.job(name="note")(lambda value: ran.append(value))
    note.perform_async(1)
    note.perform_async(2)
    w.kill_during(note)
    assert w.run(1) == 1
    assert [json.loads(job.value)["args"] for job in w.queue().page().entries] == [[1], [2]]
    marked = json.loads(w.queue().page().entries[0].value)
    assert marked["crashes"] == 1
    assert w.run() == 2
    assert ran == [1, 1, 2]


def test_a_job_that_kills_three_workers_is_buried(w: World, app: App, ran: list[Any]) -> None:
    note = app.job(name="note")(lambda value: ran.append(value))
    note.perform_async(1)
    for _ in range(3):
        w.kill_during(note, at="start")
    assert w.run() == 3
    assert ran == []
    [entry] = w.dead.page().entries
    assert json.loads(entry.value)["error_class"].endswith("PoisonPill")


def test_the_job_of_a_lost_host_is_back_when_its_lease_has_ended(
    w: World, app: App, ran: list[Any]
) -> None:
    note = app.job(name="note")(lambda value: ran.append(value))
    note.perform_async(1)
    note.perform_async(2)
    w.kill_during(note, host=True)
    assert w.run() == 2
    assert in_flight(w) == 1
    assert w.advance(seconds=50) == 0
    assert w.advance(seconds=30) == 1
    assert ran == [1, 2, 1]
    assert in_flight(w) == 0
    w.advance(minutes=5)
    assert w.redis.zcard(KEYS.owners) == 1  # the dead one is forgotten


def test_a_job_of_a_queue_that_is_no_list_is_set_aside(w: World, app: App) -> None:
    note = app.job(name="note")(lambda value: None)
    note.set(queue="odd").perform_in(10, 1)
    w.redis.set("queue:odd", "text")
    w.advance(seconds=11)
    assert json.loads(w.dead.page().entries[0].value)["error_class"].endswith("NoQueue")
    with pytest.raises(Exception, match="WRONGTYPE"):
        w.queue("odd").page()
