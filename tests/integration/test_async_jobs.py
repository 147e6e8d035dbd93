"""Async jobs: many on one event loop, without threads, beside synchronous ones."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest
import redis as redis_py

from jobd.errors import Snooze
from jobd.jobs import context
from jobd.jobs.app import App
from jobd.testing import EmbeddedServer
from jobd.worker import threadstacks
from jobd.worker.run import watchdog as watchdog_module
from jobd.worker.run.watchdog import Watchdog
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

asleep: deque[Any] = deque()
"""What runs of ``Sleep`` have begun."""

doors: dict[Any, asyncio.Event] = {}
"""``Sleep`` waits for the door of its name."""


@pytest.fixture(autouse=True)
def clean() -> None:
    for one in (ran, held, gates, asleep, doors):
        one.clear()


@pytest.fixture
def app() -> App:
    app = App()

    @app.job(name="engine.Sleep")
    async def sleep(name: Any) -> None:
        door = doors.setdefault(name, asyncio.Event())
        asleep.append(name)
        await door.wait()
        ran.append(name)

    @app.job(name="engine.Quick")
    async def quick(value: Any) -> None:
        await asyncio.sleep(0)
        ran.append((value, threading.current_thread().name, context.current_job().jid))

    return app


def wake(one: Engine, *names: Any) -> None:
    for name in names:
        one.loop.get().call_soon_threadsafe(doors[name].set)


def commands(redis: redis_py.Redis) -> int:
    """How many commands the server has been sent."""
    found: Any = redis.info("stats")
    return int(found["total_commands_processed"])


# --- room ----------------------------------------------------------------------------------------


def test_async_jobs_need_no_threads_and_have_a_limit_of_their_own(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    gate("thread")
    names = list(range(7))
    with engine(server.url, app=app, threads=1, coroutines=5) as one:
        push(redis, "default", payload("Hold", "thread"))
        until(lambda: held, "the thread is busy")
        push(redis, "default", *[payload("Sleep", name) for name in names])
        until(lambda: len(asleep) == 5, "five sleep")
        assert sorted(asleep) == names[:5]
        until(lambda: len(waiting(redis)) == 2, "the others wait in their queue")
        assert [json.loads(raw)["args"][0] for raw in waiting(redis)] == names[5:]
        assert len(one.page.running()) == 6
        assert len(one.pool.working()) == 1
        idents = {entry.thread_ident for entry in one.page.running()}
        assert one.loop.ident in idents
        assert len(idents) == 2
        wake(one, 2, 4)
        until(lambda: sorted(asleep) == names, "the others follow")
        wake(one, *names)
        until(lambda: sorted(ran) == names, "all end")
        gates["thread"].set()
        until(lambda: settled(redis) and processed(redis) == 8, "all have ended in Redis")
        assert not one.page.running()


def test_what_has_no_room_is_left_to_others_and_the_server_in_peace(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    gate("long")
    queues = [("sync", 1), ("async", 1), ("both", 1)]
    with engine(server.url, app=app, threads=1, coroutines=2, queues=queues):
        push(redis, "sync", payload("Hold", "long"))
        until(lambda: held, "the thread is busy")
        push(redis, "sync", payload("Note", 1))
        push(redis, "both", payload("Note", 2), payload("Quick", 2))
        for value in range(20):
            push(redis, "async", payload("Quick", value))
        until(lambda: len(ran) >= 20, "async jobs run on")
        until(lambda: len(waiting(redis, "sync")) == 1, "it is in its queue")
        before = commands(redis)
        time.sleep(1.0)
        assert commands(redis) - before < 60
        # Another worker can take them.
        with engine(
            server.url, app=app, identity="host:2:other", threads=1, coroutines=1, queues=queues
        ):
            until(lambda: {1, 2} <= {one for one in ran if isinstance(one, int)}, "it takes them")
        gates["long"].set()
    assert sorted(map(str, ran)).count("1") == 1


def test_a_queue_whose_head_has_no_room_is_not_forgotten(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    """Another worker takes the head; the job behind it has room here."""
    gate("long")
    with engine(server.url, app=app, threads=1, coroutines=2) as one:
        push(redis, "default", payload("Hold", "long"))
        until(lambda: held, "the thread is busy")
        push(redis, "default", payload("Note", 1))
        until(lambda: len(one.fetcher._room._heads) == 1, "the head is known")
        # It is known by having been claimed, and is returned in the next turn.
        until(lambda: redis.rpop(KEYS.queue("default")), "the head is back")
        push(redis, "default", payload("Quick", 2))
        until(lambda: ran, "it runs", 5)
        gates["long"].set()


def test_short_jobs_of_both_kinds_share_a_queue(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    raws = [payload(kind, number) for number in range(1000) for kind in ("Note", "Quick")]
    push(redis, "default", *raws)
    with engine(server.url, app=app, threads=2, coroutines=3):
        until(lambda: processed(redis) == 2000 and settled(redis), "all are done", 30)
    assert len(ran) == 2000
    assert len(set(map(str, ran))) == 2000


def test_a_wrong_key_for_a_queue_does_not_disturb(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    gate("long")
    redis.set(KEYS.queue("broken"), "no list")
    with engine(server.url, app=app, threads=1, queues=[("default", 1), ("broken", 1)]) as one:
        push(redis, "default", payload("Hold", "long"))
        until(lambda: held, "the thread is busy")
        for value in range(5):
            push(redis, "default", payload("Quick", value))
            until(lambda: len(ran) > value, "it runs")  # noqa: B023
        assert not one.fetcher.outage
        gates["long"].set()


# --- ends ----------------------------------------------------------------------------------------


def test_every_way_to_end(app: App, server: EmbeddedServer, redis: redis_py.Redis) -> None:
    told: list[Any] = []
    app.error_handlers.append(
        lambda error, about: told.append((str(error), threading.current_thread().name))
    )

    @app.job(name="engine.End_")
    async def end(how: str) -> Any:
        await asyncio.sleep(0)
        match how:
            case "fail":
                raise ValueError("why")
            case "exit":
                raise SystemExit(3)
            case "cancel":
                raise asyncio.CancelledError
            case "cancel itself":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(1)
            case "run":
                coroutine = asyncio.sleep(0)
                try:
                    asyncio.run(coroutine)
                finally:
                    coroutine.close()
            case "snooze":
                raise Snooze(60)
            case "generator":
                return (each for each in [1])
            case "stop":
                asyncio.get_running_loop().stop()
        return None

    fails = ["fail", "exit", "cancel", "cancel itself", "run", "generator"]
    with engine(server.url, app=app, coroutines=3) as one:
        push(redis, "default", *[payload("End_", how) for how in fails])
        push(redis, "default", payload("End_", "snooze"), payload("End_", "stop"))
        push(redis, "default", payload("End_", "fail", retry=False), payload("Quick", 1))
        push(redis, "default", payload("End_", "fail", retry=0))
        expired = {"v": 1, "expires_at": 1.0}
        push(redis, "default", payload("Quick", 2, jobd=expired), payload("Quick", 3, jobd=5))
        until(lambda: settled(redis) and processed(redis) >= 10, "all ended")
        until(lambda: redis.zcard(KEYS.retry) == len(fails), "the retries")
        until(lambda: redis.zcard(KEYS.dead) == 2, "the dead")
        until(lambda: redis.zcard(KEYS.schedule) == 1, "the snoozing one")
        assert [entry[0] for entry in ran] == [1]
        errors: Any = redis.zrange(KEYS.retry, 0, -1)
        classes = {json.loads(raw)["args"][0]: json.loads(raw)["error_class"] for raw in errors}
        assert classes["cancel itself"].endswith("CancelledError")
        assert classes["run"] == "RuntimeError"
        assert failed(redis) == len(fails) + 2
        until(lambda: not one.tasks.running, "no task is left")
    assert {name.partition("-")[0] for _, name in told} == {"decider"}


def test_a_time_limit_ends_a_coroutine(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    made: list[Engine] = []

    @app.job(name="engine.Slow", timeout=0.2)
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ran.append([entry.deadline for entry in made[0].page.running()])

    with engine(server.url, app=app) as one:
        made.append(one)
        push(redis, "default", payload("Slow"))
        until(lambda: redis.zcard(KEYS.retry) == 1, "it is to be retried")
        kept: Any = redis.zrange(KEYS.retry, 0, -1)
        [raw] = kept
        assert json.loads(raw)["error_message"] == "the job took longer than its timeout of 0.2 s"
        [[deadline]] = ran
        assert abs(deadline / 1e9 - time.monotonic()) < 10
        assert one.executor._deadlines.overdue(float("inf")) == []


def test_a_job_that_cancels_all_tasks_ends_others_but_loses_none(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    @app.job(name="engine.Reap")
    async def reap() -> None:
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()

    with engine(server.url, app=app, coroutines=8) as one:
        push(redis, "default", payload("Reap"), *[payload("Quick", n) for n in range(7)])
        until(lambda: processed(redis) >= 1, "it ran")

        def over() -> bool:
            one.tasks.settle_lost()  # as the main thread does once a second
            return settled(redis) and not one.tasks.running

        until(over, "all have ended")
        kept: Any = redis.zcard(KEYS.retry)
        dead: Any = redis.zcard(KEYS.dead)
        assert kept + dead + len(ran) == 7


def test_the_place_of_a_lost_job_is_freed_once(
    app: App, server: EmbeddedServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another job may be in it."""
    with engine(server.url, app=app, coroutines=1) as one:
        fill, blocked = one.tasks._fill, threading.Event()

        def fill_and_cancel() -> None:
            monkeypatch.undo()
            fill()
            for _, task in one.tasks.runs():
                task.cancel()

        monkeypatch.setattr(one.tasks, "_fill", fill_and_cancel)
        push(redis, "default", payload("Quick", "lost"))
        until(lambda: [task.cancelled() for _, task in one.tasks.runs()] == [True], "it is lost")
        one.loop.get().call_soon_threadsafe(blocked.wait, 10)
        one.tasks.settle_lost()
        one.tasks.settle_lost()  # a second later
        push(redis, "default", payload("Sleep", "next"))
        until(lambda: one.tasks.waiting, "the next one is there")
        blocked.set()
        until(lambda: asleep, "it runs")
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), one.loop.get()).result(10)
        assert one.tasks.running == 1
        wake(one, "next")
        until(lambda: settled(redis), "it has ended")
        assert list(ran) == ["next"]


