"""The heartbeat against a real server: what dashboards see, remote signals, the lease."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import redis as redis_py

from jobd.store import scripts
from jobd.store.connection import connect
from jobd.store.inflight import LEASE
from jobd.testing import EmbeddedServer
from jobd.version import VERSION
from jobd.worker import heartbeat
from jobd.worker.heartbeat import BEAT, TTL, Heartbeat
from tests.support.engine import (
    KEYS,
    Engine,
    blocked,
    engine,
    gate,
    gates,
    held,
    kill_connections,
    payload,
    processed,
    push,
    ran,
    until,
)

ME = "host:1:engine"


class Beating:
    def __init__(self, one: Engine, client: redis_py.Redis) -> None:
        self.signals: list[str] = []
        self.lost, self.seen = threading.Event(), threading.Event()
        self.loop = Heartbeat(
            client,
            KEYS,
            ME,
            one.config,
            one.pool.working,
            one.metrics,
            lambda: 0.25,
            lambda: 0,
            self.signals.append,
            lambda _sequences: True,
            self.lost.set,
            self.seen.set,
        )


@pytest.fixture(autouse=True)
def clean() -> None:
    gates.clear()
    held.clear()
    ran.clear()


@pytest.fixture
def still(server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[Beating]:
    """The heartbeat of a worker that does nothing else."""
    one = Engine(
        server.url,
        threads=7,
        queues=[("high", 3), ("low", 0)],
        tag="shop",
        labels=("a", "b"),
    )
    with connect(server.url) as client:
        yield Beating(one, client)
    one.release()


def fields(client: redis_py.Redis) -> dict[str, str]:
    found: Any = client.hgetall(KEYS.process(ME))
    return {name.decode(): value.decode() for name, value in found.items()}


def test_the_process_hash_holds_what_old_and_new_dashboards_read(
    redis: redis_py.Redis, still: Beating
) -> None:
    before = time.time()
    assert still.loop.turn() == BEAT == 10.0
    assert redis.smembers(KEYS.processes) == {ME.encode()}
    found = fields(redis)
    info = json.loads(found.pop("info"))
    beat, rtt, rss = float(found.pop("beat")), int(found.pop("rtt_us")), int(found.pop("rss"))
    of_loop = {"coroutines": "0", "loop_lag_us": "250000"}
    assert found == {"concurrency": "7", "busy": "0", "quiet": "false", **of_loop}
    assert before <= beat <= time.time()
    assert 0 < rtt < 10_000_000
    assert rss == pytest.approx(psutil.Process().memory_info().rss / 1024, rel=0.3)
    started = info.pop("started_at")
    assert type(started) is float
    assert started <= time.time()
    weights = {"high": 3, "low": 1}
    assert info == {
        "hostname": os.environ.get("DYNO") or socket.gethostname(),
        "pid": os.getpid(),
        "tag": "shop",
        "concurrency": 7,
        "queues": ["high", "low"],
        "weights": [weights],
        "labels": ["a", "b"],
        "identity": ME,
        "version": f"jobd {VERSION}",
        "implementation": "jobd",
        "embedded": False,
        "capsules": {"default": {"concurrency": 7, "mode": "weighted", "weights": weights}},
    }
    assert 0 < redis.ttl(KEYS.process(ME)) <= TTL == 60


def test_every_beat_renews_the_ttl_and_the_quiet_flag(
    redis: redis_py.Redis, still: Beating
) -> None:
    still.loop.turn()
    redis.expire(KEYS.process(ME), 5)
    still.loop.quiet = True
    still.loop.turn()
    assert fields(redis)["quiet"] == "true"
    assert redis.ttl(KEYS.process(ME)) > 50


def test_strict_queues_have_no_weights(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    one = Engine(server.url, queues=[("a", 0), ("b", 0)])
    Beating(one, redis).loop.turn()
    info = json.loads(fields(redis)["info"])
    assert info["capsules"]["default"]["mode"] == "strict"
    assert info["weights"] == [{"a": 0, "b": 0}]
    one.release()


def test_running_jobs_are_listed_for_old_and_new_dashboards(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    opened = gate("seen")
    raw = payload("Hold", "seen", note="é")
    with engine(server.url) as one, connect(server.url) as client:
        beating = Beating(one, client)
        push(redis, "default", raw)
        until(lambda: held, "it runs")
        beating.loop.turn()
        for key in (KEYS.work(ME), KEYS.workers(ME)):
            assert 0 < redis.ttl(key) <= TTL
            [(thread, entry)] = redis.hgetall(key).items()
            assert thread
            work = json.loads(entry)
            run_at = work.pop("run_at")
            assert type(run_at) is int
            assert abs(run_at - time.time()) < 5
            assert work == {"queue": "default", "payload": raw.decode()}
        assert fields(redis)["busy"] == "1"
        opened.set()
        until(lambda: processed(redis) == 1, "it ended")
        until(lambda: not one.pool.working(), "its thread is free")
        beating.loop.turn()
        assert not redis.exists(KEYS.work(ME), KEYS.workers(ME))
        assert fields(redis)["busy"] == "0"


def received(client: redis_py.Redis) -> int:
    """Bytes that the server has been sent."""
    found: Any = client.info("stats")
    return int(found["total_net_input_bytes"])


def test_a_running_job_is_sent_once(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    opened = gate("once")
    raws = [payload("Hold", "once", note="n" * 700_000, jid=f"j{n}") for n in range(3)]
    keys = (KEYS.work(ME), KEYS.workers(ME))

    def listed() -> list[list[bytes]]:
        found: Any = [redis.hvals(key) for key in keys]
        return [sorted(one) for one in found]

    with engine(server.url, threads=3) as one, connect(server.url) as client:
        beating = Beating(one, client)
        push(redis, "default", *raws)
        until(lambda: len(held) == 3, "they run")
        before = received(redis)
        beating.loop.turn()
        assert 2_100_000 < received(redis) - before < 2_300_000
        entries = listed()
        assert [len(one) for one in entries] == [3, 3]
        assert {json.loads(entry)["payload"] for entry in entries[0]} == set(
            map(bytes.decode, raws)
        )
        assert entries[0] == entries[1]
        redis.expire(keys[0], 5)
        before = received(redis)
        beating.loop.turn()
        assert received(redis) - before < 100_000
        assert redis.ttl(keys[0]) > 50
        # What has been lost is sent again: the server was emptied, or somebody has removed a part.
        redis.delete(keys[1])
        beating.loop.turn()
        assert listed() == entries
        redis.hdel(keys[0], next(iter(redis.hkeys(keys[0]))))
        beating.loop.turn()
        assert listed() == entries
        opened.set()
        until(lambda: processed(redis) == 3 and not one.pool.working(), "they ended")
        beating.loop.turn()
        assert not redis.exists(*keys)


def test_the_next_job_of_a_thread_takes_the_place_of_the_one_before(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    first, second = gate("first"), gate("second")
    with engine(server.url, threads=1) as one, connect(server.url) as client:
        beating = Beating(one, client)
        for name in ("first", "second"):
            push(redis, "default", payload("Hold", name))
            until(lambda name=name: name in held, "it runs")  # type: ignore[misc]
            beating.loop.turn()
            [entry] = redis.hvals(KEYS.work(ME))
            assert json.loads(json.loads(entry)["payload"])["args"] == [name]
            first.set()
        second.set()
        until(lambda: not one.pool.working(), "it ended")
    assert processed(redis) == 2


def test_lists_of_another_type_are_replaced(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    opened = gate("typed")
    with engine(server.url, threads=1) as one, connect(server.url) as client:
        beating = Beating(one, client)
        push(redis, "default", payload("Hold", "typed"))
        until(lambda: held, "it runs")
        beating.loop.turn()
        redis.delete(KEYS.work(ME))
        redis.set(KEYS.work(ME), "of another program")
        with pytest.raises(redis_py.ResponseError, match="WRONGTYPE"):
            beating.loop.turn()
        beating.loop.turn()
        assert redis.hlen(KEYS.work(ME)) == redis.hlen(KEYS.workers(ME)) == 1
        opened.set()


def test_one_remote_signal_a_beat_oldest_first(redis: redis_py.Redis, still: Beating) -> None:
    for name in ("TSTP", "TTIN", "TERM"):
        redis.lpush(KEYS.signals(ME), name)
    for expected in (["TSTP"], ["TSTP", "TTIN"], ["TSTP", "TTIN", "TERM"]):
        still.loop.turn()
        assert still.signals == expected
    still.loop.turn()
    assert len(still.signals) == 3


def test_stacks_are_shown_for_some_minutes(redis: redis_py.Redis, still: Beating) -> None:
    still.loop.turn()
    assert not redis.exists(KEYS.stacks(ME)), "only when somebody asks"
    before = time.time()
    still.loop.show_stacks("first")
    still.loop.show_stacks("job \ud800 " + "x" * heartbeat.MOST_STACKS)
    still.loop.turn()
    told: Any = redis.hgetall(KEYS.stacks(ME))
    assert before <= float(told[b"at"]) <= time.time()
    assert told[b"text"].startswith(b"job \\ud800 xx")
    assert told[b"text"].endswith("x\n… the rest is in the log\n".encode())
    assert 290 < redis.ttl(KEYS.stacks(ME)) <= heartbeat.STACKS_TTL
    redis.delete(KEYS.stacks(ME))
    still.loop.turn()
    assert not redis.exists(KEYS.stacks(ME)), "once"


def test_stacks_wait_for_redis(
    redis: redis_py.Redis, still: Beating, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise redis_py.ConnectionError("away")

    still.loop.turn()
    redis.set(KEYS.stacks(ME), "of another type")
    still.loop.show_stacks("text")
    with monkeypatch.context() as patch:
        patch.setattr(redis_py.Redis, "evalsha", away)
        with pytest.raises(redis_py.ConnectionError):
            still.loop._write_stacks()
    still.loop.turn()
    assert redis.hget(KEYS.stacks(ME), "text") == b"text"


def test_every_other_beat_renews_the_lease(redis: redis_py.Redis, still: Beating) -> None:
    now = time.time()
    soon = now + 5
    redis.hset(KEYS.clock, mapping={"reachable": now, "seen": now})
    redis.zadd(KEYS.owners, {ME: soon})
    still.loop.turn()
    assert redis.zscore(KEYS.owners, ME) > soon + 30  # type: ignore[operator]
    redis.zadd(KEYS.owners, {ME: soon})
    still.loop.turn()
    assert redis.zscore(KEYS.owners, ME) == pytest.approx(soon)
    assert heartbeat.BEAT < heartbeat.RENEW < 2 * heartbeat.BEAT


def test_it_renews_the_lease_and_says_when_there_is_none(
    redis: redis_py.Redis, still: Beating, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "RENEW", 0.0)
    still.loop.turn()
    assert still.seen.is_set()
    assert not still.lost.is_set(), "before the first beat it may not have registered yet"
    still.loop.turn()
    assert still.lost.is_set()
    assert redis.zscore(KEYS.owners, ME) is None, "only the worker itself may register"
    still.lost.clear()
    now = time.time()
    redis.hset(KEYS.clock, mapping={"reachable": now, "seen": now})
    redis.zadd(KEYS.owners, {ME: now + 5})
    still.loop.turn()
    assert not still.lost.is_set()
    assert redis.zscore(KEYS.owners, ME) > now + LEASE - 5  # type: ignore[operator]
    redis.zadd(KEYS.owners, {ME: -time.time()})
    still.loop.turn()
    assert still.lost.is_set()


def test_a_busy_worker_learns_by_its_heartbeat_that_its_lease_is_gone(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    gate("busy")
    with engine(server.url, threads=1) as one, connect(server.url) as client:
        beating = Beating(one, client)
        beating.loop._on_lease_lost = one.fetcher.doubt_lease
        loop = beating.loop
        push(redis, "default", payload("Hold", "busy"))
        until(lambda: held, "it runs")
        loop.turn()
        redis.zrem(KEYS.owners, ME)
        loop._renew_at = 0.0  # twenty seconds later
        loop.turn()
        until(lambda: redis.zscore(KEYS.owners, ME), "it has registered again")
        assert one.fetcher.holding == 1, "nobody took its job: it is still its own"
        gates["busy"].set()
        until(lambda: processed(redis) == 1, "its acknowledgement counts")


def test_a_beat_before_the_first_registration_is_no_loss(
    server: EmbeddedServer, redis: redis_py.Redis, capfd: pytest.CaptureFixture[str]
) -> None:
    one = Engine(server.url)
    one.fetcher.doubt_lease()
    one.start()
    until(lambda: blocked(redis) == 1, "it waits")
    one.close()
    assert "lease_lost" not in capfd.readouterr().err


def test_leaving_takes_it_off_the_list_and_leaves_the_hash_to_its_ttl(
    redis: redis_py.Redis, still: Beating
) -> None:
    still.loop.turn()
    redis.hset(KEYS.work(ME), "t", "{}")
    redis.hset(KEYS.workers(ME), "t", "{}")
    still.loop.leave()
    assert not redis.exists(KEYS.processes, KEYS.work(ME), KEYS.workers(ME))
    assert redis.ttl(KEYS.process(ME)) > 0


def test_it_survives_an_outage_and_lists_the_worker_again(
    server: EmbeddedServer, redis: redis_py.Redis, still: Beating
) -> None:
    still.loop.start()
    until(lambda: redis.exists(KEYS.processes), "the first beat")
    redis.flushall()
    redis.script_flush()
    kill_connections(redis)
    still.loop.wake()
    until(lambda: redis.exists(KEYS.processes), "it is listed again")
    assert still.loop.stop(10)


def test_five_slow_round_trips_are_worth_one_warning(
    still: Beating, capfd: pytest.CaptureFixture[str]
) -> None:
    for seconds in (0.06, 0.06, 0.06, 0.06, 0.01, 0.06, 0.06, 0.06, 0.06):
        still.loop._warn_if_slow(seconds)
    assert "redis_slow" not in capfd.readouterr().err
    for _ in range(10):
        still.loop._warn_if_slow(0.06)
    assert capfd.readouterr().err.count("redis_slow") == 1


def test_the_renewal_of_two_does_not_hide_the_loss_of_one(redis: redis_py.Redis) -> None:
    redis.zadd(KEYS.owners, {"a": time.time() + 9})
    keys = [KEYS.owners, KEYS.clock]
    assert scripts.RENEW(redis, keys, [LEASE, 0, "a", "b"]) == [[b"b"], []]
