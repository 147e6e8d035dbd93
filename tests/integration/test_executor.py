"""The executor and its threads: what surrounds the function of a job."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextvars import Context, ContextVar
from typing import Any

import pytest
import redis as redis_py
import structlog

from jobd.errors import JobTimeout
from jobd.jobs import context
from jobd.jobs.app import App
from jobd.jobs.job_class import Job
from jobd.store.inflight import Claimed
from jobd.testing import EmbeddedServer
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
    until,
    waiting,
)


@pytest.fixture(autouse=True)
def clean() -> None:
    ran.clear()
    held.clear()
    gates.clear()


@pytest.fixture
def app() -> App:
    return App()


Run = Callable[..., Any]


@pytest.fixture
def execute(app: App, server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[Run]:
    """Execute one payload in this thread; returns how it is to be ended."""
    bench = Engine(server.url, app=app)
    yield lambda raw, queue="default": Context().run(bench.executor.execute, Claimed(1, queue, raw))
    bench.release()


def test_a_function_gets_its_arguments_and_knows_its_job(app: App, execute: Run) -> None:
    seen: list[Any] = []

    @app.job(name="engine.Know")
    def know(*args: Any, **kwargs: Any) -> None:
        current = context.current_job()
        seen.append((args, kwargs, current.jid, current.queue, current.attempt, current.name))

    raw = payload("Know", 1, "é", kwargs={"x": None}, jid="abc", retry_count=1)
    assert execute(raw, "low") is None
    assert seen == [((1, "é"), {"x": None}, "abc", "low", 3, "engine.Know")]
    assert context.running_job() is None


def test_a_class_gets_a_new_instance_each_time(app: App, execute: Run) -> None:
    instances: list[object] = []

    class Remember(Job, app=app, name="engine.Remember"):
        def perform(self) -> None:
            instances.append(self)

    for _ in range(2):
        assert execute(payload("Remember")) is None
    assert instances[0] is not instances[1]


def test_a_coroutine_runs_in_the_context_of_its_job(app: App, execute: Run) -> None:
    seen: list[str] = []

    @app.job(name="engine.Later")
    async def later() -> None:
        await asyncio.sleep(0)
        seen.append(f"{context.current_job().jid} {threading.current_thread().name}")

    assert execute(payload("Later", jid="abc")) is None
    assert seen == ["abc asyncio"]


def test_a_coroutine_that_fails_or_cancels_itself_is_retried(app: App, execute: Run) -> None:
    @app.job(name="engine.Broken")
    async def broken() -> None:
        raise KeyError("x")

    @app.job(name="engine.Cancel")
    async def cancel() -> None:
        raise asyncio.CancelledError

    assert execute(payload("Broken")).outcome == "retry"
    assert execute(payload("Cancel")).outcome == "retry"


def test_middleware_surrounds_the_function_and_may_skip_it(app: App, execute: Run) -> None:
    order: list[str] = []

    def around(current: Any, fields: Any, queue: str, call_next: Callable[[], Any]) -> None:
        fields["args"] = ["changed for nobody"]
        order.append(f"before {current.jid} {queue}")
        if current.jid != "skip":
            call_next()
            order.append("after")

    app.server_middleware.add(around)
    assert execute(payload("Note", 1, jid="run")) is None
    assert execute(payload("Note", 2, jid="skip")) is None
    assert list(ran) == [1]
    assert order == ["before run default", "after", "before skip default"]


def test_an_error_in_middleware_is_a_failure_of_the_job(app: App, execute: Run) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("middleware")

    app.server_middleware.add(broken)
    assert execute(payload("Note", 1)).outcome == "retry"
    assert not ran


def test_errors_are_reported_after_the_decision_with_their_job(app: App, execute: Run) -> None:
    told: list[Any] = []
    app.error_handlers.append(lambda error, about: told.append((str(error), about)))

    @app.job(name="engine.Bad")
    def bad() -> None:
        raise ValueError("why")

    execute(payload("Bad", jid="abc"))
    [(message, about)] = told
    assert message == "why"
    assert (about["job"]["jid"], about["context"]) == ("abc", "Job raised exception")


def test_the_traceback_begins_in_the_job(
    app: App, execute: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    @app.job(name="engine.Trace")
    def trace() -> None:
        raise ValueError("why")

    execute(payload("Trace"))
    said = capfd.readouterr().err
    assert "job_failed" in said
    assert "in trace" in said
    assert "worker/run/executor.py" not in said


def test_an_exception_that_cannot_be_shown_is_logged(
    app: App, execute: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    @app.job(name="engine.Mute")
    def mute() -> None:
        raise Mute

    assert execute(payload("Mute")).outcome == "retry"
    assert "job_failed" in capfd.readouterr().err


# --- the context ---------------------------------------------------------------------------------

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


def touch(fails: bool) -> None:
    tenant.set("acme")
    decimal.getcontext().prec = 3
    structlog.contextvars.bind_contextvars(customer="acme")
    if fails:
        raise ValueError


async def touch_later(fails: bool) -> None:
    touch(fails)


def look() -> list[Any]:
    return [tenant.get(), str(1 / decimal.Decimal(3)), structlog.contextvars.get_contextvars()]


CLEAN: list[Any] = ["nobody", "0.3333333333333333333333333333", {}]
DIRTY: list[Any] = ["acme", "0.333", {"customer": "acme"}]


@pytest.mark.parametrize("timeout", [None, 30])
@pytest.mark.parametrize("function", [touch, touch_later])
def test_a_context_is_of_one_job(
    app: App, execute: Run, function: Any, timeout: float | None, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}

    def around(current: Any, fields: Any, queue: str, call_next: Callable[[], Any]) -> Any:
        tenant.set("middleware")
        try:
            return call_next()
        finally:
            seen["middleware"] = look()

    made = app.job(name="engine.Touch", timeout=timeout)(function)
    app.job(name="engine.Look", timeout=timeout)(lambda: ran.append(look()))

    async def look_later() -> None:
        ran.append(look())

    app.job(name="engine.LookLater", timeout=timeout)(look_later)
    app.error_handlers.append(lambda *_: seen.update(handler=look()))
    app.server_middleware.add(around)
    for fails in (False, True):
        execute(payload("Touch", fails, jid=f"touch-{fails}"))
        app.server_middleware.clear()
        execute(payload("Look"))
        execute(payload("LookLater"))
        app.server_middleware.add(around)
    assert list(ran) == [CLEAN] * 4
    assert seen == {"middleware": DIRTY, "handler": DIRTY}
    [line] = [line for line in capfd.readouterr().err.splitlines() if "job_failed" in line]
    assert "customer=acme" in line
    made.perform_inline(False)
    with pytest.raises(ValueError, match=r"^$"):
        made.perform_inline(True)
    assert look() == CLEAN


def test_in_place_a_job_does_not_see_the_context_of_its_caller_but_client_middleware_does(
    app: App,
) -> None:
    def carry(name: str, fields: dict[str, Any], queue: str, call_next: Callable[[], Any]) -> Any:
        ran.append(tenant.get())
        return call_next()

    def inside() -> None:
        touch(False)
        assert app.job(name="engine.Look")(look).perform_inline() == CLEAN
        assert look() == DIRTY

    app.client_middleware.add(carry)
    contextvars.Context().run(inside)
    assert list(ran) == ["acme"]


# --- what a job leaves ---------------------------------------------------------------------------


class Large:
    """What a job has in its hands."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("timeout", [None, 30])
