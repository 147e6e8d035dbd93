"""Batches as their users see them, on both stores."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

import pytest

import jobd
from jobd.errors import ArgumentError, BatchFinished, JobNotFoundError
from jobd.jobs.app import App
from jobd.jobs.context import current_job
from jobd.jobs.pending import Pending
from jobd.jobs.transports import within
from jobd.testing.simulation import World


@pytest.fixture
def ran() -> list[Any]:
    return []


@pytest.fixture
def note(app: App, ran: list[Any]) -> Any:
    return app.job(name="note")(lambda value=0: ran.append(value))


@pytest.fixture
def fail(app: App, ran: list[Any]) -> Any:
    @app.job(name="fail", retry=1)
    def fail() -> None:
        if "death" not in ran:
            raise ValueError("no")

    return fail


@pytest.fixture
def new(app: App) -> Any:
    def make(*args: Any, **options: Any) -> jobd.Batch:
        return jobd.Batch(*args, client=app.client, **options)

    return make


@pytest.fixture
def watched(new: Any, note: Any) -> Any:
    """Makes a batch whose callbacks note their event."""

    def make(*args: Any, **options: Any) -> jobd.Batch:
        batch: jobd.Batch = new(*args, **options)
        batch.on_success(note, "success")
        batch.on_complete(note, "complete")
        batch.on_death(note, "death")
        return batch

    return make


def raises_in(batch: jobd.Batch, push: Callable[[], object]) -> bool:
    """The block of *batch* pushes and raises."""

    def block() -> None:
        with batch:
            push()
            _ = 1 // 0

    with pytest.raises(ZeroDivisionError):
        block()
    return True


def opened(app: App, bid: str) -> jobd.Batch:
    return jobd.Batch.open(bid, client=app.client)


def test_callbacks_run_when_all_have_ended(
    w: World, note: Any, watched: Any, ran: list[Any]
) -> None:
    with watched("Invoices", ["may"]) as batch:
        note.perform_async(1)
        note.perform_bulk([[2], [3]])
        note.perform_in(60, 4)
        assert w.queue().size == 0, "they are sent when the block ends"
    assert w.run() == 3
    assert (batch.status.pending, batch.status.progress) == (1, 0.75)
    w.advance(seconds=61)
    w.run()
    assert ran[:4] == [1, 2, 3, 4]
    assert ran[4:] == ["complete", "success"]
    status = batch.wait(0)
    assert (status.description, status.tags, status.total, status.done) == (
        "Invoices",
        ("may",),
        4,
        4,
    )
    assert status.success_at
    assert status.ended


def test_a_job_of_a_batch_knows_it(w: World, app: App, new: Any, ran: list[Any]) -> None:
    @app.job(name="who")
    def who() -> None:
        ran.append((current_job().bid, current_job().jid))

    with new() as batch:
        batch.on_success(who)
        jid = who.perform_async()
    who.perform_async()
    w.run()
    assert [bid for bid, _ in ran].count(batch.bid) == 2
    assert (batch.bid, jid) in ran
    assert jid == f"{batch.bid}{1:08x}"


def test_an_empty_batch_succeeds_when_its_block_ends(
    w: World, watched: Any, ran: list[Any]
) -> None:
    with watched() as batch:
        assert ran == []
    assert w.run() == 2
    assert ran == ["complete", "success"]
    assert batch.status.total == 0


def test_no_job_is_pushed_by_a_block_that_raises(w: World, note: Any, watched: Any) -> None:
    batch = watched()
    assert raises_in(batch, lambda: note.perform_async(1))
    assert w.run() == 0
    with pytest.raises(JobNotFoundError):
        _ = batch.status


def test_many_are_sent_a_thousand_at_a_time(
    w: World, note: Any, watched: Any, ran: list[Any]
) -> None:
    with watched() as batch:
        for number in range(2_500):
            note.perform_async(number)
        assert w.queue().size == 2_000
        assert batch.status.total == 2_000
        assert batch.status.open == 1
        w.run()
        assert "complete" not in ran, "the block is open"
    w.run()
    assert ran[:2_500] == list(range(2_500))
    assert ran[2_500:] == ["complete", "success"]


def test_a_dead_member_keeps_it_from_success(
    w: World, fail: Any, note: Any, watched: Any, ran: list[Any]
) -> None:
    with watched() as batch:
        fail.perform_async()
        note.perform_async(1)
    w.run()
    assert ran == [1, "complete"], "each has run once"
    w.advance(seconds=3600)
    assert ran == [1, "complete", "death"]
    status = batch.status
    assert (status.dead, status.failed, status.pending, status.ended) == (1, 1, 0, True)
    [entry] = w.api.dead
    w.api.dead.retry(entry)
    assert batch.status.pending == 1
    w.run()
    assert ran == [1, "complete", "death", "success"], "brought back by hand"


@pytest.mark.parametrize("strict", [False, True])
def test_members_that_are_dropped(
    w: World, note: Any, watched: Any, ran: list[Any], strict: bool
) -> None:
    with watched(strict=strict) as batch:
        note.set(expires_in=5).perform_in(1, 1)
        jid = note.perform_in(100, 2)
        note.perform_async(3)
    w.queue().pause()
    w.advance(seconds=20)
    w.queue().unpause()
    assert jobd.cancel(jid, api=w.api) == "cancelled"
    w.run()
    status = batch.status
    assert (status.expired, status.cancelled, status.done, status.dropped) == (1, 1, 1, 2)
    expected = {"complete", "death"} if strict else {"complete", "success"}
    assert set(ran) - {3} == expected


def test_a_restored_member_counts_again(w: World, note: Any, watched: Any, ran: list[Any]) -> None:
    with watched() as batch:
        note.perform_in(100, 1)
        note.perform_in(200, 2)
    api = w.api.acting_as("ann")
    api.scheduled.clear()
    w.advance(seconds=20)
    assert batch.status.cancelled == 2
    assert next(iter(api.trash)).restore() == 2
    assert batch.status.pending == 2
    w.advance(seconds=300)
    assert batch.status.done == 2
    assert ran.count("success") == 1


def test_a_job_that_a_lock_keeps_out_is_no_member(
    w: World, app: App, new: Any, ran: list[Any]
) -> None:
    once = app.job(name="once", unique=True, unique_by=[])(lambda value: ran.append(value))
    once.perform_async(0)
    with new() as batch:
        refused = once.perform_async(1)
        once.set(unique=False).perform_async(2)
    assert batch.refused == [refused]
    assert batch.status.total == 1
    w.run()
    assert batch.status.success_at


def test_a_job_that_middleware_stops_is_no_member(
    w: World, app: App, note: Any, new: Any, ran: list[Any]
) -> None:
    @app.client_middleware.add
    def odd(job: str, payload: Any, queue: str, push: Any) -> Any:
        return push() if payload["args"] != [1] else None

    with new() as batch:
        assert note.perform_async(1) is None
        note.perform_async(2)
        with pytest.raises(ArgumentError, match="middleware has stopped"):
            batch.on_success(note, 1)
    w.run()
    assert (batch.status.total, ran) == (1, [2])


def test_a_member_adds_to_its_batch(
    w: World, app: App, note: Any, watched: Any, ran: list[Any]
) -> None:
    @app.job(name="pages")
    def pages(many: int) -> None:
        note.perform_async("aside")
        with opened(app, str(current_job().bid)) as batch:
            for number in range(many):
                note.perform_async(number)
            batch.on_success(note, "late")

    with watched() as batch:
        pages.perform_async(40)
    w.run()
    assert batch.status.total == 41
    assert ran[0] == "aside"
    assert ran[1:41] == list(range(40))
    assert sorted(ran[41:]) == ["complete", "late", "success"]


def test_nothing_is_added_after_the_end(w: World, app: App, note: Any, new: Any) -> None:
    with new() as batch:
        note.perform_async(1)
    w.run()
    with pytest.raises(BatchFinished, match="succeeded"), opened(app, batch.bid):
        pass
    with pytest.raises(BatchFinished), opened(app, "0" * 16):
        pass
    with pytest.raises(ArgumentError, match="hexadecimal"):
        opened(app, "*")
    with pytest.raises(ArgumentError, match="has had its block"), batch:
        pass


def test_a_batch_waits_for_those_inside_it_and_for_their_callbacks(
    w: World, app: App, note: Any, new: Any, watched: Any, ran: list[Any]
) -> None:
    tidy = app.job(name="tidy", queue="slow")(lambda: ran.append("tidy"))
    with watched() as outer:
        note.perform_async(1)
        with new() as inner:
            inner.on_success(tidy)
            note.perform_async(2)
    assert inner.status.parent == outer.bid
    w.queue("slow").pause()
    w.run()
    assert set(ran) == {1, 2}, "the callback inside has not ended"
    w.queue("slow").unpause()
    w.run()
    assert ran[2:] == ["tidy", "complete", "success"]


def test_a_death_inside_is_one_outside(
    w: World, fail: Any, new: Any, watched: Any, ran: list[Any]
) -> None:
    with watched() as outer, new():
        fail.perform_async()
    w.run()
    assert ran == ["complete"]
    w.advance(seconds=3600)
    assert ran == ["complete", "death"]
    assert outer.status.dead == 1


def test_cancelling_a_batch(w: World, app: App, note: Any, watched: Any, ran: list[Any]) -> None:
    with watched() as batch:
        note.perform_async(1)
        note.perform_in(100, 2)
    note.perform_async("other")
    assert batch.cancel() == 2
    w.run()
    assert ran[-1] == "other"
    assert batch.status.cancelled == 2
    assert set(ran) == {"other", "complete", "success"}
    with pytest.raises(BatchFinished), opened(app, batch.bid):
        pass


def test_those_inside_a_batch_are_cancelled_with_it(
    w: World, app: App, note: Any, new: Any, watched: Any, ran: list[Any]
) -> None:
    with watched() as outer:
        with new() as over:
            note.perform_async("over")
        w.run()
        with new() as inner:
            inner.on_success(note, "inside")
            note.perform_async(1)
            with new() as innermost:
                note.perform_in(100, 2)
            with new():
                note.perform_in(100, 3)
        note.perform_async(4)
    with new() as other:
        note.perform_in(100, "other")
    assert w.api.batches.pending(outer.bid) == 4
    assert w.api.batches.pending(other.bid) == 1
    assert outer.cancel() in (4, 5), "the callback inside is a member of the outer one"
    assert w.api.batches.pending(outer.bid) == 0
    w.run()
    assert set(ran) == {"over", "complete", "success"}
    for batch in (inner, innermost):
        assert batch.status.state == "cancelled"
        with pytest.raises(BatchFinished), opened(app, batch.bid):
            pass
    assert over.status.state == "succeeded"
    assert other.status.pending == 1


def test_a_batch_whose_inner_block_is_open_is_cancelled(
    w: World, note: Any, new: Any, watched: Any, ran: list[Any]
) -> None:
    with watched() as outer:
        inner = new()
        for _ in range(1001):
            note.perform_in(100, 1)

        def push() -> None:
            for _ in range(1001):  # the first thousand is sent
                note.perform_in(100, 2)

        assert raises_in(inner, push)
    assert (inner.status.state, outer.status.pending) == ("open", 1002)
    assert outer.cancel() == 2001
    w.run()
    assert (inner.status.state, outer.status.state) == ("cancelled", "cancelled")
    assert set(ran) == {"complete", "success"}


def test_a_deleted_batch_leaves_its_jobs(w: World, note: Any, watched: Any, ran: list[Any]) -> None:
    with watched() as batch:
        note.perform_async(1)
    assert batch.delete()
    assert not batch.delete()
    w.run()
    assert ran == [1]
    assert list(w.redis.scan_iter("jobd:batch*")) == []


def test_an_ended_batch_is_kept_for_a_day(w: World, note: Any, new: Any) -> None:
    with new() as batch:
        note.perform_async(1)
    w.run()
    w.advance(hours=23)
    assert batch.status.done == 1
    w.advance(hours=2)
    with pytest.raises(JobNotFoundError, match="more than"):
        _ = batch.status


def test_callbacks_that_cannot_be(w: World, app: App, note: Any, new: Any) -> None:
    with new() as batch:
        for job, error in (
            (note.set(unique=True), "cannot be unique"),
            (note.set(expires_in=5), "expires_in"),
            (print, "is not a job"),
        ):
            with pytest.raises(ArgumentError, match=error):
                batch.on_success(job)
        batch.on_success("Ruby::Job", 1)
    [job] = w.queue()
    assert (job.klass, job.args) == ("Ruby::Job", [1])
    with pytest.raises(BatchFinished):
        batch.on_success(note)


def test_a_callback_goes_to_the_head_of_its_queue(
    w: World, note: Any, new: Any, ran: list[Any]
) -> None:
    note.perform_async("before")
    with new(callback_queue="urgent") as batch:
        batch.on_success(note, 1)
    assert [job.args for job in w.queue("urgent")] == [[1]]
    with new() as batch:
        batch.on_success(note, 2)
    w.run()
    assert ran == [2, "before", 1]


def test_coroutines_push_batches(note: Any, watched: Any, w: World) -> None:
    async def push() -> jobd.Batch:
        async with watched() as batch:
            for number in range(1_100):
                await note.aperform_async(number)
            await note.aperform_bulk([[1]] * 1_500)
            assert w.queue().size == 1_000 + 1_100
        return cast("jobd.Batch", batch)

    async def wait(batch: jobd.Batch) -> int:
        return (await batch).done

    batch = asyncio.run(push())
    assert asyncio.run(wait(batch)) == 2_600


class _UntilCommit:
    """Holds pushes back as :func:`jobd.contrib.sqlalchemy.after_commit` does."""

    def __init__(self) -> None:
        self.pending = Pending()

    def transport(self, inner: Any) -> Any:
        self.inner = inner
        return self.pending

    def atransport(self, inner: Any) -> Any:
        raise AssertionError


def test_a_transaction_in_the_block_takes_no_job_out_of_it(
    w: World, note: Any, new: Any, watched: Any, ran: list[Any]
) -> None:
    held = _UntilCommit()
    with watched() as batch:
        with within(held):
            note.perform_async(1)
            with new():
                note.perform_async(2)
        note.through(held).perform_async(3)
    assert (len(held.pending), batch.status.total) == (0, 3), "with the batch inside"
    w.run()
    assert (set(ran[:3]), ran[3:]) == ({1, 2, 3}, ["complete", "success"])


def test_a_task_that_outlives_the_block_pushes_ordinary_jobs(
    w: World, app: App, note: Any, watched: Any, ran: list[Any]
) -> None:
    unique = app.job(name="unique", unique=True)(lambda value: ran.append(value))

    async def later(ended: asyncio.Event, begun: asyncio.Event) -> None:
        await note.aperform_async("inside")
        begun.set()
        await ended.wait()
        await note.aperform_async("after")
        note.perform_async("at once")
        await note.aperform_in(60, "in a minute")
        await unique.aperform_async("alone")

    async def push() -> jobd.Batch:
        ended, begun = asyncio.Event(), asyncio.Event()
        async with watched() as batch:
            task = asyncio.create_task(later(ended, begun))
            await begun.wait()
        ended.set()
        await task
        return cast("jobd.Batch", batch)

    batch = asyncio.run(push())
    w.run()
    w.advance(seconds=61)
    w.run()
    assert batch.status.total == 1
    assert sorted(ran) == sorted(
        ["inside", "after", "at once", "alone", "complete", "success", "in a minute"]
    )


def test_a_task_that_outlives_an_inner_block_pushes_into_the_outer_one(
    w: World, note: Any, new: Any
) -> None:
    async def push() -> jobd.Batch:
        async with new() as outer:
            ended = asyncio.Event()

            async def later() -> None:
                await ended.wait()
                await note.aperform_async()

            async with new():
                task = asyncio.create_task(later())
            ended.set()
            await task
        return cast("jobd.Batch", outer)

    outer = asyncio.run(push())
    w.run()
    assert outer.status.total == 2, "the job, and the batch inside"


def test_a_push_that_has_begun_in_the_block_and_ends_after_it_is_not_lost(
    w: World, app: App, note: Any, new: Any, ran: list[Any]
) -> None:
    async def push() -> jobd.Batch:
        ended, begun = asyncio.Event(), asyncio.Event()

        @app.client_middleware.add
        async def wait(job: str, payload: Any, queue: str, push: Any) -> Any:
            if payload["args"] == [2]:
                begun.set()
                await ended.wait()
            return await push()

        async with new() as batch:
            task = asyncio.create_task(note.aperform_bulk([[1], [2], [3]]))
            await begun.wait()
        ended.set()
        await task
        return cast("jobd.Batch", batch)

    batch = asyncio.run(push())
    w.run()
    assert (ran, batch.status.state, batch.status.total) == ([1, 2, 3], "succeeded", 0)


def one_taken_out(w: World, note: Any, watched: Any) -> tuple[jobd.Batch, bytes]:
    """A batch of two scheduled jobs; the first one has been removed by hand."""
    with watched() as batch:
        note.perform_in(5_000, 1)
        note.perform_in(6_000, 2)
    first: Any = w.redis.zrange("schedule", 0, 0)[0]
    w.redis.zrem("schedule", first)
    return batch, first


def test_a_member_that_is_nowhere_is_dropped_as_unconfirmed(
    w: World, note: Any, watched: Any, ran: list[Any]
) -> None:
    batch, _ = one_taken_out(w, note, watched)
    w.advance(seconds=30)
    assert batch.status.pending == 2
    w.advance(seconds=600)
    assert (batch.status.pending, batch.status.unconfirmed) == (1, 1)
    w.advance(seconds=6_000)
    assert sorted(ran, key=str) == [2, "complete", "success"]


def test_a_member_that_ruby_has_put_into_the_dead_set_is_dead(
    w: World, note: Any, watched: Any, ran: list[Any]
) -> None:
    """Its retries are used up there, or somebody kills it in Sidekiq's dashboard."""
    batch, first = one_taken_out(w, note, watched)
    w.redis.zadd("dead", {first: 1_800_000_000})
    w.advance(seconds=300)
    assert (batch.status.pending, batch.status.dead, batch.status.failed) == (1, 1, 1)
    assert ran == ["death"]
    w.advance(seconds=6_000)
    assert sorted(ran, key=str) == [2, "complete", "death"]
    w.api.dead.retry(*w.api.dead)
    w.run()
    assert (batch.status.dead, batch.status.done) == (0, 2)
    assert sorted(ran, key=str) == [1, 2, "complete", "death", "success"]


