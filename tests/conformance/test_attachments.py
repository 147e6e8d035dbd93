"""What hangs on jobs: locks, results, requests to cancel, progress; on both stores."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

import jobd
from jobd.api.features.cancellation import cancel, cancel_many
from jobd.api.reading import MOST
from jobd.errors import (
    ConflictError,
    DuplicateJobError,
    JobCancelledError,
    JobExpiredError,
    JobFailedError,
    JobNotFoundError,
)
from jobd.jobs.app import App
from jobd.jobs.context import current_job
from jobd.store.keys import Keys
from jobd.testing.simulation import World
from tests.conformance.conftest import START

KEYS = Keys()


@pytest.fixture
def ran() -> list[Any]:
    return []


@pytest.fixture
def note(app: App, ran: list[Any]) -> Any:
    return app.job(name="note")(lambda value=0: ran.append(value))


def locks(w: World) -> list[bytes]:
    return list(w.redis.scan_iter("jobd:lock:*"))


# -- unique ----------------------------------------------------------------------------------------


def test_a_unique_job_keeps_others_out_until_it_has_ended(
    w: World, note: Any, ran: list[Any]
) -> None:
    once = note.set(unique=True)
    assert once.perform_async(1)
    assert once.perform_async(1) is None
    assert once.perform_async(2)
    assert w.run() == 2
    assert ran == [1, 2]
    assert w.api.counters().duplicates == 1
    assert locks(w) == []
    assert once.perform_async(1)


@pytest.mark.parametrize(("until", "let_in"), [("success", False), ("start", True)])
def test_whether_a_lock_is_held_while_its_job_runs(
    w: World, app: App, until: Any, let_in: bool
) -> None:
    pushed: list[str | None] = []

    @app.job(name="again", unique=True, unique_until=until)
    def again() -> None:
        if not pushed:
            pushed.append(again.perform_async())

    again.perform_async()
    assert w.run() == 1 + let_in
    assert [jid is not None for jid in pushed] == [let_in]
    assert locks(w) == []


def test_a_lock_outlives_its_job_until_it_expires(w: World, note: Any, ran: list[Any]) -> None:
    rare = note.set(unique=True, unique_until="expiry", unique_for=600)
    rare.perform_async(1)
    assert w.run() == 1
    assert rare.perform_async(1) is None
    w.advance(seconds=599)
    assert rare.perform_async(1) is None
    w.advance(seconds=2)
    assert rare.perform_async(1)


def test_a_lock_ends_so_long_after_the_job_was_due(w: World, note: Any) -> None:
    bounded = note.set(unique=True, unique_for=60)
    w.queue().pause()
    bounded.perform_in(100, 1)
    w.advance(seconds=159)
    assert bounded.perform_async(1) is None
    w.advance(seconds=2)
    assert bounded.perform_async(1)


def test_what_a_push_does_that_is_kept_out(w: World, app: App, ran: list[Any]) -> None:
    again = app.job(name="once", unique=True, unique_by=[])(lambda value: ran.append(value))
    first = again.perform_async(1)
    assert again.set(on_conflict="skip").perform_async(2) is None
    assert again.set(on_conflict="holder").perform_async(2) == first
    with pytest.raises(DuplicateJobError, match=first):
        again.set(on_conflict="raise").perform_async(2)
    assert w.run() == 1
    assert ran == [1]


def test_a_push_replaces_one_that_is_scheduled(w: World, app: App, ran: list[Any]) -> None:
    @app.job(name="report", unique=True, unique_by=[], on_conflict="replace", keep_result=60)
    def report(value: int) -> None:
        ran.append(value)

    first = report.perform_in(100, 1)
    assert report.perform_in(50, 2)
    assert w.scheduled.size == 1
    with pytest.raises(JobCancelledError):
        jobd.Result(str(first), app.client).get(0)
    w.advance(seconds=200)
    assert ran == [2]


def test_a_push_has_the_job_run_once_more(w: World, app: App, ran: list[Any]) -> None:
    @app.job(name="sync", unique=True, unique_by=[], on_conflict="again")
    def sync(value: int) -> None:
        ran.append(value)
        if value == 1:
            sync.perform_async(2)
            sync.perform_async(3)

    sync.perform_async(1)
    assert w.run() == 2
    assert ran == [1, 3]
    assert locks(w) == []


def test_a_job_that_waits_for_a_lock_outlasts_the_bound_of_that(
    w: World, app: App, ran: list[Any]
) -> None:
    @app.job(name="slow", unique_for=60, unique_by=[], on_conflict="again", retry_in=lambda *_: 600)
    def slow(value: int) -> None:
        ran.append(value)
        if len(ran) == 1:
            slow.perform_async(2)
            raise jobd.Snooze(10)
        if len(ran) == 2:
            raise ValueError("it is retried when the lock would have ended")

    slow.perform_async(1)
    w.run()
    w.advance(seconds=3600)
    assert ran == [1, 1, 1, 2]
    assert locks(w) == []


def test_debounced_pushes_run_once(w: World, app: App, ran: list[Any]) -> None:
    @app.job(name="index", debounce=5, max_wait=12, unique_by=["document"])
    def index(document: int, version: int) -> None:
        ran.append((version, w.now - START))

    for version in range(6):
        index.perform_async(7, version)
        w.advance(seconds=3)
    w.advance(minutes=1)
    assert ran == [(3, 12), (5, 20)]


def test_the_lock_of_a_retried_job_stays_and_that_of_a_dead_one_does_not(
    w: World, app: App
) -> None:
    @app.job(name="broken", retry=1, unique=True)
    def broken() -> None:
        raise ValueError

    broken.perform_async()
    w.run()
    assert broken.perform_async() is None
    w.advance(hours=1)
    assert w.dead.size == 1
    assert broken.perform_async()


def test_a_lock_whose_holder_was_deleted_by_hand_is_freed(w: World, note: Any) -> None:
    once = note.set(unique=True)
    once.perform_async(1)
    w.redis.delete(KEYS.queue("default"))
    assert once.perform_async(1) is None
    w.advance(seconds=5)
    assert once.perform_async(1) is None
    w.advance(seconds=60)
    assert once.perform_async(1)


# -- results ---------------------------------------------------------------------------------------


def test_results(w: World, app: App) -> None:
    @app.job(name="divide", keep_result=600, retry=0)
    def divide(a: int, b: int) -> float:
        return a / b

    def result(jid: str | None) -> Any:
        return jobd.Result(str(jid), app.client)

    good, bad, late = divide.perform_async(6, 3), divide.perform_async(1, 0), None
    late = divide.set(expires_in=5).perform_async(1, 1)
    assert result(good).state == "queued"
    w.queue().pause()
    w.advance(seconds=6)
    w.queue().unpause()
    w.run()
    assert result(good).get(0) == 2
    assert result(good).info.ended_at == START + 6
    with pytest.raises(JobFailedError, match="ZeroDivisionError"):
        result(bad).get(0)
    with pytest.raises(JobExpiredError):
        result(late).get(0)
    w.advance(seconds=599)
    assert result(good).get(0) == 2
    w.advance(seconds=2)
    with pytest.raises(JobNotFoundError):
        result(good).get(0)


def test_the_state_of_a_job_on_its_way(w: World, app: App) -> None:
    @app.job(name="flaky", keep_result=60)
    def flaky() -> str:
        states.append(jobd.Result(current_job().jid, app.client).state)
        if len(states) == 1:
            raise ValueError
        return "fine"

    states: list[str] = []
    result: Any = jobd.Result(str(flaky.perform_in(10)), app.client)
    assert result.state == "scheduled"
    w.advance(seconds=11)
    assert result.state == "retrying"
    w.advance(minutes=1)
    assert states == ["running", "running"]
    assert result.get(0) == "fine"


# -- cancelling ------------------------------------------------------------------------------------


def test_jobs_that_wait_are_cancelled_and_can_be_restored(
    w: World, note: Any, app: App, ran: list[Any]
) -> None:
    kept = note.set(keep_result=60, unique=True)
    queued, scheduled = kept.perform_async(1), kept.perform_in(60, 2)
    for jid in (queued, scheduled):
        assert cancel(str(jid), api=w.api) == "cancelled"
        with pytest.raises(JobCancelledError):
            jobd.Result(str(jid), app.client).get(0)
    assert cancel("nobody", api=w.api) == "unknown"
    assert w.queue().size == w.scheduled.size == 0
    assert kept.perform_async(1)
    deletions = {each.origin: each for each in w.api.trash.page().entries}
    with pytest.raises(ConflictError, match="another one like it"):
        deletions["queue:default"].restore()
    assert deletions["schedule"].restore() == 1
    assert w.advance(minutes=2) == 2
    assert sorted(ran) == [1, 2]


def test_a_running_job_that_is_cancelled_and_fails_is_not_retried(w: World, app: App) -> None:
    told: list[bool] = []

    @app.job(name="long", keep_result=60, cancellable=False)
    def long() -> None:
        assert cancel(current_job().jid, api=w.api) == "cancelling"
        told.append(current_job().cancelled)
        raise ValueError("halfway")

    jid = long.perform_async()
    w.run()
    assert w.retries.size == 0
    assert w.api.counters().cancelled == 1
    with pytest.raises(JobCancelledError):
        jobd.Result(str(jid), app.client).get(0)


def test_many_are_cancelled_by_what_they_have(w: World, note: Any) -> None:
    for value in range(5):
        note.set(tags=["nightly"] if value % 2 else []).perform_async(value)
    note.set(tags=["nightly"]).perform_in(100, 9)
    assert cancel_many(tag="nightly", api=w.api).cancelled == 3
    assert w.queue().size == 3


@pytest.mark.parametrize("many", [False, True])
def test_running_jobs_are_cancelled_however_many_workers_there_are(
    w: World, note: Any, many: bool
) -> None:
    """Those of a list for people are the first thousand."""
    jid = str(note.perform_async(1))
    w.redis.zadd(KEYS.owners, {f"host:{number}:x": 9e9 for number in range(MOST + 5)})
    last = sorted(f"host:{number}:x" for number in range(MOST + 5))[-1]
    taken = cast("bytes", w.redis.rpop(KEYS.queue("default")))
    w.redis.hset(KEYS.inflight(last), "1:default", taken)
    if many:
        assert cancel_many(name="note", api=w.api).cancelling == 1
    else:
        assert cancel(jid, api=w.api) == "cancelling"
    assert list(w.redis.hgetall(KEYS.cancels(last))) == [b"1:default"]


# -- progress --------------------------------------------------------------------------------------


def test_progress_is_seen_while_a_job_runs_and_then_gone(w: World, app: App) -> None:
    seen: list[Any] = []

    @app.job(name="load")
    def load() -> None:
        for row in (1, 2):
            current_job().progress(row, 10, f"row {row}")
            seen.append(w.api.progress(current_job().jid))

    load.perform_async()
    w.run()
    assert [(each.done, each.total, each.note, each.at) for each in seen] == [
        (1, 10, "row 1", START),
        (2, 10, "row 2", START),
    ]
    assert list(w.redis.scan_iter("jobd:progress:*")) == []
    assert list(w.api.work) == []


def test_a_program_without_locks_pushes_a_unique_job(w: World, app: App, ran: list[Any]) -> None:
    once = app.job(name="once", unique=True)(lambda value: ran.append(value))
    once.perform_async(1)
    [raw] = cast("list[bytes]", w.redis.lrange("queue:default", 0, -1))
    w.redis.lpush("queue:default", raw.replace(json.loads(raw)["jid"].encode(), b"f" * 24))
    assert w.run() == 2
    assert ran == [1, 1]