@pytest.mark.parametrize(
    "how", ["raise", "return", "cause", "group", "timeout", "future", "task", "exit", "cancel"]
)
@pytest.mark.parametrize("is_async", [False, True])
def test_nothing_of_a_job_that_has_ended_stays(
    app: App, execute: Run, no_collector: None, how: str, is_async: bool, timeout: float | None
) -> None:
    left: list[weakref.ref[Large]] = []

    def body() -> Any:
        data = Large()
        left.append(weakref.ref(data))
        match how:
            case "raise":
                raise ValueError
            case "cause":
                try:
                    raise KeyError
                except KeyError as error:
                    raise ValueError from error
            case "group":
                raise ExceptionGroup("group", [ValueError()])
            case "timeout":
                raise JobTimeout
            case "exit":
                raise SystemExit
            case "cancel":
                raise asyncio.CancelledError
        return data

    async def later() -> Any:
        data = Large()
        left.append(weakref.ref(data))
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0)
        if how == "task":
            task = loop.create_task(asyncio.sleep(0))
            await task
        if how == "future":
            return loop.create_future().set_result(data)
        return body()

    app.job(name="engine.Large", timeout=timeout, backtrace=True)(later if is_async else body)
    execute(payload("Large", retry=5))
    assert left
    assert [each() for each in left] == [None] * len(left)
    assert not hasattr(sys, "last_exc")