def test_a_member_for_workers_of_a_newer_version_is_not_nowhere(
    w: World, note: Any, watched: Any
) -> None:
    with watched() as batch:
        note.perform_in(5_000, 1)
    [(raw, due)] = cast("Any", w.redis.zrange("schedule", 0, 0, withscores=True))
    job = json.loads(raw)
    job["jobd"]["later"] = {"a": 1}
    w.redis.delete("schedule")
    w.redis.zadd("schedule", {json.dumps(job): due})
    w.advance(seconds=1_000)
    assert (batch.status.pending, batch.status.unconfirmed) == (1, 0)


def test_a_batch_that_takes_long_is_not_missed_by_the_one_around_it(
    w: World, note: Any, new: Any, watched: Any, ran: list[Any]
) -> None:
    with watched() as outer, new() as inner:
        note.perform_in(5_000, 1)
    w.advance(seconds=1_000)
    assert (outer.status.pending, outer.status.unconfirmed, ran) == (1, 0, [])
    assert w.api.batches.recount(outer.bid).missing == ()
    inner.delete()
    w.advance(seconds=1_000)
    assert (outer.status.unconfirmed, outer.status.success_at is None) == (1, False)


def test_a_member_that_waits_for_a_lock_is_not_nowhere(
    w: World, app: App, note: Any, watched: Any, ran: list[Any]
) -> None:
    @app.job(name="turn", unique=True, on_conflict="again", retry=False)
    def turn(number: int) -> None:
        ran.append("turn")

    turn.perform_in(5_000, 1)
    with watched() as batch:
        turn.perform_async(1)
    assert (batch.status.total, batch.status.pending) == (1, 1)
    w.advance(seconds=4_000)
    assert (batch.status.pending, ran) == (1, [])
    assert w.api.batches.recount(batch.bid).missing == ()
    w.advance(seconds=2_000)
    assert ran == ["turn", "turn", "complete", "success"]


