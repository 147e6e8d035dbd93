"""Batches where two things meet: a keeper that looks while a batch is deleted, a clearing that is
undone while it is being handled, a full server, a callback that fails, programs that know no
batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import pytest
import redis as redis_py
from click.testing import CliRunner

import jobd
from jobctl.cli import jobctl
from jobd import App
from jobd.api import Api
from jobd.api.features.remaining import RemainingJobs
from jobd.keeper.batches import ABANDONED
from jobd.keeper.lost import LostWatch, batches
from jobd.keeper.reconcile import Reconcile
from jobd.runtime.log import log
from jobd.store import scripts
from jobd.store.keys import Keys
from jobd.testing import EmbeddedServer
from jobd.testing.simulation import world
from tests.support.workflows import end

KEYS = Keys("")


@pytest.fixture
def note(app: App) -> Any:
    return app.job(name="note")(lambda value=0: value)


def batch(app: App, note: Any, count: int = 3) -> jobd.Batch:
    with jobd.Batch(client=app.client) as made:
        note.perform_bulk([[number] for number in range(count)])
    return made


def of_batches(redis: redis_py.Redis) -> list[Any]:
    return list(redis.scan_iter("jobd:batch*"))


def watch_of(redis: redis_py.Redis, delivered: Callable[[], Iterable[bytes]] = list) -> LostWatch:
    """What searches for lost members, also for those of new batches."""
    for bid in cast("list[bytes]", redis.zrange(KEYS.batches, 0, -1)):
        redis.zadd(KEYS.batches, {bid: 1.0})
    return LostWatch(redis, KEYS, batches(KEYS), log.get("jobd.test"), delivered, lambda: True)


# -- a batch that is deleted while a keeper looks at it -------------------------------------------


def test_a_search_does_not_bring_back_a_batch(app: App, note: Any, redis: redis_py.Redis) -> None:
    made = batch(app, note)
    redis.delete("queue:default")  # so that the keeper misses its members

    def delivered() -> list[bytes]:
        made.delete()
        return []

    watch = watch_of(redis, delivered)
    watch.turn()
    assert of_batches(redis) == []
    watch._next = 0.0
    watch.turn()
    assert of_batches(redis) == []


def abandoned(redis: redis_py.Redis, bid: str) -> int:
    now = float(redis.time()[0]) + ABANDONED + 1
    names = [KEYS.queues, KEYS.batches_open, KEYS.batch(bid)]
    found: int = scripts.ABANDON_BATCH(redis, names, [bid, repr(now), repr(now - ABANDONED)])
    return found


def test_only_an_open_batch_that_is_there_and_silent_is_abandoned(
    app: App, note: Any, redis: redis_py.Redis
) -> None:
    made = batch(app, note)
    redis.zadd(KEYS.batches_open, {made.bid: 1.0})
    assert made.delete()
    redis.zadd(KEYS.batches_open, {made.bid: 1.0})  # as a keeper has read it before
    assert abandoned(redis, made.bid) == 0
    assert of_batches(redis) == []
    with jobd.Batch(client=app.client) as other:
        note.perform_bulk([[1]] * 1_000)
        assert abandoned(redis, other.bid) == 1
        assert abandoned(redis, other.bid) == 0, "and is looked at an hour later"
        assert other.status.state == "abandoned"
        redis.zadd(KEYS.batches_open, {other.bid: 4e9})  # it has pushed
        redis.hdel(KEYS.batch(other.bid), "abandoned_at")
        assert abandoned(redis, other.bid) == 0
    assert abandoned(redis, other.bid) == 0, "its block has ended"
    assert other.status.abandoned_at is None


# -- a clearing that is undone --------------------------------------------------------------------


def depart(redis: redis_py.Redis, most: int) -> int:
    """Let a keeper handle so many of the jobs that were cleared; returns how many are left."""
    [key] = cleared(redis)
    left: int = scripts.DEPART(redis, [KEYS.departed, key], [most])
    return left


def cleared(redis: redis_py.Redis) -> list[Any]:
    """Where jobs are that were cleared and are to be handled."""
    known: Any = redis.hkeys(KEYS.departed)
    return [key for key in known if key != b"used"]


@pytest.mark.parametrize("place", ["queue", "schedule"])
@pytest.mark.parametrize("handled", [0, 10, 20, 30])
def test_members_that_a_lock_keeps_in_the_trash_are_dropped(
    app: App, redis: redis_py.Redis, place: str, handled: int
) -> None:
    """The keeper has handled some of those that were cleared when they are restored."""
    once: Any = app.job(name="once", unique=True)(lambda number: None)
    with jobd.Batch(client=app.client) as made:
        for number in range(30):
            if place == "queue":
                once.perform_async(number)
            else:
                once.perform_in(3600 + number, number)
    api = Api(redis).acting_as("ann")
    jobs: Any = api.queue("default") if place == "queue" else api.scheduled
    assert jobs.clear() == 30
    if handled:
        depart(redis, handled)
    assert made.status.cancelled == handled
    for lock in redis.scan_iter("jobd:lock:*"):
        redis.delete(lock)
    taken = (3, 14, 15, 26)
    for number in taken:
        assert once.perform_async(number)
    assert next(iter(api.trash)).restore() == 26
    while cleared(redis):
        depart(redis, 7)
    status = made.status
    assert (status.pending, status.cancelled, status.total) == (26, 4, 30)
    assert api.batches.recount(made.bid).missing == ()


# -- members that wait for a lock -----------------------------------------------------------------


@pytest.mark.parametrize("how", ["batch", "job", "many"])
def test_a_job_that_waits_for_a_lock_is_cancelled(
    app: App, redis: redis_py.Redis, how: str
) -> None:
    turn: Any = app.job(name="turn", unique=True, on_conflict="again")(lambda: None)
    holder = turn.perform_async()
    with jobd.Batch(client=app.client) as made:
        jid = turn.perform_async()
    api = Api(redis).acting_as("ann")
    if how == "batch":
        assert api.batches.cancel(made.bid) == 1
    elif how == "job":
        assert jobd.cancel(jid, api=api) == "cancelled"
    else:
        assert jobd.cancel_many(name="turn", api=api).cancelled == 2
    assert (made.status.cancelled, made.status.pending) == (1, 0)
    assert jobd.cancel(jid, api=api) == "unknown"
    if how == "many":
        return
    assert end(redis, "") == 1, "the one that held the lock"
    assert end(redis, "") == 0
    assert not list(redis.scan_iter("jobd:lock:*"))
    assert next(iter(api.trash)).restore() == 1
    assert made.status.pending == 1
    [job] = api.queue("default")
    assert (job.jid, holder != jid) == (jid, True)


# -- callbacks ------------------------------------------------------------------------------------


def test_a_callback_whose_class_nobody_knows_is_retried_and_runs_once_it_is_known() -> None:
    app = App()
    app.configure("redis://127.0.0.1:1/0")  # nothing is sent there
    ran: list[str] = []
    with world(app=app, now=1_800_000_000.0) as w:
        with jobd.Batch(client=app.client) as made:
            made.on_success("shop.later", "first")
            app.job(name="note")(lambda: None).perform_async()
        w.run()
        assert made.status.state == "succeeded"
        assert [job.klass for job in w.retries] == ["shop.later"]
        app.job(name="shop.later")(lambda value: ran.append(value))
        w.drain()
        assert ran == ["first"]
        assert w.api.counters().failed >= 1


# -- programs that know no batches ----------------------------------------------------------------


def test_a_member_that_ruby_has_run_is_unconfirmed_and_the_batch_succeeds(
    app: App, note: Any, redis: redis_py.Redis
) -> None:
    made = batch(app, note)
    assert (
        redis.rpop("queue:default") is not None
    )  # BRPOP, as Sidekiq takes it, runs it and is done
    assert end(redis, "", most=2) == 2
    assert made.status.state == "running"
    watch = watch_of(redis)
    watch.turn()
    assert list(watch._missed) == [made.bid]
    watch._next = 0.0  # later
    watch.turn()
    status = made.status
    assert (status.unconfirmed, status.done, status.state) == (1, 2, "succeeded")


def test_one_search_is_for_many_batches(
    app: App, note: Any, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search goes through all jobs: not once for each of the batches that wait."""
    searches: list[str] = []
    begun = RemainingJobs.__init__

    def begin(self: RemainingJobs, session: Any, mark: str, belongs: Any) -> None:
        searches.append(mark)
        begun(self, session, mark, belongs)

    monkeypatch.setattr(RemainingJobs, "__init__", begin)
    made = [batch(app, note) for _ in range(30)]
    assert end(redis, "", most=2) == 2  # of the first one
    for _ in range(2):
        redis.rpop("queue:default")
    watch = watch_of(redis)
    for turn in (1, 2):
        watch._next = 0.0
        watch.turn()
        assert len(searches) == turn
    assert [each.status.unconfirmed for each in made] == [1, 1, *[0] * 28]
    assert [each.status.pending for each in made] == [0, 2, *[3] * 28]