# --- the threads --------------------------------------------------------------------------------


def test_every_way_to_end_in_one_running_engine(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    @app.job(name="engine.Bad")
    def bad() -> None:
        raise ValueError("why")

    @app.job(name="engine.Leave")
    def leave() -> None:
        raise SystemExit(3)

    with engine(server.url, app=app) as one:
        push(redis, "default", payload("Bad", retry=True), payload("Leave", retry=0))
        push(redis, "default", payload("Bad", retry=False), b"no json", payload("Note", 1))
        until(lambda: processed(redis) == 4, "they all ended")
        until(lambda: one.fetcher.holding == 0 and redis.zcard(KEYS.dead) == 2, "the last as well")
        assert failed(redis) == 3
        assert redis.zcard(KEYS.retry) == 1
        assert list(ran) == [1]
        assert one.page.words[2] >= 4


def test_the_scoreboard_shows_what_has_started(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    gate("shown")
    with engine(server.url, threads=3) as one:
        push(redis, "default", payload("Hold", "shown"), payload("Hold", "shown"))
        until(lambda: len(held) == 2, "both run")
        running = one.page.running()
        tags: Any = redis.hkeys(KEYS.inflight("host:1:engine"))
        assert sorted(entry.sequence for entry in running) == sorted(
            int(tag.partition(b":")[0]) for tag in tags
        )
        idents = {thread.ident for thread in threading.enumerate()}
        assert all(entry.thread_ident in idents for entry in running)
        now = time.monotonic_ns()
        assert all(0 <= now - entry.started < 60e9 for entry in running)
        assert len(one.pool.working()) == 2
        gates["shown"].set()
        until(lambda: not one.page.running(), "nothing runs")


def test_jobs_that_do_not_end_are_interrupted_after_they_were_given_back(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    cleaned = threading.Event()

    @app.job(name="engine.Busy")
    def busy() -> None:
        held.append("busy")
        try:
            while True:
                time.sleep(0.01)
        except Exception:  # noqa: BLE001 - what many jobs do
            ran.append("swallowed")
        finally:
            cleaned.set()

    @app.job(name="engine.BusyToo")
    async def busy_too() -> None:
        held.append("busy too")
        await asyncio.sleep(60)

    raws = [payload("Busy"), payload("BusyToo")]
    with engine(server.url, threads=2, app=app) as one:
        push(redis, "default", *raws)
        until(lambda: len(held) == 2, "both run")
        assert one.fetcher.surrender(5)
        one.pool.interrupt()
        one.tasks.interrupt()
        assert one.pool.ended(5)
        assert one.tasks.ended(5)
        assert cleaned.is_set()
        assert not ran
    assert waiting(redis) == raws
    assert (processed(redis), failed(redis)) == (2, 2)
    assert not redis.exists(KEYS.retry)
    assert not redis.zcard(KEYS.owners)


def test_interrupting_a_thread_whose_job_has_just_ended_does_not_wait_for_it(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    gate("just")
    with engine(server.url, threads=1) as one:
        push(redis, "default", payload("Hold", "just"))
        until(lambda: held, "it runs")
        one.fetcher.surrender(5)
        [thread] = one.pool._threads
        gates["just"].set()
        until(lambda: not one.pool.working(), "it ended")
        thread.job = Claimed(1, "default", b"{}")  # as it was when the threads were looked at
        timer = threading.Timer(0.05, lambda: setattr(thread, "job", None))
        timer.start()
        began = time.monotonic()
        one.pool.interrupt()
        assert one.pool.ended(10)
        assert time.monotonic() - began < 5
        timer.join()
