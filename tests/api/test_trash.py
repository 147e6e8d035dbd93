"""Undo, and who did what."""

from __future__ import annotations

import time
from typing import get_args

import pytest
import redis as redis_py

from jobd.api import Api, DeadSet, JobSet
from jobd.api.sets.steps import SetAction
from jobd.api.stats import Counter
from jobd.errors import ArgumentError, ConflictError, RefusedError
from tests.api.conftest import NOW, everything_in, job, push, waiting
from tests.api.test_sets import fill

DAY = 86_400


@pytest.fixture
def alice(api: Api) -> Api:
    return api.acting_as("alice")


@pytest.fixture(params=["scheduled", "retries", "dead"])
def jobs(request: pytest.FixtureRequest, alice: Api) -> JobSet:
    found: JobSet = getattr(alice, request.param)
    return found


def test_a_cleared_queue_comes_back_before_newer_jobs(alice: Api) -> None:
    raws = [job(n) for n in range(450)]
    push(alice, "default", *raws)
    assert alice.queue("default").clear() == 450
    assert alice.queues() == []
    push(alice, "default", b"newer")
    (deletion,) = alice.trash
    assert (deletion.who, deletion.action, deletion.origin) == ("alice", "clear", "queue:default")
    assert (deletion.jobs, deletion.went_to) == (450, "")
    assert abs(deletion.at - time.time()) < 60
    assert abs(deletion.until - deletion.at - DAY) <= 1
    assert [one.jid for one in deletion.page(0, 2)] == [f"{n:024x}" for n in (449, 448)]
    for key in (alice.keys.trashed(deletion.ref), alice.keys.trashed_jobs(deletion.ref)):
        assert DAY - 60 < alice.redis.ttl(key) <= DAY
    assert deletion.restore(seconds=0.0) == 100
    assert alice.trash[deletion.ref].page().size == 350
    assert alice.trash[deletion.ref].restore() == 350
    assert waiting(alice) == [*raws, b"newer"]
    assert list(alice.trash) == []
    assert alice.redis.ttl(alice.keys.queue("default")) == -1
    assert deletion.restore() == 0
    with pytest.raises(KeyError):
        alice.trash[deletion.ref]


def test_a_cleared_set_comes_back_with_its_times(jobs: JobSet, alice: Api) -> None:
    fill(jobs, *(job(n) for n in range(450)))
    before = everything_in(alice, jobs._key)
    assert jobs.clear() == 450
    assert jobs.size == 0
    fill(jobs, b"newer", job(3), first=NOW + 5000)
    (deletion,) = alice.trash
    assert (deletion.origin, deletion.jobs) == (jobs.name, 450)
    assert deletion.page(0, 2).size == 450
    assert deletion.restore() == 450
    # What has come back by another way meanwhile keeps its time.
    assert everything_in(alice, jobs._key) == {**before, b"newer": NOW + 5000, job(3): NOW + 5001}
    assert alice.redis.ttl(jobs._key) == -1


def test_deleted_entries_come_back_with_their_times(jobs: JobSet, alice: Api) -> None:
    fill(jobs, *(job(n) for n in range(900)))
    before = everything_in(alice, jobs._key)
    chosen = jobs.page(0, 450).entries
    assert jobs.delete(*chosen) == 450
    (deletion,) = alice.trash
    assert (deletion.action, deletion.jobs) == ("delete", 450)
    assert jobs.delete(*chosen) == 0
    assert len(list(alice.trash)) == 1
    assert deletion.restore() == 450
    assert everything_in(alice, jobs._key) == before