@pytest.mark.parametrize(
    "number", [5, 1_000_000_000, 4e9, 1e300, -1, 0.5, "0x7fffffff", None, [0], "", True]
)
def test_a_number_that_is_none_changes_nothing(
    w: World, note: Any, watched: Any, number: object
) -> None:
    """Redis would make half a gigabyte of it."""
    with watched() as batch:
        note.perform_in(100, 1)
    members = f"jobd:batch:{batch.bid}:members"
    before, size = batch.status, w.redis.strlen(members)
    about = {"class": "note", "args": [], "jid": "hand", "queue": "default", "retry": False}
    hand = {**about, "jobd": {"v": 1, "batch": [batch.bid, number]}}
    w.redis.zadd("schedule", {json.dumps(hand): 1.0})
    w.redis.zadd("dead", {json.dumps({**hand, "jid": "dead"}): w.redis.time()[0]})
    next(iter(w.api.dead)).retry()
    w.run()
    assert w.redis.strlen(members) == size
    assert batch.status == before


def test_a_batch_that_was_changed_by_hand_keeps_no_other_from_its_end(
    w: World, app: App, new: Any, note: Any
) -> None:
    made = []
    for _ in range(10):
        with new() as batch:
            note.perform_async(1)
        made.append(batch)
    for batch in made[:5]:
        w.redis.hset(f"jobd:batch:{batch.bid}", "pending", "many")
    w.api.queue("default").clear()
    w.advance(seconds=30)
    assert [batch.status.cancelled for batch in made[5:]] == [1] * 5
    assert all(batch.status.success_at for batch in made[5:])