def test_a_stop_cancels_the_jobs_and_nothing_else(
    app: App,
    server: EmbeddedServer,
    redis: redis_py.Redis,
    capfd: pytest.CaptureFixture[str],
) -> None:
    ended: list[str] = []

    @app.job(name="engine.Tidy")
    async def tidy() -> None:
        held.append("tidy")
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append("tidy")

    @app.job(name="engine.Deaf")
    async def deaf() -> None:
        held.append("deaf")
        while len(ended) < 3:
            try:
                await asyncio.sleep(0.02)
            except asyncio.CancelledError:
                ended.append("swallowed")

    raws = [payload("Tidy"), payload("Deaf")]
    with engine(server.url, app=app) as one:

        async def of_the_application() -> None:
            await asyncio.sleep(60)

        other = asyncio.run_coroutine_threadsafe(of_the_application(), one.loop.get())
        push(redis, "default", *raws)
        until(lambda: len(held) == 2, "both run")
        assert one.fetcher.surrender(5)
        one.tasks.interrupt()
        assert not one.tasks.ended(0.3)
        assert sorted(ended) == ["swallowed", "tidy"]
        assert [work.job.payload for work in one.tasks.working()] == [raws[1]]
        assert not other.done()
        ended.append("now")
        assert one.tasks.ended(5)
    assert waiting(redis) == raws
    assert not redis.zcard(KEYS.retry)
    assert "job_failed" not in capfd.readouterr().err
    assert other.cancelled()