def test_deleted_jobs_of_a_queue_come_back_in_their_order(alice: Api) -> None:
    push(alice, "default", *(job(n) for n in range(900)))
    queue = alice.queue("default")
    assert queue.delete(*queue.page(10, 300)) == 300
    assert queue.delete(*queue.page(0, 3, newest_first=True)) == 3
    newest, oldest = alice.trash
    assert (oldest.jobs, newest.jobs) == (300, 3)
    assert oldest.restore() == 300
    assert waiting(alice)[:300] == [job(n) for n in range(10, 310)]
    assert newest.restore() == 3
    assert waiting(alice)[:3] == [job(n) for n in (897, 898, 899)]
    assert sorted(waiting(alice)) == sorted(job(n) for n in range(900))


def test_a_sweep_is_one_deletion(alice: Api) -> None:
    push(alice, "default", *(job(n, "Bill" if n % 2 else "Mail") for n in range(900)))
    fill(alice.retries, *(job(n) for n in range(900)))
    assert alice.queue("default").delete_by_class("Bill") == 450
    sweep = alice.retries.sweep("delete")
    assert sweep.run() == 900
    of_set, of_queue = alice.trash
    assert (of_set.ref, of_set.jobs, of_queue.jobs) == (sweep.ref, 900, 450)
    assert of_queue.restore() == 450
    assert waiting(alice)[:450] == [job(n, "Bill") for n in range(1, 900, 2)]


def test_killed_jobs_come_back_if_they_are_still_dead(alice: Api) -> None:
    fill(alice.retries, *(job(n) for n in range(4)))
    before = everything_in(alice, alice.keys.retry)
    assert alice.retries.kill(*alice.retries.page()) == 4
    (deletion,) = alice.trash
    assert (deletion.action, deletion.went_to, deletion.origin) == ("kill", "dead", "retry")
    plain = Api(alice.redis, alice.keys.prefix)
    first, second, *_ = sorted(plain.dead, key=lambda entry: entry.jid)
    assert first.retry()
    assert second.delete()
    assert deletion.restore() == 2
    assert everything_in(alice, alice.keys.retry) == {job(n): before[job(n)] for n in (2, 3)}
    assert alice.dead.size == 0
    assert len(waiting(alice)) == 1


@pytest.fixture
def edited(alice: Api) -> bytes:
    """A dead job that alice has edited and put into its queue, between two others."""
    fill(alice.dead, job(7))
    push(alice, "default", job(1))
    assert alice.dead.page().entries[0].replace({"args": [8]})
    push(alice, "default", job(2))
    _, raw, _ = waiting(alice)
    return raw


def test_an_edited_job_is_again_what_it_was(jobs: JobSet, alice: Api) -> None:
    fill(jobs, job(7))
    before = everything_in(alice, jobs._key)
    push(alice, "low", job(1))
    assert jobs.page().entries[0].replace({"args": [8], "queue": "low"})
    push(alice, "low", job(2))
    (deletion,) = alice.trash
    assert (deletion.action, deletion.jobs) == ("edit", 1)
    assert (deletion.origin, deletion.went_to) == (jobs.name, "queue:low")
    assert [one.args for one in deletion.page()] == [[7]]
    assert deletion.restore() == 1
    assert everything_in(alice, jobs._key) == before
    assert waiting(alice, "low") == [job(1), job(2)]
    assert (list(alice.trash), deletion.restore()) == ([], 0)
    assert alice.redis.ttl(jobs._key) == -1


def test_an_edited_job_that_a_worker_has_is_not_doubled(alice: Api, edited: bytes) -> None:
    (deletion,) = alice.trash
    assert [alice.redis.rpop(alice.keys.queue("default")) for _ in range(2)] == [job(1), edited]
    entries = alice.audit.size
    with pytest.raises(ConflictError, match="not in queue default any more"):
        deletion.restore()
    assert (alice.dead.size, waiting(alice)) == (0, [job(2)])
    assert (alice.audit.size, deletion.page().size) == (entries, 1)
    # The worker has given it back: it did not run.
    push(alice, "default", edited)
    assert alice.trash[deletion.ref].restore() == 1
    assert [entry.args for entry in alice.dead] == [[7]]
    assert waiting(alice) == [job(2)]


