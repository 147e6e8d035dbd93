"""What a worker that leaves makes of jobs past their deadline: who says how they ended, and that it
is said once."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Iterator

import pytest
import redis as redis_py

from jobd.errors import JobTimeout, Shutdown
from jobd.jobs.app import App
from jobd.testing import EmbeddedServer
from jobd.worker import overdue as overdue_module
from jobd.worker.beside import Beside
from jobd.worker.overdue import Overdue
from jobd.worker.run.cancelling import CancelRequests
from jobd.worker.run.deadlines import Deadlines
from tests.support.engine import (
    KEYS,
    Engine,
    engine,
    failed,
    gate,
    gates,
    held,
    payload,
    processed,
    push,
    ran,
    settled,
    until,
    waiting,
)
from tests.support.ledger import whereabouts

LIMIT = 0.001


@pytest.fixture(autouse=True)
def app() -> Iterator[App]:
    app = App()
    ran.clear()
    held.clear()
    gates.clear()

    @app.job(name="engine.Late", timeout=LIMIT)
    def late(name: str) -> None:
        held.append(name)
        try:
            gates[name].wait(60)
        except JobTimeout:
            pass
        ran.append(name)

    yield app
    for one in gates.values():
        one.set()


def overdue_of(one: Engine, grace: float = 0.0) -> Overdue:
    beside = Beside("overdue")
    beside.start()
    return Overdue(grace, one, CancelRequests((), one.fetcher.cancel, one.page), beside)


def late(one: Engine, redis: redis_py.Redis, *names: str) -> None:
    """Have these jobs run, past their deadlines."""
    for name in names:
        gate(name)
        push(redis, "default", payload("Late", name, jid=name))
    until(lambda: sorted(held) == sorted(names), "they run")
    end = time.monotonic() + LIMIT
    until(lambda: time.monotonic() > end, "their time is over")
    one.executor._deadlines.enforce(time.monotonic())


def test_of_a_thread_that_ends_and_a_worker_that_gives_up_one_decides() -> None:
    """In whatever order they come."""
    chance = random.Random(1)
    outcomes = set()
    for number in range(300):
        deadlines = Deadlines(lambda: None)
        inside, leave, outcome = threading.Event(), threading.Event(), []

        def function() -> None:
            inside.set()  # noqa: B023
            assert leave.wait(10)  # noqa: B023

        def run() -> None:
            try:
                deadlines.run(LIMIT, function)  # noqa: B023
            except Shutdown:
                outcome.append("abandoned")  # noqa: B023
            else:
                outcome.append("ended")  # noqa: B023

        thread = threading.Thread(target=run)
        thread.start()
        assert inside.wait(10)
        if number % 3:
            leave.set()
            if number % 3 == 1:
                thread.join()
            else:
                time.sleep(chance.uniform(0, 0.0001))
        abandoned = deadlines.abandon(time.monotonic() + LIMIT)
        leave.set()
        thread.join()
        assert outcome == ["abandoned" if abandoned else "ended"]
        assert deadlines.abandon(time.monotonic() + LIMIT) == []
        outcomes.add((number % 3, outcome[0]))
    assert outcomes >= {(0, "abandoned"), (1, "ended")}


def test_a_job_that_ends_just_then_is_in_one_place_and_counts_once(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    chance = random.Random(2)
    for number in range(15):
        redis.flushdb()
        held.clear()
        ran.clear()
        names = [f"{number}-{which}" for which in ("before", "a", "b", "c", "after")]
        with engine(server.url, app=app, threads=5) as one:
            late(one, redis, *names)
            gates[names[0]].set()
            until(lambda: processed(redis) == 1, "one has ended")
            moments = sorted(chance.uniform(0, 0.005) for _ in names[1:-1])

            def let_go() -> None:
                began = time.monotonic()
                for name, moment in zip(names[1:-1], moments, strict=True):  # noqa: B023
                    until(lambda: time.monotonic() >= began + moment, "its moment")  # noqa: B023
                    gates[name].set()

            thread = threading.Thread(target=let_go)
            thread.start()
            overdue_of(one).fail()
            assert one.fetcher.surrender(5)
            thread.join()
            gates[names[-1]].set()
        places = whereabouts(redis)
        assert places[names[-1]] == ["retry"]
        assert names[0] not in places
        # One of the others may be back in its queue: it had ended, and not been able to say so.
        assert all(len(found) == 1 for found in places.values()), places
        assert processed(redis) == len(names)
        assert failed(redis) == len(places)
        assert settled(redis)


def test_it_has_failed_also_if_the_fetcher_is_in_the_middle_of_a_turn(
    app: App, server: EmbeddedServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine(server.url, app=app, threads=1) as one:
        late(one, redis, "turn")
        give_back, asked = one.fetcher._intake.give_back, threading.Event()

        def ask() -> None:
            if not asked.is_set():
                asked.set()
                assert overdue_of(one).fail() == 1
                one.fetcher._surrender.asked = True
            give_back()

        monkeypatch.setattr(one.fetcher._intake, "give_back", ask)
        one.fetcher.quiet()
        assert asked.wait(5)
        assert one.fetcher.surrender(5)
        assert whereabouts(redis) == {"turn": ["retry"]}


def test_a_job_whose_own_code_does_not_say_what_becomes_of_it_is_given_back(
    app: App, server: EmbeddedServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overdue_module, "DECIDE", 0.1)
    gate("delay")
    answered = threading.Event()

    def never(_count: int, _error: BaseException, _payload: object) -> float:
        gates["delay"].wait(60)
        answered.set()
        return 1.0

    @app.job(name="engine.Undecided", timeout=LIMIT, retry_in=never)
    def undecided() -> None:
        held.append("undecided")
        gates["delay"].wait(60)

    raw = payload("Undecided")
    with engine(server.url, app=app, threads=1) as one:
        push(redis, "default", raw)
        until(lambda: held, "it runs")
        end = time.monotonic() + LIMIT
        until(lambda: time.monotonic() > end, "its time is over")
        assert overdue_of(one).fail() == 1
        assert one.fetcher.surrender(5)
        assert waiting(redis) == [raw]
        gates["delay"].set()
        assert answered.wait(5)
        until(lambda: not one.fetcher.ends._settled, "the late answer was heard")
    assert waiting(redis) == [raw]
    assert not redis.exists(KEYS.retry)


def test_a_worker_does_not_wait_for_stuck_jobs_alone(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    gate("well")
    with engine(server.url, app=app, threads=3) as one:
        late(one, redis, "lost")
        one.fetcher.quiet()
        assert not overdue_of(one, grace=600.0).alone, "it may still end"
        assert not overdue_of(one, grace=0.0).alone, "the setting says that it may take any time"
        until(lambda: overdue_of(one, grace=0.001).alone, "nothing else is left")
        one.fetcher.resume()
        push(redis, "default", payload("Hold", "well"))
        until(lambda: "well" in held, "another one runs")
        one.fetcher.quiet()
        assert not overdue_of(one, grace=0.001).alone
        gates["well"].set()
        until(lambda: overdue_of(one, grace=0.001).alone, "nothing else is left again")


@pytest.mark.parametrize("ends", ["raises", "returns"])
def test_a_coroutine_that_ends_while_the_stop_decides_about_it_has_failed(
    app: App, server: EmbeddedServer, redis: redis_py.Redis, ends: str
) -> None:
    """It must not be acknowledged as done."""
    doors: list[asyncio.Event] = []

    def decide(_count: int, _error: BaseException, _payload: object) -> float:
        one.loop.get().call_soon_threadsafe(doors[0].set)
        until(lambda: not one.tasks.running, "its coroutine has ended")
        one.fetcher._bell.ring()
        until(lambda: not one.fetcher.ends._finished_tasks, "the fetcher has seen all ends")
        return 60.0

    @app.job(name="engine.Slow", timeout=LIMIT, retry_in=decide)
    async def slow() -> None:
        doors.append(asyncio.Event())
        try:
            await asyncio.sleep(60)
        finally:
            await doors[0].wait()
            if ends == "returns":
                return  # noqa: B012

    with engine(server.url, app=app, threads=1, coroutines=1) as one:
        push(redis, "default", payload("Slow", jid="slow"))
        until(lambda: doors, "it runs")
        until(lambda: one.deadlines.overdue(time.monotonic()), "its time is over")
        assert overdue_of(one).fail() == 1
        assert one.fetcher.surrender(5)
        assert whereabouts(redis) == {"slow": ["retry"]}
        assert (processed(redis), failed(redis)) == (1, 1)
