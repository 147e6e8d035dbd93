"""Recovery against a real server: dead owners, expired leases, crashes half way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py

from jobd.api import JobRecord
from jobd.keeper import leases
from jobd.keeper.leases import Leases
from jobd.keeper.recovery import FORGET_AFTER, Death, PoisonPill, Recovery
from jobd.store import scripts
from jobd.store.connection import connect
from jobd.store.inflight import CLOCK_STEP, LEASE, Claimed, InFlight
from jobd.store.pipeline import Wire
from jobd.testing import EmbeddedServer
from tests.support.engine import KEYS, payload, push, until, waiting


class Owner:
    """A worker of which only the traces in Redis exist."""

    def __init__(self, url: str, identity: str, queues: tuple[str, ...] = ("default",)) -> None:
        self.identity = identity
        self.queues = queues
        self.inflight = InFlight(KEYS, identity, queues)
        self._wire = Wire(connect(url))
        self._wire.connect(scripts.OF_A_WORKER)
        self._next = 1
        assert self.say(self.inflight.register()) == 1

    def say(self, call: bytes) -> Any:
        self._wire.send(call)
        return self._wire.read()

    def claim(self, most: int) -> list[Claimed] | None:
        shares = [(queue, most) for queue in self.queues]
        portions = self.say(self.inflight.claim(self._next, most, shares))
        if portions is None:
            return None
        claimed = []
        for position, *payloads in portions:
            for raw in payloads:
                claimed.append(Claimed(self._next, self.queues[position - 1], raw))
                self._next += 1
        return claimed

    def wait(self, queue: str) -> bytes | None:
        found: bytes | None = self.say(self.inflight.wait(queue, 0.01))
        return found

    def close(self) -> None:
        self._wire.close()


@pytest.fixture
def owner(server: EmbeddedServer, redis: redis_py.Redis) -> Any:
    made: list[Owner] = []

    def make(identity: str = "host:1:dead", queues: tuple[str, ...] = ("default",)) -> Owner:
        made.append(Owner(server.url, identity, queues))
        return made[-1]

    yield make
    for one in made:
        one.close()


MakeOwner = Callable[..., Owner]


class Told:
    def __init__(self, client: redis_py.Redis) -> None:
        self.recovered: list[tuple[str, int]] = []
        self.leases = Leases(client, KEYS)
        self.loop = Recovery(client, KEYS, self.leases, lambda *what: self.recovered.append(what))

    def die(self, identity: str = "host:1:dead", *running: int, cause: str = "signal 9") -> None:
        self.loop.recover(Death(identity, frozenset(running), cause))


@pytest.fixture
def told(redis: redis_py.Redis) -> Told:
    return Told(redis)


def expire(client: redis_py.Redis, identity: str = "host:1:dead") -> None:
    client.zadd(KEYS.owners, {identity: int(time.time()) - 1})


def notes(*numbers: int) -> list[bytes]:
    return [payload("Note", n) for n in numbers]


def test_jobs_of_a_dead_worker_are_back_at_the_head_in_order(
    redis: redis_py.Redis, owner: MakeOwner, told: Told
) -> None:
    dead = owner(queues=("a", "b"))
    push(redis, "a", *notes(*range(450)))
    push(redis, "b", *notes(*range(1000, 1010)))
    assert len(dead.claim(455) or ()) == 455
    push(redis, "a", *notes(9999))
    redis.delete(KEYS.queues)
    told.loop.start()
    began = time.monotonic()
    told.die()
    until(lambda: told.recovered == [("host:1:dead", 455)], "they are recovered")
    assert time.monotonic() - began < 1.0
    assert waiting(redis, "a") == notes(*range(450), 9999)
    assert waiting(redis, "b") == notes(*range(1000, 1010))
    assert redis.smembers(KEYS.queues) == {b"a", b"b"}
    assert not redis.exists(KEYS.inflight(dead.identity))
    # No execution ended: nothing is counted.
    assert not redis.exists(KEYS.processed)
    assert dead.claim(1) is None
    assert told.loop.stop(10)


@pytest.mark.parametrize("running", [(), tuple(range(1, 21))])
def test_large_jobs_come_back_in_their_order_some_megabytes_at_a_time(
    redis: redis_py.Redis,
    owner: MakeOwner,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
    running: tuple[int, ...],
) -> None:
    dead = owner()
    raws = [payload("Note", n, text="x" * 1_000_000) for n in range(20)]
    push(redis, "default", *raws)
    taken = 0
    while taken < 20:
        taken += len(dead.claim(20) or ())
    real, sent = scripts.RECOVER, []

    def counted(client: redis_py.Redis, keys: Any, arguments: Any) -> Any:
        before = redis.llen("queue:default")
        answer = real(client, keys, arguments)
        sent.append((redis.llen("queue:default") - before, sum(len(str(one)) for one in arguments)))
        return answer

    monkeypatch.setattr(scripts, "RECOVER", counted)
    told.die("host:1:dead", *running)
    told.loop.turn()
    assert told.loop.pending == 0
    assert len(sent) >= 4
    assert max(moved for moved, _ in sent) <= 6
    assert max(size for _, size in sent) < 6_000_000
    assert [json.loads(raw)["args"][0] for raw in waiting(redis)] == list(range(20))


def test_jobs_that_had_started_are_marked_and_all_others_are_untouched(
    redis: redis_py.Redis, owner: MakeOwner, told: Told
) -> None:
    dead = owner()
    raws = notes(1, 2, 3)
    push(redis, "default", *raws)
    dead.claim(3)
    told.die("host:1:dead", 2, cause="killed by signal 9 (SIGKILL)")
    told.loop.turn()
    first, second, third = waiting(redis)
    assert (first, third) == (raws[0], raws[2])
    assert json.loads(second) == {
        **json.loads(raws[1]),
        "crashes": 1,
        "recovered_from": {"owner": "host:1:dead", "cause": "killed by signal 9 (SIGKILL)"},
    }


def test_the_third_crash_is_a_poison_pill(
    redis: redis_py.Redis, owner: MakeOwner, told: Told
) -> None:
    push(redis, "default", payload("Note", "pill", crashes="many"))
    for crash in (1, 2, 3):
        dead = owner(f"host:{crash}:dead")
        assert len(dead.claim(1) or ()) == 1
        told.die(dead.identity, 1, cause=f"cause {crash}")
        told.loop.turn()
    assert waiting(redis) == []
    members: Any = redis.zrange(KEYS.dead, 0, -1)
    assert len(members) == 1
    kept = json.loads(members[0])
    assert kept["crashes"] == 3
    assert kept["error_class"] == f"{PoisonPill.__module__}.PoisonPill"
    assert "cause 3" in kept["error_message"]
    assert kept["recovered_from"] == {"owner": "host:3:dead", "cause": "cause 3"}
    assert kept["queue"] == "default"
    assert kept["args"] == ["pill"]


def test_only_the_last_death_leaves_its_stack(
    redis: redis_py.Redis, owner: MakeOwner, told: Told
) -> None:
    push(redis, "default", payload("Note", "pill"))
    for crash in (1, 2, 3):
        dead = owner(f"host:{crash}:dead")
        dead.claim(1)
        stacks = {1: f"stack {crash}\n  line", 2: "of another job"}
        told.loop.recover(Death(dead.identity, frozenset([1]), "signal 11", stacks))
        told.loop.turn()
        if crash < 3:
            assert b"stack" not in waiting(redis)[0]
    members: Any = redis.zrange(KEYS.dead, 0, -1)
    record = JobRecord(members[0])
    assert record.error_backtrace == ["stack 3", "  line"]
    assert "on host host (host:3:dead): signal 11" in record.error_message


def test_the_backtrace_of_an_earlier_failure_is_not_taken_for_the_last_stack(
    redis: redis_py.Redis, owner: MakeOwner, told: Told
) -> None:
    push(redis, "default", payload("Note", "pill", crashes=2, error_backtrace="eJyLjgUAARUAuQ=="))
    owner().claim(1)
    told.die("host:1:dead", 1)
    told.loop.turn()
    members: Any = redis.zrange(KEYS.dead, 0, -1)
    assert "error_backtrace" not in json.loads(members[0])


@pytest.mark.parametrize("extra", [b"1e999", b'"\xff"'])
def test_a_pill_that_cannot_be_read_does_not_hold_up_the_others(
    redis: redis_py.Redis, owner: MakeOwner, told: Told, extra: bytes
) -> None:
    raw = b'{"class":"A","args":[],"crashes":2,"extra":' + extra + b"}"
    push(redis, "default", raw, b"no json")
    dead = owner()
    dead.claim(2)
    told.die("host:1:dead", 1, 2)
    told.loop.turn()
    assert waiting(redis) == [raw, b"no json"]
    assert told.recovered == [("host:1:dead", 2)]


def test_one_death_that_cannot_be_dealt_with_does_not_hold_up_the_others(
    redis: redis_py.Redis, owner: MakeOwner, told: Told
) -> None:
    broken, fine = owner("host:1:broken", ("broken",)), owner("host:1:fine", ("fine",))
    push(redis, "broken", *notes(1))
    push(redis, "fine", *notes(2))
    broken.claim(1)
    fine.claim(1)
    redis.set(KEYS.queue("broken"), "no list")
    redis.set(KEYS.schedule, "no set")
    told.die("host:1:broken")
    told.die("host:1:fine")
    with pytest.raises(redis_py.ResponseError, match="stay in flight"):
        told.loop.turn()
    assert told.recovered == [("host:1:fine", 1)]
    redis.delete(KEYS.queue("broken"))
    told.loop.turn()
    assert told.recovered[1:] == [("host:1:broken", 1)]
    assert told.loop.pending == 0
    assert waiting(redis, "broken") == notes(1), "nothing was lost half way"


def test_a_list_of_processes_that_is_none_keeps_no_recovery_from_being_over(
    redis: redis_py.Redis, owner: MakeOwner, told: Told
) -> None:
    """The jobs are back: that a dashboard may still show the dead is no reason to begin again."""
    push(redis, "default", *notes(*range(3)))
    owner().claim(3)
    redis.set(KEYS.processes, "hello")
    told.die()
    with pytest.raises(redis_py.ResponseError):
        told.loop.turn()
    assert (told.recovered, told.loop.pending) == ([("host:1:dead", 3)], 0)
    assert waiting(redis) == notes(*range(3))


def test_an_expired_lease_that_cannot_be_dealt_with_does_not_hold_up_the_others(
    redis: redis_py.Redis, owner: MakeOwner, told: Told
) -> None:
    for name in ("a-broken", "b-fine"):
        one = owner(f"host:1:{name}", (name,))
        push(redis, name, *notes(1))
        one.claim(1)
        expire(redis, one.identity)
    redis.set(KEYS.queue("a-broken"), "no list")
    redis.set(KEYS.schedule, "no set")
    with pytest.raises(redis_py.ResponseError, match="stay in flight"):
        told.loop.turn()
    assert waiting(redis, "b-fine") == notes(1)


def test_a_job_whose_queue_cannot_take_it_goes_to_the_schedule(
    redis: redis_py.Redis, owner: MakeOwner, told: Told
) -> None:
    """There the scheduler finds out, and sets it aside with the reason."""
    dead = owner(queues=("broken", "fine"))
    push(redis, "broken", *notes(1))
    push(redis, "fine", *notes(2))
    assert len(dead.claim(2) or ()) == 2
    redis.lpush(KEYS.claim(dead.identity, "broken"), *notes(3))
    redis.set(KEYS.queue("broken"), "no list")
    told.die()
    told.loop.turn()
    assert told.recovered == [(dead.identity, 3)]
    assert redis.zrange(KEYS.schedule, 0, -1) == notes(1, 3)
    assert waiting(redis, "fine") == notes(2)
    assert not redis.exists(KEYS.inflight(dead.identity), KEYS.claim(dead.identity, "broken"))


@pytest.mark.parametrize("tag", [b"7", b"x:default", b"", b"7:\xff", b":default", b"-1:default"])
@pytest.mark.parametrize("raw", [payload("Note", "odd"), b"no json"])
def test_a_field_that_no_worker_wrote_is_set_aside_with_the_reason(
    redis: redis_py.Redis, owner: MakeOwner, told: Told, tag: bytes, raw: bytes
) -> None:
    odd, fine = owner("host:1:odd", ("odd",)), owner("host:1:fine", ("fine",))
    for one in (odd, fine):
        push(redis, one.queues[0], *notes(1))
        one.claim(1)
        expire(redis, one.identity)
    redis.hset(KEYS.inflight(odd.identity), tag, raw)
    told.loop.turn()
    assert waiting(redis, "odd") == waiting(redis, "fine") == notes(1)
    assert not redis.exists(KEYS.inflight(odd.identity))
    found: Any = redis.zrange(KEYS.dead, 0, -1)
    [dead] = found
    if raw == b"no json":
        assert dead == raw
    else:
        assert "host:1:odd" in JobRecord(dead).error_message
        assert JobRecord(dead).args == ["odd"]


def test_what_is_delivered_after_the_condemnation_is_returned_and_only_then_forgotten(
    redis: redis_py.Redis, owner: MakeOwner, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = owner()
    told.die()
    told.loop.turn()
    score = redis.zscore(KEYS.owners, dead.identity)
    assert score is not None
    assert score < 0, "condemned"
    raw = payload("Note", "late")
    push(redis, "default", raw, payload("Note", "behind"))
    assert dead.wait("default") == raw
    assert dead.say(dead.inflight.file(1, "default")) is None
    assert dead.say(dead.inflight.register()) == 0
    told.loop._look_at = 0
    told.loop.turn()
    assert waiting(redis) == [raw, payload("Note", "behind")]
    assert redis.zscore(KEYS.owners, dead.identity) == score
    # Time passes.
    redis.zadd(KEYS.owners, {dead.identity: score + FORGET_AFTER})
    told.loop._look_at = 0
    told.loop.turn()
    assert redis.zscore(KEYS.owners, dead.identity) is None
    assert not redis.exists(KEYS.waits(dead.identity))
    assert not [key for key in redis.scan_iter() if b"host:1:dead" in key]


def test_an_owner_is_forgotten_no_sooner_than_the_server_may_still_deliver() -> None:
    from jobd.worker.fetch.blocking import BLOCK

    # Server time has whole seconds here: one is lost to rounding at worst.
    assert FORGET_AFTER - 1.0 >= BLOCK


def test_expired_leases_are_recovered_and_living_ones_are_not(
    redis: redis_py.Redis, owner: MakeOwner, told: Told
) -> None:
    gone, alive = owner("host:1:gone"), owner("host:2:alive")
    push(redis, "default", *notes(1, 2))
    gone.claim(1)
    alive.claim(1)
    told.loop.turn()
    assert waiting(redis) == []
    expire(redis, gone.identity)
    told.loop._look_at = 0
    told.loop.turn()
    assert waiting(redis) == notes(1), "its bytes unmarked: nobody knows what had started"
    assert redis.hlen(KEYS.inflight(alive.identity)) == 1
    assert gone.claim(1) is None
    assert alive.claim(1) is not None


def test_a_lease_renewed_at_the_last_moment_is_not_recovered(
    redis: redis_py.Redis, owner: MakeOwner, told: Told
) -> None:
    one = owner()
    push(redis, "default", *notes(1))
    one.claim(1)
    expire(redis)
    [identity] = told.leases.renew()
    told.leases.vouch_for([one.identity])
    told.leases.renew()
    assert told.loop._return_jobs(Death(identity, frozenset(), ""), "expired") == 0
    assert redis.hlen(KEYS.inflight(one.identity)) == 1
    assert one.claim(1) == []


def outage(client: redis_py.Redis, seconds: float) -> None:
    """Nobody has heard of the server for so long, or its clock has been set forward."""
    client.hincrbyfloat(KEYS.clock, "seen", -seconds)


@pytest.mark.parametrize("seconds", [61.0, 1e6, -1e6])
def test_time_in_which_nobody_could_reach_the_server_ends_no_lease(
    redis: redis_py.Redis, owner: MakeOwner, told: Told, seconds: float
) -> None:
    one = owner()
    push(redis, "default", *notes(1))
    one.claim(1)
    for _ in range(3):
        outage(redis, seconds)
        told.loop._look_at = 0
        told.loop.turn()
    assert waiting(redis) == []
    assert one.claim(1) == []


def test_time_in_which_a_keeper_could_reach_the_server_ends_the_leases_of_the_silent(
    redis: redis_py.Redis, owner: MakeOwner, told: Told
) -> None:
    silent, alive = owner("host:1:silent"), owner("host:2:alive")
    push(redis, "default", *notes(1, 2))
    silent.claim(1)
    alive.claim(1)
    told.leases.vouch_for([alive.identity])
    for _ in range(int(LEASE / CLOCK_STEP) + 1):
        outage(redis, CLOCK_STEP)
        told.loop._look_at = 0
        told.loop.turn()
    assert waiting(redis) == notes(1)
    assert alive.claim(0) == []


@pytest.mark.parametrize("broken", [{}, {"seen": "never"}, {"reachable": ""}])
def test_a_clock_that_is_lost_ends_no_lease(
    redis: redis_py.Redis, owner: MakeOwner, told: Told, broken: Any
) -> None:
    """Say, by a failover to a server that had not heard of it; outages may have held it back. Or
    somebody has written into it."""
    one = owner()
    push(redis, "default", *notes(1))
    one.claim(1)
    redis.zincrby(KEYS.owners, -1e6, one.identity)
    if broken:
        redis.hset(KEYS.clock, mapping=broken)
    else:
        redis.delete(KEYS.clock)
    told.loop.turn()
    assert waiting(redis) == []
    assert float(redis.hget(KEYS.clock, "reachable") or 0) > 0
    assert one.claim(1) == []


def test_a_keeper_never_takes_jobs_from_whom_its_master_vouches_for(
    redis: redis_py.Redis, owner: MakeOwner, told: Told
) -> None:
    one = owner()
    push(redis, "default", *notes(1))
    one.claim(1)
    expire(redis)
    told.leases.vouch_for([one.identity])
    told.loop.turn()
    assert waiting(redis) == []
    assert one.claim(1) == []


def test_the_keeper_does_not_renew_what_has_been_recovered(
    redis: redis_py.Redis, owner: MakeOwner, told: Told
) -> None:
    one = owner()
    told.die()
    told.loop.turn()
    told.leases.vouch_for([one.identity, "host:9:never"])
    told.leases.renew()
    assert one.claim(1) is None
    assert redis.zscore(KEYS.owners, "host:9:never") is None


def test_recoveries_that_race_return_each_job_once(
    redis: redis_py.Redis, owner: MakeOwner, server: EmbeddedServer
) -> None:
    dead = owner()
    push(redis, "default", *notes(*range(1500)))
    dead.claim(1500)
    racers = [Told(connect(server.url)) for _ in range(3)]
    start = threading.Barrier(len(racers))

    def race(one: Told) -> None:
        one.die("host:1:dead", 1, 2)
        start.wait(10)
        one.loop.turn()

    threads = [threading.Thread(target=race, args=(one,)) for one in racers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sum(jobs for one in racers for _, jobs in one.recovered) == 1500
    back = [json.loads(raw) for raw in waiting(redis)]
    assert sorted(entry["args"][0] for entry in back) == list(range(1500))
    assert [entry.get("crashes") for entry in back if "crashes" in entry] == [1, 1]


class Cut(Exception):
    pass


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("done", [True, False], ids=["answer lost", "call lost"])
def test_a_recovery_that_is_interrupted_and_repeated(
    redis: redis_py.Redis,
    owner: MakeOwner,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
    done: bool,
) -> None:
    dead = owner()
    push(redis, "default", *notes(*range(500)))
    dead.claim(500)
    real, calls = scripts.RECOVER, iter(range(1, 100))

    def breaks(*arguments: Any) -> Any:
        if next(calls) != after:
            return real(*arguments)
        if done:
            real(*arguments)
        raise redis_py.ConnectionError("cut")

    monkeypatch.setattr(scripts, "RECOVER", breaks)
    told.die("host:1:dead", 7)
    with pytest.raises(redis_py.ConnectionError):
        told.loop.turn()
    assert told.loop.pending == 1
    told.loop.turn()
    assert told.loop.pending == 0
    back = [json.loads(raw) for raw in waiting(redis)]
    assert [entry["args"][0] for entry in back] == list(range(500))
    assert [entry["args"][0] for entry in back if entry.get("crashes") == 1] == [6]


def test_a_worker_that_left_in_good_order_needs_no_recovery(
    redis: redis_py.Redis, owner: MakeOwner, told: Told
) -> None:
    one = owner()
    assert one.say(one.inflight.release()) == 1
    told.die()
    told.loop.turn()
    assert told.recovered == [("host:1:dead", 0)]
    assert redis.zcard(KEYS.owners) == 0, "it is not entered again to be condemned"


def test_a_worker_that_leaves_something_stays_listed(
    redis: redis_py.Redis, owner: MakeOwner
) -> None:
    one = owner()
    push(redis, "default", *notes(1))
    one.wait("default")
    assert one.say(one.inflight.release()) == 0
    assert redis.zscore(KEYS.owners, one.identity)


def test_jobs_of_an_owner_that_nobody_knows_are_recovered_too(
    redis: redis_py.Redis, told: Told
) -> None:
    redis.hset(KEYS.inflight("host:1:dead"), "1:low:er", payload("Note", 1))
    told.die()
    told.loop.turn()
    assert waiting(redis, "low:er") == notes(1)


def test_full_memory_does_not_keep_jobs_from_coming_back(
    redis: redis_py.Redis, owner: MakeOwner, told: Told
) -> None:
    dead = owner()
    push(redis, "default", *notes(1, 2))
    dead.claim(2)
    redis.config_set("maxmemory", "1")
    try:
        told.die("host:1:dead", 1)
        told.loop.turn()
        assert len(waiting(redis)) == 2
    finally:
        redis.config_set("maxmemory", "0")


def test_leases_are_renewed_once_by_a_look_and_by_the_loop_only_without_one(
    redis: redis_py.Redis, owner: MakeOwner, told: Told
) -> None:
    one = owner()
    told.leases.vouch_for([one.identity])
    expire(redis)
    told.loop.turn()
    assert one.claim(0) == []
    redis.config_resetstat()
    assert told.leases.turn() > 0
    assert "cmdstat_evalsha" not in redis.info("commandstats")
    told.leases._renewed -= leases.INTERVAL
    expire(redis)
    expired = redis.zscore(KEYS.owners, one.identity)
    assert told.leases.turn() > 0
    assert redis.zscore(KEYS.owners, one.identity) != expired
