"""The scheduler against a real server."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis as redis_py

from jobd.keeper import scheduler as scheduler_module
from jobd.keeper.prune import Prune
from jobd.keeper.scheduler import BATCH, Scheduler
from jobd.store.connection import connect
from jobd.testing import EmbeddedServer
from tests.support.engine import KEYS, until, waiting


@pytest.fixture
def loops() -> Iterator[list[Scheduler]]:
    made: list[Scheduler] = []
    yield made
    for loop in made:
        assert loop.stop(10)


def member(number: int, queue: str = "default") -> bytes:
    """Bytes in no usual shape: whoever rewrites them is found out."""
    return (
        b'{"strange" :[1.50, 1e2,"\\u00e9\xc3\xa9/\\/"],"queue":"%b","args":[%d],"class":"A",'
        b'"jid":"j%d","big":123456789012345678901234567890}' % (queue.encode(), number, number)
    )


@pytest.mark.parametrize("source", [KEYS.schedule, KEYS.retry])
def test_due_jobs_move_and_no_other_byte_changes(redis: redis_py.Redis, source: str) -> None:
    now = time.time()
    redis.zadd(source, {member(1): now - 10, member(2, "low:er"): now - 5, member(3): now + 1000})
    before = time.time()
    scheduler = Scheduler(redis, KEYS, 1.0)
    assert scheduler.turn() == 0.0, "it looks again at once, for there may be more"
    [raw] = waiting(redis)
    enqueued_at = json.loads(raw)["enqueued_at"]
    assert type(enqueued_at) is float
    assert before <= enqueued_at <= time.time()
    untouched = [b'[1.50, 1e2,"\\u00e9\xc3\xa9/\\/"]', b"123456789012345678901234567890"]
    assert all(piece in raw for piece in untouched)
    stamp = b',"enqueued_at":' + json.dumps(enqueued_at).encode()
    assert raw.replace(stamp, b"") == member(1).replace(b'"strange" :', b'"strange":')
    assert len(waiting(redis, "low:er")) == 1
    assert redis.smembers(KEYS.queues) == {b"default", b"low:er"}
    assert redis.zrange(source, 0, -1) == [member(3)]
    assert scheduler.turn() == 1.0


def test_the_time_of_an_earlier_push_is_replaced(redis: redis_py.Redis) -> None:
    redis.zadd(KEYS.retry, {b'{"enqueued_at":5,"class":"A","args":[]}': 1.0})
    Scheduler(redis, KEYS, 1.0).turn()
    [raw] = waiting(redis)
    assert raw.startswith(b'{"enqueued_at":1')
    assert json.loads(raw)["enqueued_at"] > 1e9


def promote_all(scheduler: Scheduler) -> None:
    while scheduler.turn() == 0.0:
        pass


def test_jobs_due_first_are_pushed_first(redis: redis_py.Redis) -> None:
    redis.zadd(KEYS.schedule, {member(n): 1000.0 + n for n in range(50)})
    promote_all(Scheduler(redis, KEYS, 1.0))
    assert [json.loads(raw)["args"][0] for raw in waiting(redis)] == list(range(50))


def test_a_flood_of_retries_does_not_hold_up_scheduled_jobs(redis: redis_py.Redis) -> None:
    redis.zadd(KEYS.retry, {member(n): 1.0 for n in range(3 * BATCH)})
    redis.zadd(KEYS.schedule, {member(-1, "scheduled"): 1.0})
    assert Scheduler(redis, KEYS, 1.0).turn() == 0.0, "there is more to do at once"
    assert len(waiting(redis, "scheduled")) == 1
    assert redis.zcard(KEYS.retry) >= 2 * BATCH


def promoted(scheduler: Scheduler, client: redis_py.Redis, source: str) -> int:
    """How many jobs of *source* one turn moves."""
    before = client.zcard(source)
    scheduler.turn()
    return before - client.zcard(source)


def large(number: int) -> bytes:
    return b'{"class":"A","args":[%d,"%b"]}' % (number, b"x" * 2**20)


def test_batches_of_small_jobs_have_their_full_size_at_once(redis: redis_py.Redis) -> None:
    redis.zadd(KEYS.retry, {member(n): 1.0 for n in range(2 * BATCH + 7)})
    scheduler = Scheduler(redis, KEYS, 1.0)
    moved = [promoted(scheduler, redis, KEYS.retry) for _ in range(4)]
    assert moved == [BATCH, BATCH, 7, 0]


def test_batches_of_large_jobs_are_bounded_in_bytes(redis: redis_py.Redis) -> None:
    scheduler = Scheduler(redis, KEYS, 1.0)
    for _ in range(2):  # What was learned of small ones before does not count.
        redis.zadd(KEYS.retry, {large(n): 1.0 for n in range(18)})
        redis.zadd(KEYS.schedule, {member(n): 1.0 for n in range(2 * BATCH)})
        moved = [promoted(scheduler, redis, KEYS.retry) for _ in range(6)]
        assert sum(moved) == 18
        assert max(moved) == 4
        assert redis.zcard(KEYS.schedule) == 0, "each set has its own measure"
        redis.zadd(KEYS.retry, {member(n): 1.0 for n in range(BATCH)})
        promote_all(scheduler)
    assert len(waiting(redis)) == 2 * (18 + 2 * BATCH + BATCH)


def test_jobs_larger_than_any_bound_move_one_by_one(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "BYTES", 10)
    redis.zadd(KEYS.retry, {member(n): 1.0 for n in range(4)})
    scheduler = Scheduler(redis, KEYS, 1.0)
    assert [promoted(scheduler, redis, KEYS.retry) for _ in range(5)] == [1, 1, 1, 1, 0]


def promotions(client: redis_py.Redis) -> int:
    found: Any = client.info("commandstats")
    return int(found["cmdstat_evalsha"]["calls"])


def test_keepers_are_handed_different_jobs(redis: redis_py.Redis) -> None:
    """However they take turns, there is a call for each batch, and a first one for each keeper."""
    redis.zadd(KEYS.schedule, {member(n): 1.0 + n for n in range(12 * BATCH)})
    keepers = [Scheduler(redis, KEYS, 1.0) for _ in range(4)]
    Scheduler(redis, KEYS, 1.0)._move(KEYS.schedule, [], time.time(), 0)  # the script is loaded
    redis.config_resetstat()
    for _ in range(3):
        for keeper in keepers:
            assert promoted(keeper, redis, KEYS.schedule) == BATCH
    assert promotions(redis) == 12 + 4
    assert Counter(json.loads(raw)["args"][0] for raw in waiting(redis)) == Counter(
        range(12 * BATCH)
    )
    assert [keeper.turn() for keeper in keepers] == [1.0] * 4


def test_a_keeper_waits_for_what_others_promote_and_takes_over_from_the_dead(
    redis: redis_py.Redis,
) -> None:
    redis.zadd(KEYS.schedule, {member(n): 1.0 for n in range(3)})
    dead, alive = Scheduler(redis, KEYS, 60.0), Scheduler(redis, KEYS, 60.0)
    _, handed, _ = dead._move(KEYS.schedule, [], time.time(), BATCH)
    assert len(handed) == 3
    wait = alive.turn()
    assert wait is not None
    assert 0.0 < wait <= scheduler_module.RESERVED == 1.0
    assert waiting(redis) == []
    time.sleep(wait)
    assert alive.turn() == 0.0
    assert len(waiting(redis)) == 3


def test_what_comes_in_front_of_reserved_jobs_is_not_passed_over(redis: redis_py.Redis) -> None:
    """While others promote without end, it is handed out when a reservation has ended."""
    redis.zadd(KEYS.schedule, {member(n): 1000.0 + n for n in range(20 * BATCH)})
    first, second = Scheduler(redis, KEYS, 1.0), Scheduler(redis, KEYS, 1.0)
    first.turn()
    second.turn()
    redis.zadd(KEYS.schedule, {member(-1, "early"): 1.0})
    first.turn()
    second.turn()
    assert waiting(redis, "early") == [], "it is where reserved jobs are"
    key = KEYS.promoting(KEYS.schedule)
    assert redis.hget(key, "front") is not None
    redis.hset(key, "front", "0 1.0")  # as after a second
    first.turn()
    first.turn()
    assert len(waiting(redis, "early")) == 1


def test_a_keeper_that_becomes_quiet_forgets_what_it_was_handed(redis: redis_py.Redis) -> None:
    redis.zadd(KEYS.schedule, {member(n): 1.0 for n in range(3 * BATCH)})
    scheduler = Scheduler(redis, KEYS, 1.0)
    scheduler.turn()
    scheduler.quiet = True
    scheduler.turn()
    assert not any(scheduler._handed.values())
    scheduler.quiet = False
    promote_all(scheduler)
    assert redis.zcard(KEYS.schedule) == 0


def test_a_key_of_another_type_for_the_reservations_stops_nothing(redis: redis_py.Redis) -> None:
    redis.set(KEYS.promoting(KEYS.schedule), "?")
    redis.zadd(KEYS.schedule, {member(n): 1.0 for n in range(2 * BATCH)})
    promote_all(Scheduler(redis, KEYS, 1.0))
    assert len(waiting(redis)) == 2 * BATCH


def test_a_full_server_still_promotes(redis: redis_py.Redis) -> None:
    redis.zadd(KEYS.schedule, {member(n): 1.0 for n in range(2 * BATCH)})
    redis.config_set("maxmemory", "1")
    try:
        promote_all(Scheduler(redis, KEYS, 1.0))
    finally:
        redis.config_set("maxmemory", "0")
    assert len(waiting(redis)) == 2 * BATCH


@pytest.mark.parametrize("raw", [b"not json", b"[1]", b'{"queue":[5],"class":"A","args":[]}'])
def test_a_member_that_is_no_job_goes_to_the_dead_set(redis: redis_py.Redis, raw: bytes) -> None:
    redis.zadd(KEYS.schedule, {raw: 1.0, member(1): 2.0})
    before = time.time()
    Scheduler(redis, KEYS, 1.0).turn()
    kept: Any = redis.zrange(KEYS.dead, 0, -1, withscores=True)
    [(dead, score)] = kept
    if raw == b"not json":
        assert dead == raw, "as it is"
    else:
        assert json.loads(dead)["error_class"] == "jobd.errors.PayloadError"
    assert before - 1 <= score <= time.time()
    assert len(waiting(redis)) == 1
    assert redis.zcard(KEYS.schedule) == 0


@pytest.mark.parametrize("source", [KEYS.schedule, KEYS.retry])
def test_a_job_whose_queue_cannot_take_it_is_set_aside_and_the_others_go_on(
    redis: redis_py.Redis, source: str
) -> None:
    redis.hset(KEYS.queue("stats"), "a", 1)
    redis.zadd(source, {member(1, "stats"): 1.0, member(2): 2.0, member(3, "stats"): 3.0})
    promote_all(Scheduler(redis, KEYS, 1.0))
    assert [json.loads(raw)["args"] for raw in waiting(redis)] == [[2]]
    dead: Any = redis.zrange(KEYS.dead, 0, -1)
    assert sorted(json.loads(raw)["args"] for raw in dead) == [[1], [3]]
    for raw in map(json.loads, dead):
        assert "queue:stats is not a list" in raw["error_message"]
        assert raw["error_class"] == "jobd.keeper.scheduler.NoQueue"
    assert not redis.exists(source)


def test_a_job_that_even_the_dead_set_cannot_take_stays_behind_the_others(
    redis: redis_py.Redis,
) -> None:
    redis.mset({KEYS.queue("stats"): "?", KEYS.dead: "?"})
    jobs = {member(1, "stats"): 1.0, b"no json": 2.0, member(2): 3.0}
    redis.zadd(KEYS.schedule, jobs)
    promote_all(Scheduler(redis, KEYS, 1.0))
    assert [json.loads(raw)["args"] for raw in waiting(redis)] == [[2]]
    left: Any = redis.zrange(KEYS.schedule, 0, -1, withscores=True)
    assert {raw for raw, _ in left} == {member(1, "stats"), b"no json"}
    assert all(at > time.time() for _, at in left)


@pytest.mark.parametrize("broken", [KEYS.schedule, KEYS.retry])
def test_a_set_of_another_type_does_not_stop_the_other_one(
    redis: redis_py.Redis, broken: str, capfd: pytest.CaptureFixture[str]
) -> None:
    [fine] = {KEYS.schedule, KEYS.retry} - {broken}
    redis.set(broken, "?")
    redis.zadd(fine, {member(n): 1.0 for n in range(2 * BATCH)})
    scheduler = Scheduler(redis, KEYS, 1.0)
    promote_all(scheduler)
    assert len(waiting(redis)) == 2 * BATCH
    assert capfd.readouterr().err.count("set_unusable") == 1, "the reason is said once"
    redis.set(fine, "?")
    with pytest.raises(redis_py.ResponseError, match="WRONGTYPE"):
        scheduler.turn()


def test_schedulers_that_race_move_each_job_once(
    server: EmbeddedServer, redis: redis_py.Redis, loops: list[Scheduler]
) -> None:
    jobs = 5000
    redis.zadd(KEYS.schedule, {member(n): 1.0 + n for n in range(jobs)})
    loops += [Scheduler(connect(server.url), KEYS, 1.0) for _ in range(4)]
    for loop in loops:
        loop.start()
    until(lambda: redis.zcard(KEYS.schedule) == 0, "all are promoted")
    numbers = Counter(json.loads(raw)["args"][0] for raw in waiting(redis))
    assert numbers == Counter(range(jobs))


def test_it_wakes_in_time_for_a_job_due_soon(
    server: EmbeddedServer, redis: redis_py.Redis, loops: list[Scheduler]
) -> None:
    due = time.time() + 0.3
    redis.zadd(KEYS.schedule, {member(1): due})
    loops.append(Scheduler(connect(server.url), KEYS, 60.0))
    loops[0].start()
    until(lambda: waiting(redis), "it is promoted")
    assert 0 <= json.loads(waiting(redis)[0])["enqueued_at"] - due < 0.25


def test_a_quiet_one_promotes_nothing_until_it_resumes(
    server: EmbeddedServer, redis: redis_py.Redis, loops: list[Scheduler]
) -> None:
    redis.zadd(KEYS.schedule, {member(1): 1.0})
    loop = Scheduler(connect(server.url), KEYS, 60.0)
    loop.quiet = True
    assert loop.turn() is None
    assert redis.zcard(KEYS.schedule) == 1
    loops.append(loop)
    loop.start()
    loop.quiet = False
    loop.wake()
    until(lambda: waiting(redis), "it is promoted")


def test_a_crash_between_reading_and_moving_loses_nothing(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis.zadd(KEYS.schedule, {member(n): 1.0 for n in range(10)})
    loop = Scheduler(redis, KEYS, 1.0)
    _, due, _ = loop._move(KEYS.schedule, [], time.time(), BATCH)
    # Between the two steps a person deletes one and another keeper takes one.
    redis.zrem(KEYS.schedule, member(3))
    other = Scheduler(redis, KEYS, 1.0)
    other._handed[KEYS.schedule] = [member(4)]
    other._promote(KEYS.schedule, time.time())
    for _ in range(2):
        loop._handed[KEYS.schedule] = list(due)
        loop._promote(KEYS.schedule, time.time())
    numbers = sorted(json.loads(raw)["args"][0] for raw in waiting(redis))
    assert numbers == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_pruning_takes_the_silent_off_the_list_once_a_minute(redis: redis_py.Redis) -> None:
    redis.sadd(KEYS.processes, "host:1:gone", "host:1:here")
    redis.hset(KEYS.process("host:1:here"), "info", "{}")
    assert Prune(redis, KEYS).turn() == 60.0
    assert redis.smembers(KEYS.processes) == {b"host:1:here"}
    redis.sadd(KEYS.processes, "host:1:gone")
    Prune(redis, KEYS).turn()
    assert redis.scard(KEYS.processes) == 2, "somebody has done it within this minute"
    assert 0 < redis.ttl(KEYS.process_cleanup) <= 60


Turn = Callable[[], float | None]


def test_one_turn_serves_threads_that_share_a_client(redis: redis_py.Redis) -> None:
    redis.zadd(KEYS.schedule, {member(n): 1.0 for n in range(400)})
    turns: list[Turn] = [Scheduler(redis, KEYS, 1.0).turn for _ in range(4)]
    threads = [threading.Thread(target=turn) for turn in turns]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(waiting(redis)) + redis.zcard(KEYS.schedule) == 400
