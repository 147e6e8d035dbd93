"""Workers of many queues, which watch them over one connection."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis as redis_py

from jobd.testing import EmbeddedServer
from jobd.worker.fetch import fetcher as fetcher_module
from jobd.worker.fetch.tracking import Watch
from tests.integration.test_fetcher import watch_bugs
from tests.support.engine import (
    KEYS,
    Engine,
    blocked,
    connections,
    engine,
    gate,
    gates,
    held,
    kill_connections,
    payload,
    processed,
    push,
    ran,
    settled,
    until,
)

MANY = [(f"q{n}", 0) for n in range(200)]
A_DOZEN = 12


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    ran.clear()
    held.clear()
    gates.clear()
    yield
    for one in gates.values():
        one.set()


def watching(*engines: Engine) -> bool:
    """Whether all of them know that all queues are empty."""
    watches = [one.fetcher._waits._way for one in engines]
    return all(
        isinstance(watch, Watch)
        and watch.armed
        and not (watch._found or watch._asked or watch._unknown - watch._paused)
        for watch in watches
    )


def spoken(client: redis_py.Redis) -> int:
    """Commands that clients have sent (also those of scripts, but not our own question)."""
    stats: Any = client.info("commandstats")
    ours = ("cmdstat_info", "cmdstat_config|resetstat", "cmdstat_sadd", "cmdstat_lpush")
    inside = (
        *("cmdstat_rpop", "cmdstat_hset", "cmdstat_hdel", "cmdstat_zscore", "cmdstat_smembers"),
        *("cmdstat_incrby", "cmdstat_expire", "cmdstat_get"),
    )
    return sum(entry["calls"] for name, entry in stats.items() if name not in ours + inside)


def test_up_to_sixteen_queues_are_waited_on_and_more_are_watched(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    with engine(server.url, queues=MANY[:16]) as one:
        until(lambda: blocked(redis) == 16, "it waits on each")
    until(lambda: blocked(redis) == 0, "the server has seen it leave")
    before = connections(redis)
    with engine(server.url, queues=MANY[:17]) as one:
        until(lambda: watching(one), "it watches them")
        assert blocked(redis) == 0
        assert len(connections(redis) - before) == 2


@pytest.mark.parametrize("mode", [0, 1], ids=["strict", "random"])
def test_a_push_to_any_of_200_queues_is_noticed(
    server: EmbeddedServer, redis: redis_py.Redis, mode: int
) -> None:
    queues = [(name, mode) for name, _ in MANY]
    with engine(server.url, queues=queues, threads=1) as one:
        until(lambda: watching(one), "it watches them")
        redis.config_resetstat()
        for number in range(0, 200, 9):
            push(redis, f"q{number}", payload("Note", number))
            until(lambda: ran and ran[-1] == number, "the job runs", 4.0)  # noqa: B023
            until(lambda: watching(one), "it watches them again")
        assert spoken(redis) <= A_DOZEN * len(ran)
        assert settled(redis)


def test_an_idle_watch_costs_next_to_nothing(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    with engine(server.url, queues=MANY) as one:
        until(lambda: watching(one), "it watches them")
        redis.config_resetstat()
        # The one wait for time itself: how much it says in that time is what is measured.
        time.sleep(3.0)
        assert spoken(redis) <= 2


def test_pushes_to_many_idle_workers_run_once(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    jobs = 400
    with ExitStack() as stack:
        engines = [
            stack.enter_context(engine(server.url, identity=f"host:{n}:e", queues=MANY[:30]))
            for n in range(4)
        ]
        bugs = [watch_bugs(one) for one in engines]
        for number in range(jobs):
            push(redis, f"q{random.randrange(30)}", payload("Note", number))
            if number % 40 == 0:
                until(lambda: watching(*engines), "all of them are idle")
        until(lambda: processed(redis) == jobs, "all jobs are acknowledged")
    assert Counter(ran) == Counter(range(jobs))
    assert not any(bugs)


def test_connections_killed_again_and_again(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    jobs = 300
    with engine(server.url, queues=MANY[:30]) as one:
        bugs = watch_bugs(one)
        for number in range(jobs):
            push(redis, f"q{number % 30}", payload("Note", number))
            if number % 30 == 0:
                kill_connections(redis)
        until(lambda: set(ran) == set(range(jobs)), "every job ran")
        until(lambda: settled(redis), "every job is acknowledged")
        assert not bugs
    assert Counter(ran) == Counter(range(jobs))


@pytest.mark.parametrize("when", ["idle", "busy"])
def test_a_connection_that_the_server_closes_is_no_outage(
    server: EmbeddedServer, redis: redis_py.Redis, when: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """It does so with what says nothing for long, where it has a timeout for that."""
    opened = gate("timeout")
    with engine(server.url, queues=MANY[:30], threads=1) as one:
        for number in range(3):
            until(lambda: watching(one), "it watches them")
            if when == "busy":
                push(redis, "q3", payload("Hold", "timeout"))
                until(lambda: len(held) == number + 1, "the thread is busy")  # noqa: B023
                until(lambda: not one.fetcher._waits.armed, "it has stopped watching")
            clients: Any = redis.client_list()
            [watch] = (client["id"] for client in clients if "t" in client["flags"])
            redis.client_kill_filter(_id=watch)
            push(redis, "q7", payload("Note", number))
            opened.set()
            until(lambda: len(ran) == number + 1, "the job runs")  # noqa: B023
            opened.clear()
    said = capfd.readouterr().err
    assert "redis_unavailable" not in said
    assert "queues_polled" not in said


def test_a_database_that_is_emptied_is_looked_at_again(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    with engine(server.url, queues=MANY[:30]) as one:
        until(lambda: watching(one), "it watches them")
        redis.flushall()
        until(lambda: watching(one), "it watches them")
        push(redis, "q7", payload("Note", 7))
        until(lambda: list(ran) == [7], "the job runs")


def test_a_paused_queue_gives_nothing_until_it_is_not(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    redis.sadd(KEYS.paused, "q7")
    push(redis, "q7", payload("Note", "paused"))
    with engine(server.url, queues=MANY[:30]) as one:
        until(lambda: one.fetcher._intake.paused == {"q7"}, "it has seen the pause")
        until(lambda: watching(one), "it watches the others")
        push(redis, "q8", payload("Note", "other"))
        until(lambda: list(ran) == ["other"], "the other queue gives")
        until(lambda: watching(one), "it watches them again")
        redis.config_resetstat()
        push(redis, "q7", payload("Note", "paused as well"))
        redis.srem(KEYS.paused, "q7")
        until(lambda: len(ran) == 3, "the jobs run soon after", 3.5)


def test_a_queue_that_is_paused_meanwhile_does_not_keep_it_busy(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    with engine(server.url, queues=MANY[:30]) as one:
        until(lambda: watching(one), "it watches them")
        redis.sadd(KEYS.paused, "q7")
        redis.config_resetstat()
        push(redis, "q7", payload("Note", "paused"))
        until(lambda: one.fetcher._intake.paused == {"q7"}, "it has seen the pause")
        time.sleep(1.0)  # how much it says in that time is what is measured
        assert spoken(redis) <= A_DOZEN
        assert not ran


def test_a_key_of_another_type_does_not_keep_it_busy(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    with engine(server.url, queues=MANY[:30]) as one:
        until(lambda: watching(one), "it watches them")
        redis.config_resetstat()
        redis.set(KEYS.queue("q7"), "?")
        until(lambda: one.fetcher._intake.paused == {"q7"}, "it has seen it")
        time.sleep(1.0)  # how much it says in that time is what is measured
        assert spoken(redis) <= A_DOZEN
        push(redis, "q8", payload("Note", "other"))
        until(lambda: list(ran) == ["other"], "the other queue gives")


def test_strict_order_holds_for_what_is_pushed_at_once(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    opened = gate("order")
    with engine(server.url, queues=MANY[:30], threads=1):
        push(redis, "q3", payload("Hold", "order"))
        until(lambda: held, "the thread is busy")
        for number in (29, 5, 17, 0):
            push(redis, f"q{number}", payload("Note", number))
        opened.set()
        until(lambda: len(ran) == 4, "all jobs ran")
    assert list(ran) == [0, 5, 17, 29]


def test_a_busy_worker_does_not_look(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    opened = gate("busy")
    with engine(server.url, queues=MANY[:30], threads=1) as one:
        push(redis, "q3", payload("Hold", "busy"))
        until(lambda: held, "the thread is busy")
        until(lambda: not one.fetcher._waits.armed, "it has stopped watching")
        redis.config_resetstat()
        for number in range(30):
            push(redis, f"q{number}", payload("Note", number))
        time.sleep(0.3)  # how much it says in that time is what is measured
        assert spoken(redis) == 0
        opened.set()
        until(lambda: len(ran) == 30, "all jobs ran")


def test_a_silent_server_is_noticed(
    server: EmbeddedServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection of a watch says nothing for long: whether it is there must be asked."""
    monkeypatch.setattr("jobd.worker.fetch.tracking.BLOCK", 0.3)
    monkeypatch.setattr("jobd.worker.fetch.tracking.GRACE", 0.3)
    monkeypatch.setattr(fetcher_module, "BLOCK", 0.1)
    with engine(server.url, queues=MANY[:30]) as one:
        until(lambda: watching(one), "it watches them")
        bugs = watch_bugs(one)
        failures: list[BaseException] = []
        failed = one.fetcher._outage.failed

        def note(error: BaseException) -> float:
            failures.append(error)
            return failed(error)

        monkeypatch.setattr(one.fetcher._outage, "failed", note)
        wire = one.fetcher._waits._watch._wire
        send = wire.send
        monkeypatch.setattr(wire, "send", lambda _packed: None)
        until(lambda: failures, "it has noticed")
        assert "EXISTS" in str(failures[0])
        monkeypatch.setattr(wire, "send", send)
        until(lambda: watching(one), "it watches them again")
        push(redis, "q8", payload("Note", "after"))
        until(lambda: list(ran) == ["after"], "the job runs")
        assert not bugs