def test_a_job_that_was_edited_in_its_queue_and_that_a_worker_has_is_not_doubled(
    alice: Api,
) -> None:
    push(alice, "default", job(1), job(2), job(3))
    _, second, _ = alice.queue("default").page()
    assert alice.queue("default").replace(second, {"args": [8]})
    assert not alice.queue("default").replace(second, {"args": [9]})  # it is another one by now
    _, edited, _ = waiting(alice)
    (deletion,) = alice.trash
    assert (deletion.action, deletion.jobs) == ("edit", 1)
    assert (deletion.origin, deletion.went_to) == ("queue:default", "queue:default")
    for _ in range(2):
        alice.redis.rpop(alice.keys.queue("default"))
    with pytest.raises(ConflictError, match="not in queue default any more"):
        deletion.restore()
    assert waiting(alice) == [job(3)]
    # The worker has given it back: it did not run.
    alice.redis.rpush(alice.keys.queue("default"), edited)
    assert alice.trash[deletion.ref].restore() == 1
    assert waiting(alice) == [job(2), job(3)]
    assert list(alice.trash) == []


def test_nothing_is_taken_from_a_queue_for_a_set_that_is_none(alice: Api, edited: bytes) -> None:
    alice.redis.set(alice.keys.dead, "of another program")
    with pytest.raises(RefusedError, match="WRONGTYPE"):
        next(iter(alice.trash)).restore()
    assert waiting(alice) == [job(1), edited, job(2)]


def test_without_a_name_nothing_is_kept_or_noted(api: Api) -> None:
    fill(api.retries, *(job(n) for n in range(4)))
    api.retries.delete(*api.retries.page(0, 2))
    api.retries.clear()
    assert api.redis.dbsize() == 0


def test_the_trash_is_optional_and_can_be_emptied(api: Api) -> None:
    bob = api.acting_as("bob", trash=False)
    fill(bob.retries, *(job(n) for n in range(4)))
    assert bob.retries.clear() == 4
    assert list(bob.trash) == []
    assert [entry.who for entry in bob.audit] == ["bob"]
    alice = api.acting_as("alice")
    push(alice, "default", *(job(n) for n in range(4)))
    alice.queue("default").clear()
    (deletion,) = alice.trash
    assert (deletion.purge(), deletion.purge(), deletion.restore()) == (4, 0, 0)
    assert list(alice.trash) == []
    assert alice.redis.keys() == [alice.keys.audit.encode()]
    with pytest.raises(ArgumentError, match="name"):
        api.acting_as("")


def test_the_trash_is_emptied_step_by_step(alice: Api) -> None:
    fill(alice.retries, *(job(n) for n in range(250)))
    for entry in alice.retries.page(0, 250):
        assert entry.delete()
    alice.redis.delete(alice.keys.trashed(next(iter(alice.trash)).ref))
    assert alice.trash.empty(seconds=0.0) == 1
    assert alice.redis.zcard(alice.keys.trash) == 249
    assert alice.trash.empty() == 249
    assert alice.trash.empty() == 0
    assert not alice.redis.keys(f"{alice.keys.trash}*")
    told = alice.audit.page()[0]
    assert (told.who, told.action, told.target, told.jobs) == ("alice", "purge", "trash", 249)


def test_what_has_expired_is_gone(alice: Api) -> None:
    push(alice, "default", job(1))
    alice.queue("default").clear()
    (deletion,) = alice.trash
    alice.redis.delete(alice.keys.trashed(deletion.ref), alice.keys.trashed_jobs(deletion.ref))
    assert list(alice.trash) == []
    assert deletion.restore() == 0
    # The next deletion forgets those whose time is over.
    alice.redis.zadd(alice.keys.trash, {"old": time.time() - 10})
    push(alice, "default", job(2))
    alice.queue("default").clear()
    assert alice.redis.zscore(alice.keys.trash, "old") is None
    # Of very many some at a time, and a page knows of none.
    alice.redis.zadd(alice.keys.trash, {f"old{n}": time.time() - 10 for n in range(1_700)})
    for left in (700, 0):
        push(alice, "default", job(3))
        alice.queue("default").clear()
        assert alice.redis.zcount(alice.keys.trash, "-inf", time.time()) == left
    newest, _ = alice.trash.page().entries[:2]
    assert newest.purge() == 1
    next(iter(alice.trash)).purge()
    assert alice.trash.page().size == 1