def test_a_recount_names_and_repairs_what_is_wrong(w: World, note: Any, new: Any) -> None:
    with new() as batch:
        note.perform_bulk([[1], [2], [3]])
    found = w.api.batches.recount(batch.bid, repair=True)
    assert (found.missing, found.counters, found.repaired) == ((), {}, False)
    w.redis.hset(f"jobd:batch:{batch.bid}", "pending", 7)
    w.redis.rpop("queue:default")
    found = w.api.batches.recount(batch.bid)
    assert (found.missing, found.counters) == ((0,), {"pending": (7, 3)})
    assert w.api.batches.recount(batch.bid, repair=True).repaired
    status = batch.status
    assert (status.pending, status.unconfirmed, status.total) == (2, 1, 3)
    w.run()
    assert batch.status.success_at


def test_the_producer_of_an_open_block_that_has_died(
    w: World, note: Any, watched: Any, ran: list[Any]
) -> None:
    batch = watched()
    assert raises_in(batch, lambda: note.perform_bulk([[1]] * 1_000))
    w.run()
    assert not batch.status.abandoned_at
    w.advance(seconds=3_700)
    assert batch.status.abandoned_at
    assert len(ran) == 1_000, "it is never closed by itself"
    assert batch.close() == 1
    w.run()
    assert ran[1_000:] == ["complete", "success"]