# --- what a job leaves behind --------------------------------------------------------------------


def test_tasks_left_behind_are_named_kept_and_ended(
    app: App, server: EmbeddedServer, redis: redis_py.Redis, capfd: pytest.CaptureFixture[str]
) -> None:
    @app.job(name="engine.Leave")
    async def leave() -> None:
        asyncio.get_running_loop().create_task(forgotten(), name="mine")
        await asyncio.gather(asyncio.sleep(0), asyncio.sleep(0))

    async def forgotten() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ran.append("ended")

    with engine(server.url, app=app) as one:
        push(redis, "default", payload("Leave", jid="abc"), payload("Quick", 1, jid="tidy"))
        until(lambda: processed(redis) == 2, "they have ended")
        until(lambda: len(one.loop.left) == 1, "one task is left")
        [job] = one.loop.left.values()
        assert job.jid == "abc"
        dump = threadstacks.dump("w", one, set(), busy=False, arguments=False)
        assert "Coroutine mine, left behind by engine.Leave abc" in dump
        assert "in forgotten" in dump
    assert "ended" in ran
    [line] = [one for one in capfd.readouterr().err.splitlines() if "tasks_left_behind" in one]
    assert "tasks=1" in line
    assert "jid=abc" in line


def test_a_dump_shows_where_the_coroutine_of_each_job_is(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    with engine(server.url, app=app, threads=1) as one:
        push(redis, "default", payload("Sleep", "x", jid="abc"))
        until(lambda: asleep, "it sleeps")
        for busy in (True, False):
            text = threadstacks.dump("w", one, set(), busy=busy, arguments=True)
            assert "0 of 1 threads busy, 1 of 5 coroutines, 1 job in flight" in text
            assert "Coroutine async-0: engine.Sleep abc from default, for 0." in text
            assert "in sleep\n    await door.wait()" in text
        wake(one, "x")


# --- the watchdog --------------------------------------------------------------------------------


@pytest.fixture
def watched(app: App, server: EmbeddedServer) -> Iterator[tuple[Engine, Watchdog]]:
    made = Engine(server.url, app=app)
    watchdog = Watchdog(made.loop, made.tasks)
    made.start(watchdog.wake)
    try:
        yield made, watchdog
    finally:
        made.close()


def test_what_blocks_the_loop_is_named_once(
    app: App,
    watched: tuple[Engine, Watchdog],
    redis: redis_py.Redis,
    capfd: pytest.CaptureFixture[str],
) -> None:
    @app.job(name="engine.Block")
    async def block(seconds: float) -> None:
        time.sleep(seconds)

    _, watchdog = watched
    push(redis, "default", payload("Block", 1.0, jid="abc"))
    until(lambda: processed(redis) == 1, "it has ended")
    until(lambda: watchdog.worst() > 0.6, "the lag is known")
    push(redis, "default", *[payload("Quick", n) for n in range(50)])
    until(lambda: len(ran) == 50, "the loop runs on")
    [line] = [one for one in capfd.readouterr().err.splitlines() if "loop_blocked" in one]
    assert "jid=abc" in line
    assert f"{__file__}:" in line
    assert "in block" in line


def test_the_watchdog_rests_where_nothing_runs(
    app: App, watched: tuple[Engine, Watchdog], redis: redis_py.Redis, monkeypatch: Any
) -> None:
    monkeypatch.setattr(watchdog_module, "TICK", 0.01)
    _, watchdog = watched
    assert not watchdog.is_alive()
    for value in range(2):
        push(redis, "default", payload("Quick", value))
        until(lambda: len(ran) == value + 1, "it ran")  # noqa: B023
        assert watchdog.is_alive()
        until(lambda: not watchdog._awake.is_set(), "it rests")


# --- context and middleware ----------------------------------------------------------------------

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


def test_each_job_has_a_fresh_copy_of_the_context_at_the_start(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    @app.job(name="engine.Touch")
    async def touch(value: str) -> None:
        before = tenant.get()
        tenant.set(value)
        await asyncio.sleep(0)
        ran.append((before, tenant.get()))

    token = tenant.set("start")
    try:
        with engine(server.url, app=app):
            push(redis, "default", *[payload("Touch", str(n)) for n in range(20)])
            until(lambda: len(ran) == 20, "all ran")
    finally:
        tenant.reset(token)
    assert {before for before, _ in ran} == {"start"}
    assert {after for _, after in ran} == {str(n) for n in range(20)}


AsyncNext = Callable[[], Awaitable[Any]]


@pytest.mark.parametrize("kind", ["Sync", "Async"])
@pytest.mark.parametrize("chain", ["async", "async, sync", "sync, async", "async, async"])
def test_middleware_of_both_kinds_surrounds_jobs_of_both_kinds(
    app: App, server: EmbeddedServer, redis: redis_py.Redis, kind: str, chain: str
) -> None:
    order: list[str] = []

    def note(text: str) -> None:
        order.append(f"{text} on {threading.current_thread().name.partition('-')[0]}")

    def make_sync(number: int) -> Any:
        def around(job: Any, fields: Any, queue: str, call_next: Callable[[], Any]) -> Any:
            note(f"{number} before")
            tenant.set(f"{tenant.get()} {number}")
            result = call_next()
            note(f"{number} after {tenant.get()}")
            return result

        return around

    def make_async(number: int) -> Any:
        async def around(job: Any, fields: Any, queue: str, call_next: AsyncNext) -> Any:
            assert job is context.current_job()
            note(f"{number} before")
            await asyncio.sleep(0)
            tenant.set(f"{tenant.get()} {number}")
            result = await call_next()
            note(f"{number} after {tenant.get()}")
            return result

        return around

    kinds = chain.split(", ")
    for number, each in enumerate(kinds):
        app.server_middleware.add((make_sync if each == "sync" else make_async)(number))

    def body() -> None:
        note(f"job {tenant.get()}")
        tenant.set("job")

    async def later() -> None:
        await asyncio.sleep(0)
        body()

    app.job(name="engine.Sync")(body)
    app.job(name="engine.Async")(later)
    with engine(server.url, app=app):
        push(redis, "default", payload(kind))
        until(lambda: processed(redis) == 1, "it ended")
        assert failed(redis) == 0
        found = list(order)  # threads are ended by jobs, too
    where = {"sync": "job", "async": "asyncio"}
    inside = f"nobody{''.join(f' {number}' for number in range(len(kinds)))}"
    numbered = list(enumerate(kinds))
    assert found == [
        *[f"{number} before on {where[each]}" for number, each in numbered],
        f"job {inside} on {'job' if kind == 'Sync' else 'asyncio'}",
        *[f"{number} after job on {where[each]}" for number, each in reversed(numbered)],
    ]


def test_async_middleware_may_skip_fail_and_see_failures(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    seen: list[str] = []

    async def around(job: Any, fields: Any, queue: str, call_next: AsyncNext) -> None:
        if job.jid == "skip":
            return
        if job.jid == "fail":
            raise RuntimeError("middleware")
        try:
            await call_next()
        except ValueError as error:
            seen.append(str(error))
            raise

    def bad() -> None:
        raise ValueError("why")

    async def bad_later() -> None:
        bad()

    app.server_middleware.add(around)
    app.job(name="engine.Bad")(bad)
    app.job(name="engine.BadLater")(bad_later)
    with engine(server.url, app=app):
        push(redis, "default", payload("Note", 1, jid="skip"), payload("Quick", 1, jid="skip"))
        push(redis, "default", payload("Note", 1, jid="fail"), payload("Quick", 1, jid="fail"))
        push(redis, "default", payload("Bad"), payload("BadLater"))
        until(lambda: processed(redis) == 6 and settled(redis), "all ended")
        assert redis.zcard(KEYS.retry) == 4
    assert seen == ["why", "why"]
    assert not ran


def test_middleware_that_is_not_async_keeps_the_thread_of_an_async_job(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    app.server_middleware.add(lambda job, fields, queue, call_next: call_next())
    with engine(server.url, app=app, threads=1, coroutines=5) as one:
        push(redis, "default", payload("Sleep", 1), payload("Sleep", 2))
        until(lambda: asleep, "one sleeps")
        assert len(one.pool.working()) == 1
        assert not one.tasks.running
        wake(one, 1)
        until(lambda: len(asleep) == 2, "the other one follows")
        wake(one, 2)
        until(lambda: processed(redis) == 2, "both end")


def test_handlers_may_be_coroutines(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    async def tell(error: BaseException, about: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        ran.append(("error", str(error), context.current_job().jid))

    async def mourn(job: dict[str, Any], error: BaseException) -> None:
        await asyncio.sleep(0)
        ran.append(("death", str(error), job["jid"]))

    app.error_handlers.append(tell)
    app.death_handlers.append(mourn)

    def bad() -> None:
        raise ValueError("why")

    async def bad_later() -> None:
        raise ValueError("later")

    app.job(name="engine.Bad")(bad)
    app.job(name="engine.BadLater")(bad_later)
    with engine(server.url, app=app):
        push(redis, "default", payload("Bad", jid="a", retry=0))
        push(redis, "default", payload("BadLater", jid="b", retry=0))
        until(lambda: redis.zcard(KEYS.dead) == 2, "both are dead")
        until(lambda: len(ran) == 4, "all are told")
    assert sorted(ran) == [
        *(("death", "later", "b"), ("death", "why", "a")),
        *(("error", "later", "b"), ("error", "why", "a")),
    ]