def test_who_did_what(api: Api) -> None:
    alice, bob = api.acting_as("alice"), api.acting_as("bob")
    fill(alice.retries, *(job(n) for n in range(900)))
    push(api, "default", *(job(n) for n in range(1000, 1300)))
    began = time.time()
    entry = alice.retries.page().entries[0]
    assert (alice.retries.delete(entry), bob.retries.delete(entry)) == (1, 0)
    assert bob.queue("default").pause()
    assert bob.queue("default").pause() is False
    assert alice.retries.retry_all() == 899
    assert bob.queue("default").move_all("low") == 1199
    alice.reset_stats()
    reset, moved, retried, paused, deleted = alice.audit.page()
    told = [deleted, paused, retried, moved, reset]
    assert [(e.who, e.action, e.target, e.jobs) for e in told] == [
        ("alice", "delete", "retry", 1),
        ("bob", "pause", "queue:default", 1),
        ("alice", "retry", "retry", 899),
        ("bob", "move to low", "queue:default", 1199),
        ("alice", "reset", "stats", len(get_args(Counter))),
    ]
    assert began - 1 <= deleted.at <= moved.at <= time.time() + 1
    assert len({entry.ref for entry in alice.audit}) == alice.audit.size == 5
    assert [entry.action for entry in alice.audit.page(2)] == ["reset", "move to low"]
    assert [entry.action for entry in alice.audit.page(2, before=moved.id)] == ["retry", "pause"]
    for wrong in ("x", "1", "-"):
        with pytest.raises(ArgumentError, match="audit"):
            alice.audit.page(before=wrong)


def test_the_steps_of_two_actions_at_once_are_two_entries(api: Api) -> None:
    alice, bob = api.acting_as("alice"), api.acting_as("bob")
    fill(alice.dead, *(job(n) for n in range(300)))
    fill(bob.retries, *(job(n) for n in range(300)))
    one, other = alice.dead.sweep("delete"), bob.retries.sweep("delete")
    while not (one.done and other.done):
        one.step()
        other.step()
    assert {(e.who, e.jobs) for e in api.audit.page(100)} == {("alice", 300), ("bob", 300)}
    assert len(list(api.trash)) == 2


def told(api: Api) -> list[tuple[str, str, str, int]]:
    """The audit log, the last one first."""
    return [(e.who, e.action, e.target, e.jobs) for e in api.audit.page()]


@pytest.mark.parametrize("between", [False, True])
def test_an_action_with_the_id_of_another_one_is_an_entry_of_its_own(
    api: Api, *, between: bool
) -> None:
    alice, bob = api.acting_as("alice"), api.acting_as("bob")
    fill(alice.dead, *(job(n) for n in range(5)))
    fill(bob.retries, job(5), job(6))
    fill(alice.scheduled, job(7))
    assert alice.dead.clear() == 5
    expected = [("alice", "clear", "dead", 5)]
    if between:
        bob.queue("default").pause()
        expected.insert(0, ("bob", "pause", "queue:default", 1))
    (deletion,) = alice.trash
    sweeps: list[tuple[JobSet, SetAction, tuple[str, str, str, int]]] = [
        (bob.retries, "reschedule", ("bob", "reschedule", "retry", 2)),
        (alice.retries, "reschedule", ("alice", "reschedule", "retry", 2)),
        (alice.retries, "retry", ("alice", "retry", "retry", 2)),
        (alice.scheduled, "retry", ("alice", "retry", "schedule", 1)),
    ]
    for jobs, action, entry in sweeps:
        jobs.sweep(action, when=60, ref=deletion.ref).run()
        expected.insert(0, entry)
        assert told(api) == expected


