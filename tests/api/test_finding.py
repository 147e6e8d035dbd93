"""Jobs that somebody has seen on a page are found again, wherever they are meanwhile."""

from __future__ import annotations

import time

import pytest

from jobd.api import Api, JobRecord, QueuedKey
from jobd.errors import ArgumentError
from tests.api.conftest import HOSTILE, NOW, everything_in, job, push, waiting


def _key(record: JobRecord, place: int | None) -> QueuedKey:
    return QueuedKey(record.digest, record.jid, place)


def test_many_entries_by_their_keys(api: Api) -> None:
    raws = [*HOSTILE, *(job(n) for n in range(60))]
    api.redis.zadd(api.keys.dead, {raw: NOW + at // 2 for at, raw in enumerate(raws)})
    keys = [entry.key for entry in api.dead]
    assert sorted(one.value for one in api.dead.find_all(keys, seconds=None)) == sorted(raws)
    assert [one.value for one in api.dead.find_all([keys[0], "1.5-gone"])] != []
    assert api.dead.find_all([]) == []
    with pytest.raises(ArgumentError, match="SCORE-JID"):
        api.dead.find_all([keys[0], "none"])


def test_jobs_that_are_all_due_at_the_same_time(api: Api) -> None:
    api.redis.zadd(api.keys.schedule, {job(n): NOW for n in range(2500)})
    keys = [f"{NOW!r}-{n:024x}" for n in (1, 1200, 2499)]
    found = api.scheduled.find_all([*keys, f"{NOW!r}-gone"])
    assert sorted(entry.args[0] for entry in found) == [1, 1200, 2499]
    assert api.scheduled.find_all([f"{NOW!r}-gone"], seconds=0) == []


def test_of_two_entries_with_one_key_one_is_found(api: Api) -> None:
    api.redis.zadd(api.keys.retry, {job(1): NOW, job(1, "Other"): NOW})
    assert len(api.retries.find_all([f"{NOW!r}-{1:024x}"])) == 1


def test_jobs_of_a_queue_that_workers_take_from(api: Api) -> None:
    push(api, "default", *(job(n) for n in range(5000)))
    queue = api.queue("default")
    page = queue.page(4000, 3)
    keys = [_key(record, 4000 + at) for at, record in enumerate(page)]
    api.redis.rpop(api.keys.queue("default"), 1500)
    assert [one.args for one in queue.find_all(keys)] == [[4000], [4001], [4002]]
    api.redis.rpop(api.keys.queue("default"), 2501)
    assert queue.move("low", *queue.find_all(keys)) == 2
    assert waiting(api, "low") == [job(4001, queue="low"), job(4002, queue="low")]
    assert queue.find_all(keys) == []


def test_a_job_whose_place_nobody_knows(api: Api) -> None:
    push(api, "default", *HOSTILE, *(job(n) for n in range(3000)))
    queue = api.queue("default")
    for raw in (*HOSTILE, job(2999)):
        record = JobRecord(raw)
        assert [one.value for one in queue.find_all([_key(record, None)])] == [raw]
        assert [one.value for one in queue.find_all([_key(record, 9_999)])] == [raw]
    assert queue.find_all([_key(JobRecord(job(2999)), None)], seconds=0) == []


def test_all_that_match_are_rescheduled(api: Api) -> None:
    api.redis.zadd(
        api.keys.schedule, {job(n, "Bill" if n % 3 else "Mail"): NOW for n in range(900)}
    )
    later = time.time() + 5000
    assert api.scheduled.sweep("reschedule", "Mail", when=later).run() == 300
    times = everything_in(api, api.keys.schedule)
    assert sum(score == later for score in times.values()) == 300
    with pytest.raises(ArgumentError, match="needs a time"):
        api.scheduled.sweep("reschedule")


def test_the_last_action_can_be_undone_by_its_id(api: Api) -> None:
    push(api, "default", *(job(n) for n in range(3)))
    alice = api.acting_as("alice")
    alice.queue("default").delete(*alice.queue("default").page())
    assert alice.trash[alice.last_ref].restore() == 3
    assert alice.acting_as("bob").last_ref == api.last_ref == ""
    assert alice.trash.find_all([alice.last_ref, "none"]) == {}