@pytest.mark.parametrize("foreign", ["batch", "workflow"])
def test_a_key_of_another_type_is_in_the_way_of_no_other(
    app: App, note: Any, redis: redis_py.Redis, foreign: str
) -> None:
    made = batch(app, note)
    redis.rpop("queue:default")
    lost = KEYS.batch("f" * 16) if foreign == "batch" else KEYS.workflow("theirs")
    redis.set(lost, "theirs")
    redis.zadd(KEYS.batches if foreign == "batch" else KEYS.workflows, {lost.split(":")[-1]: 1.0})
    watch_of(redis)
    keeper = Reconcile(redis, KEYS)
    for _ in range(2):
        for watch in keeper._lost:
            watch._next = 0.0
        keeper.turn()
    assert (made.status.unconfirmed, made.status.pending) == (1, 2)
    assert redis.get(lost) == b"theirs"


# -- members in files -----------------------------------------------------------------------------


@pytest.mark.parametrize("emptied", [False, True])
def test_members_that_are_exported_and_imported(
    app: App,
    note: Any,
    redis: redis_py.Redis,
    server: EmbeddedServer,
    tmp_path: Path,
    emptied: bool,
) -> None:
    """Where their batch or workflow is, they are pending again, elsewhere ordinary jobs."""
    made = batch(app, note)

    jobd.chain(note.si(1), note.si(2)).perform_async()

    def run(*words: str) -> str:
        told = CliRunner().invoke(jobctl, [*words, "--redis", server.url], standalone_mode=False)
        assert told.exception is None, told.exception
        return told.output

    path = str(tmp_path / "jobs.jsonl")
    run("export", "all", "-o", path)
    if emptied:
        redis.flushall()
    else:
        assert Api(redis).acting_as("ann").queue("default").clear() == 4
        while cleared(redis):
            depart(redis, 10)
        assert (made.status.cancelled, made.status.state) == (3, "succeeded")
    told = run("import", path)
    assert told.startswith("Imported 4 jobs.")
    assert ("4 memberships dropped" in told) == emptied
    assert redis.llen("queue:default") == 4
    if not emptied:
        assert (made.status.cancelled, made.status.pending) == (0, 3)
    # The first step of the chain pushes the second one.
    assert end(redis, "", most=10) == (4 if emptied else 5)
    assert of_batches(redis) == [] or made.status.done == 3