def test_a_deletion_is_not_described_anew(api: Api) -> None:
    alice, bob = api.acting_as("alice"), api.acting_as("bob")
    fill(alice.retries, *(job(n) for n in range(4)))
    fill(alice.dead, job(4))
    first = alice.retries.sweep("delete", pattern=r"\[[01]\]")
    assert first.run() == 2
    before = (list(alice.trash), told(api), alice.redis.dbsize())
    others: list[tuple[JobSet, SetAction]] = [
        (bob.retries, "delete"),
        (alice.retries, "kill"),
        (alice.dead, "delete"),
    ]
    for jobs, action in others:
        sweep = jobs.sweep(action, ref=first.ref)
        with pytest.raises(ConflictError, match=r"another deletion.*Nothing was changed"):
            sweep.run()
    assert (list(alice.trash), told(api), alice.redis.dbsize()) == before
    assert (alice.retries.size, alice.dead.size) == (2, 1)
    # Who goes on with his own does.
    assert alice.retries.sweep("delete", ref=first.ref).run() == 2
    assert told(api) == [("alice", "delete", "retry", 4)]
    (deletion,) = alice.trash
    assert deletion.restore() == 4


def test_the_log_is_bounded(api: Api) -> None:
    queue = api.acting_as("alice").queue("default")
    with api.redis.pipeline() as pipe:
        for _ in range(10_500):
            pipe.xadd(api.keys.audit, {"id": "x"})
        pipe.execute()
    queue.pause()
    assert api.audit.size < 10_300


def test_a_full_server_can_be_emptied(redis: redis_py.Redis) -> None:
    """Deleting into the trash, moving and killing work where no job can be pushed any more."""
    api = Api(redis).acting_as("alice")
    push(api, "default", *(job(n) for n in range(50)))
    fill(api.retries, *(job(n) for n in range(100, 150)))
    redis.config_set("maxmemory", "1")  # byte: whatever the server takes for itself, it is full
    try:
        with pytest.raises(redis_py.ResponseError, match="maxmemory"):
            redis.lpush("queue:default", "x")
        queue = api.queue("default")
        assert queue.delete(*queue.page(0, 10)) == 10
        assert queue.move_all("low") == 40
        assert api.retries.kill(*api.retries.page(0, 10)) == 10
        assert api.retries.delete(*api.retries.page(0, 10)) == 10
        assert api.retries.retry_all() == 30
        assert api.queue("low").clear() == 40
        assert [one.value for one in api.trash.page().entries[-1].page()] == [
            job(n) for n in range(9, -1, -1)
        ]
        assert sum(deletion.restore() for deletion in api.trash) == 70
        # For good, by either way.
        assert api.queue("low").clear() == 40
        assert next(iter(api.trash)).purge() == 40
        final = api.acting_as("alice", trash=False)
        assert final.queue("default").delete(*api.queue("default").page(0, 3)) == 3
        assert api.dead.clear() == 0
        assert api.queue("default").clear() == 37
        assert api.trash.empty() == 37
        assert list(api.trash) == []
    finally:
        redis.config_set("maxmemory", "0")


def test_a_set_of_a_later_version_is_not_guessed(alice: Api) -> None:
    push(alice, "default", job(1))
    alice.queue("default").clear()
    (deletion,) = alice.trash
    alice.redis.hset(alice.keys.trashed(deletion.ref), "origin", "attic")
    with pytest.raises(ArgumentError, match="attic"):
        alice.trash[deletion.ref].restore()


def test_dead_jobs_are_not_killed_again(alice: Api) -> None:
    fill(alice.dead, job(1))
    assert isinstance(alice.dead, DeadSet)
    with pytest.raises(ArgumentError, match="dead already"):
        alice.dead.sweep("kill").run()
    assert alice.dead.size == 1