def test_a_producer_that_was_taken_for_dead_ends_its_block(w: World, note: Any, new: Any) -> None:
    with new() as batch:
        note.perform_bulk([[1]] * 1_000)
        w.advance(seconds=3_700)
        assert batch.status.state == "abandoned"
    w.run()
    assert (batch.status.state, batch.status.abandoned_at) == ("succeeded", None)


def test_a_batch_with_dead_members_is_kept_as_long_as_they_are(
    w: World, fail: Any, new: Any
) -> None:
    with new() as batch:
        fail.perform_async()
    w.advance(days=3)
    assert batch.status.dead == 1
    w.api.dead.clear()
    w.advance(hours=2)
    assert batch.status.dead == 1
    w.advance(hours=26)
    with pytest.raises(JobNotFoundError):
        _ = batch.status
    assert len(w.api.batches) == 0


def test_a_job_of_another_redis_is_refused(w: World, note: Any, new: Any) -> None:
    other = jobd.Client("redis://127.0.0.1:2/0")
    with new() as batch, pytest.raises(ArgumentError, match="another Redis"):
        other.push({"class": "Add", "args": []})
    assert batch.status.total == 0


def test_a_batch_of_another_redis_inside_is_refused(w: World, note: Any, new: Any) -> None:
    other = jobd.Client("redis://127.0.0.1:2/0")
    with (
        new() as batch,
        pytest.raises(ArgumentError, match="another Redis"),
        jobd.Batch(client=other),
    ):
        pass
    assert batch.status.total == 0
