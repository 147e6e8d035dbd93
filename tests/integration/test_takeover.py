"""Jobs that are delivered to a worker that cannot read that, and what becomes of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis as redis_py

from jobd.keeper.leases import Leases
from jobd.keeper.recovery import Death, Recovery
from jobd.keeper.takeover import Takeover
from jobd.runtime.ipc.scoreboard import RESCUE
from jobd.testing import EmbeddedServer
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
    settled,
    until,
    waiting,
)

ME = "host:1:engine"


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    ran.clear()
    held.clear()
    gates.clear()
    yield
    for one in gates.values():
        one.set()


@pytest.fixture
def takeover(redis: redis_py.Redis) -> Takeover:
    return Takeover(redis, KEYS, lambda *_: None)


class Held:
    """Keeps the fetcher of *one* from reading what arrives, as C code does that holds the
    interpreter."""

    def __init__(self, one: Engine) -> None:
        self._go = threading.Event()
        entered = threading.Event()
        selector: Any = one.fetcher._waits._waits._selector
        select = selector.select

        def hold(seconds: float) -> Any:
            entered.set()
            ready = select(seconds)
            arrived = any(key.data is not None for key, _ in ready)
            if arrived and not self._go.is_set():
                assert self._go.wait(30)
            return ready

        selector.select = hold
        one.fetcher._bell.ring()
        assert entered.wait(10)

    def end(self) -> None:
        self._go.set()


def held_with_a_job(redis: redis_py.Redis, one: Engine, raw: bytes) -> Held:
    """A worker to which *raw* has been delivered, and that has not read it."""
    until(lambda: blocked(redis) == 1, "it waits")
    made = Held(one)
    push(redis, "default", raw)
    until(lambda: redis.hlen(KEYS.inflight(ME)), "the job is in flight")
    return made


def test_what_is_taken_over_runs_once(
    server: EmbeddedServer, redis: redis_py.Redis, takeover: Takeover
) -> None:
    raw = payload("Note", 1)
    with engine(server.url) as one:
        worker = held_with_a_job(redis, one, raw)
        one.page.words[RESCUE] = 1
        assert takeover._return_jobs(ME, one.page.waits()) == 1
        assert waiting(redis) == [raw]
        assert settled(redis)
        with engine(server.url, identity="host:1:other") as other:
            until(lambda: list(ran) == [1], "another worker runs it")
            until(lambda: not other.fetcher.holding, "and acknowledges it")
            worker.end()
            until(lambda: blocked(redis) == 2, "the first one waits again")
    assert list(ran) == [1]
    assert processed(redis) == 1


def test_a_worker_that_reads_it_after_all_does_not_start_it(
    server: EmbeddedServer, redis: redis_py.Redis, takeover: Takeover
) -> None:
    """Between the word of the master and the work of the keeper."""
    raw = payload("Note", 1)
    with engine(server.url) as one:
        worker = held_with_a_job(redis, one, raw)
        redis.sadd(KEYS.paused, "default")  # so that no one claims it again
        one.page.words[RESCUE] = 1
        waits = one.page.waits()
        worker.end()
        until(lambda: waiting(redis) == [raw], "it has given it back")
        assert takeover._return_jobs(ME, waits) == 0
        assert waiting(redis) == [raw]
        redis.srem(KEYS.paused, "default")
        until(lambda: list(ran) == [1], "claimed, it is nothing that others may take", 4)
        until(lambda: processed(redis) == 1, "it is acknowledged")
    assert list(ran) == [1]


def test_a_connection_that_breaks_meanwhile_changes_nothing(
    server: EmbeddedServer, redis: redis_py.Redis, takeover: Takeover
) -> None:
    """The worker finds the job in Redis when it connects again, under the old number."""
    raw = payload("Note", 1)
    with engine(server.url) as one:
        worker = held_with_a_job(redis, one, raw)
        redis.sadd(KEYS.paused, "default")
        one.page.words[RESCUE] = 1
        waits = one.page.waits()
        kill_connections(redis)
        worker.end()
        until(lambda: waiting(redis) == [raw], "it has given it back")
        assert takeover._return_jobs(ME, waits) == 0
        one.page.words[RESCUE] = 0
        redis.srem(KEYS.paused, "default")
        until(lambda: processed(redis) == 1, "it runs")
    assert list(ran) == [1]


def test_what_has_not_been_filed_is_returned_too(
    server: EmbeddedServer, redis: redis_py.Redis, takeover: Takeover
) -> None:
    raws = [payload("Note", 1), payload("Note", 2)]
    with engine(server.url) as one:
        worker = held_with_a_job(redis, one, raws[0])
        redis.lpush(KEYS.claim(ME, "default"), raws[1])
        one.page.words[RESCUE] = 1
        assert takeover._return_jobs(ME, one.page.waits()) == 1
        assert sorted(waiting(redis)) == sorted(raws)
        worker.end()
        until(lambda: processed(redis) == 2, "both run")
    assert sorted(ran) == [1, 2]
    assert not redis.exists(KEYS.claim(ME, "default"))


def test_jobs_that_run_or_have_ended_are_not_touched(
    server: EmbeddedServer, redis: redis_py.Redis, takeover: Takeover
) -> None:
    opened = gate("running")
    with engine(server.url) as one:
        push(redis, "default", payload("Hold", "running"))
        until(lambda: held, "the job runs")
        until(lambda: blocked(redis) == 1, "it waits for another one")
        assert takeover._return_jobs(ME, one.page.waits()) == 0
        assert redis.hlen(KEYS.inflight(ME)) == 1
        opened.set()
        until(lambda: processed(redis) == 1, "it is acknowledged")


@pytest.mark.parametrize("first", ["takeover", "recovery"])
def test_a_worker_that_dies_meanwhile_loses_and_doubles_nothing(
    server: EmbeddedServer, redis: redis_py.Redis, takeover: Takeover, first: str
) -> None:
    """Killed between the delivery and its reading: whichever comes first returns the job."""
    raw = payload("Note", 1)
    recovery = Recovery(redis, KEYS, Leases(redis, KEYS), lambda *_: None)
    with engine(server.url) as one:
        worker = held_with_a_job(redis, one, raw)
        redis.sadd(KEYS.paused, "default")
        one.page.words[RESCUE] = 1
        waits = one.page.waits()
        ways: dict[str, Callable[[], int]] = {
            "takeover": lambda: takeover._return_jobs(ME, waits),
            "recovery": lambda: recovery._return_jobs(Death(ME, frozenset(), ""), "dead"),
        }
        assert ways.pop(first)() == 1
        assert ways.popitem()[1]() == 0
        assert waiting(redis) == [raw]
        redis.zrem(KEYS.owners, ME)
        worker.end()
        until(lambda: redis.zscore(KEYS.owners, ME), "it registers again")
        assert waiting(redis) == [raw]
    assert not ran


def test_a_server_that_refuses_is_no_reason_to_ask_for_ever(redis: redis_py.Redis) -> None:
    redis.set(KEYS.waits(ME), "of another type")
    answers: list[tuple[str, int]] = []
    takeover = Takeover(redis, KEYS, lambda *answer: answers.append(answer))
    takeover.take_over(ME, [1])
    takeover.turn()
    assert answers == [(ME, 0)]
