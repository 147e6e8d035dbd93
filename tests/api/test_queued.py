"""Deleting and moving jobs of a long queue, wherever they are, without holding the server."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis as redis_py

from jobd.api import Api, JobRecord, Queue
from jobd.api.queued import FARTHER
from jobd.errors import ConflictError
from tests.api.conftest import job, push, waiting
from tests.api.test_sets import fill

JOBS = 30_000

Change = Callable[[Queue, Sequence[JobRecord | bytes]], int]


@pytest.fixture(params=["delete", "move"])
def change(request: pytest.FixtureRequest) -> Change:
    changes: dict[str, Change] = {
        "delete": lambda queue, jobs: queue.delete(*jobs),
        "move": lambda queue, jobs: queue.move("low", *jobs),
    }
    return changes[request.param]


@pytest.fixture
def long(redis: redis_py.Redis) -> Queue:
    """A queue of many jobs."""
    api = Api(redis)
    push(api, "default", *(job(n) for n in range(JOBS)))
    return api.queue("default")


def left(queue: Queue) -> list[bytes]:
    return waiting(queue._api, "default")  # type: ignore[arg-type]


def calls(redis: redis_py.Redis) -> dict[str, int]:
    """How often each command has been done since the counters were reset. The first call of a
    script that the server does not know yet fails."""
    found: Any = redis.info("commandstats")
    return {
        name.removeprefix("cmdstat_"): stat["calls"] - stat["failed_calls"]
        for name, stat in found.items()
    }


def without(numbers: range) -> list[bytes]:
    return [job(n) for n in range(JOBS) if n not in numbers]


@pytest.mark.parametrize("newest", [False, True])
@pytest.mark.parametrize("start", [0, 40, JOBS // 2, JOBS - 100])
def test_jobs_in_their_places(long: Queue, change: Change, start: int, newest: bool) -> None:
    page = long.page(start, 100, newest_first=newest).entries
    first = JOBS - start - 100 if newest else start
    assert {one.before for one in page} == set(range(first, first + 100))
    shuffled = random.Random(start).sample(page, len(page))
    assert change(long, shuffled) == 100
    assert left(long) == without(range(first, first + 100))


@pytest.mark.parametrize("taken", [1, 49, 51, 2_000, 14_000])
def test_jobs_that_have_come_nearer_to_the_tail(long: Queue, change: Change, taken: int) -> None:
    page = long.page(14_000, 100).entries
    long._api.redis.rpop(long._key, taken)
    assert change(long, page) == 100
    assert left(long) == without(range(14_000, 14_100))[taken:]


@pytest.mark.parametrize("returned", [1, 49, 51, FARTHER - 200])
def test_jobs_in_front_of_which_others_have_been_put_back(
    long: Queue, change: Change, returned: int
) -> None:
    page = long.page(14_000, 100).entries
    long._api.redis.rpush(long._key, *(job(n) for n in range(100_000, 100_000 + returned)))
    assert change(long, page) == 100
    assert left(long)[returned:] == without(range(14_000, 14_100))


def test_jobs_of_which_only_the_bytes_are_known(long: Queue, change: Change) -> None:
    redis: Any = long._api.redis
    redis.lset(long._key, 0, b"twice")
    redis.lset(long._key, 20_000, b"twice")
    wanted = [b"twice", job(7), b"nowhere", job(22_222), b"twice"]
    assert change(long, wanted) == 4
    assert len(left(long)) == JOBS - 4
    assert not {b"twice", job(7), job(22_222)} & set(left(long))


@pytest.mark.parametrize("start", [0, JOBS // 2])
def test_jobs_that_have_gone_are_searched_for_together_and_once(
    long: Queue, change: Change, start: int
) -> None:
    redis: Any = long._api.redis
    page = long.page(start, 100).entries
    for one in page:
        redis.lrem(long._key, 1, one.value)
    redis.config_resetstat()
    assert change(long, page) == 0
    made = calls(redis)
    assert not {"lpos", "lrem", "lset"} & made.keys()
    read = start + FARTHER + 1_000
    assert made["lrange"] < read / 64 + 200
    assert made["evalsha"] < read / 1_000 + 20
    assert left(long) == without(range(start, start + 100))


def test_a_script_removes_all_that_it_has_found_at_once(long: Queue, change: Change) -> None:
    scattered = [long.page(n, 1).entries[0] for n in range(0, JOBS, 1_500)]
    long._api.redis.config_resetstat()
    assert change(long, scattered) == len(scattered)
    made = calls(long._api.redis)
    assert made["lrem"] == made["evalsha"] == 1


@pytest.mark.parametrize("size", [10, 3_000, 300_000])
def test_the_way_to_the_middle_bounds_what_one_script_does(
    redis: redis_py.Redis, change: Change, size: int
) -> None:
    """The larger the jobs, the longer it is: there are fewer of them in a node."""
    jobs = min(60_000_000 // size, JOBS)
    raws = [b"%07d" % n + b"x" * size for n in range(jobs)]
    api = Api(redis)
    push(api, "default", *raws)
    queue = api.queue("default")
    some = [
        queue.page(jobs // 2 + n, 1).entries[0] for n in range(0, jobs // 3, max(1, jobs // 300))
    ]
    redis.config_resetstat()
    assert change(queue, some) == len(some)
    assert queue.size == jobs - len(some)
    assert calls(redis)["evalsha"] <= len(some)
    kept = {one.value for one in some}
    assert waiting(api) == [raw for raw in raws if raw not in kept]


def test_an_edited_job_is_found_in_a_long_queue_without_a_command_that_goes_through_it(
    long: Queue,
) -> None:
    api = long._api.acting_as("alice")
    assert isinstance(api, Api)
    fill(api.dead, b'{"class":"A","args":[1],"jid":"a"}', b'{"class":"A","args":[2],"jid":"b"}')
    for entry in api.dead.page():
        assert entry.replace({"args": [0], "queue": "default"})
    push(api, "default", *(job(n) for n in range(JOBS, 2 * JOBS)))
    redis: Any = api.redis
    first, second = api.trash.page()
    redis.config_resetstat()
    assert first.restore() == 1
    redis.rpop(long._key, JOBS + 2)
    with pytest.raises(ConflictError, match="not in queue default any more"):
        second.restore()
    made = calls(redis)
    assert made["lrem"] == 1
    assert "lpos" not in made
    assert len(api.dead.page()) == 1


def test_a_job_in_the_middle_of_a_long_queue_is_edited_and_restored_at_its_place(
    long: Queue,
) -> None:
    api = long._api.acting_as("alice")
    assert isinstance(api, Api)
    queue, redis = api.queue(long.name), api.redis
    before = waiting(api)
    some = queue.page(JOBS // 2, 1).entries[0]
    push(api, "default", *(job(n) for n in range(JOBS, JOBS + 100)))
    redis.rpop(queue._key, 200)
    redis.config_resetstat()
    assert queue.replace(some, {"args": ["changed"]})
    assert not {"lpos", "lrem"} & calls(redis).keys()
    after = waiting(api)[:-100]
    at = JOBS // 2 - 200
    assert b"changed" in after[at]
    assert [*after[:at], some.value, *after[at + 1 :]] == before[200:]
    assert next(iter(api.trash)).restore() == 1
    assert waiting(api)[:-100] == before[200:]


def test_a_part_in_the_middle_of_a_long_queue_is_walked_to_seldom(long: Queue) -> None:
    api = long._api
    assert isinstance(api, Api)
    push(api, "default", *(job(n) for n in range(JOBS, 2 * JOBS)))
    api.redis.config_resetstat()
    page = long.page(JOBS, 250)
    assert calls(api.redis)["lrange"] <= 5
    assert [one.value for one in page] == [job(n) for n in range(JOBS, JOBS + 250)]
    # Where the first one is large, no more than fits is read with it.
    large = job(1, args=["x" * 900_000])
    api.redis.execute_command("LINSERT", long._key, "AFTER", page.entries[0].value, large)
    assert [one.value for one in long.page(JOBS, 2)] == [large, page.entries[0].value]
