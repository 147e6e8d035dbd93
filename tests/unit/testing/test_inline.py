"""``inline()``: a push runs the job, from the stored bytes and as a worker would."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from jobd import App, ArgumentError, JobdError, UnknownJobError, current_job
from jobd.testing import Jobs, NoRedisError, inline

done: list[Any] = []


def note(value: Any) -> None:
    done.append(value)


@pytest.fixture(autouse=True)
def without_django(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where other tests have loaded it, coroutines would run in its threads."""
    monkeypatch.delitem(sys.modules, "django.db", raising=False)


@pytest.fixture
def app() -> App:
    app = App()
    app.configure("redis://127.0.0.1:1/0")  # nothing listens there
    done.clear()
    return app


@pytest.fixture
def jobs(app: App) -> Iterator[Jobs]:
    with inline() as jobs:
        yield jobs


def test_a_push_runs_the_job_and_returns_its_id(app: App, jobs: Jobs) -> None:
    @app.job(name="Look", queue="low")
    def look(given: list[int]) -> None:
        given.append(2)
        done.append((current_job().jid, current_job().queue))

    given = [1]
    jid = look.perform_async(given)
    assert done == [(jid, "low")]
    assert given == [1]
    assert not jobs
    jobs.assert_pushed(look, [1], queue="low")


def test_everything_runs_at_once_in_its_order(app: App, jobs: Jobs) -> None:
    add = app.job(name="Add")(note)
    add.perform_async(1)
    add.perform_in(3600, 2)
    add.perform_bulk([[3], [4]], at=[90, 60])
    add.set(keep_result=60).perform_in(60, 5)
    app.client.push({"class": "Add", "args": [6]})
    assert done == [1, 2, 3, 4, 5, 6]
    jobs.assert_pushed(add, 2, in_=3600)


def test_jobs_that_jobs_push_run_inside_them(app: App, jobs: Jobs) -> None:
    @app.job(name="Count")
    def count(left: int) -> None:
        if left:
            count.perform_async(left - 1)
        done.append(left)

    count.perform_async(2)
    assert done == [0, 1, 2]


def test_what_the_job_raises_is_raised_by_the_push(app: App, jobs: Jobs) -> None:
    @app.job(name="Break", unique=True)
    def broken(n: int) -> None:
        raise LookupError(n)

    for _ in range(2):  # its lock is free again
        with pytest.raises(LookupError):
            broken.perform_async(1)
    assert not jobs


def test_what_a_push_refuses_is_refused_before_it_runs(app: App, jobs: Jobs) -> None:
    with pytest.raises(ArgumentError, match="argument value is of type bytes"):
        app.job(name="Add")(note).perform_async(b"1")
    assert not done


def test_a_unique_job_does_not_run_inside_itself(app: App, jobs: Jobs) -> None:
    @app.job(name="Step", unique=True, on_conflict="again", unique_by="key")
    def step(key: int, n: int) -> None:
        done.append(n)
        if n < 3:
            step.perform_async(key, n + 1)
            done.append("after")

    step.perform_async(1, 1)
    assert done == [1, "after", 2, "after", 3]
    assert step.unique_holder(1, 1) is None


def test_server_middleware_runs_or_is_left_out(app: App) -> None:
    def around(job: Any, payload: Any, queue: str, call: Any) -> Any:
        done.append("around")
        return call()

    app.server_middleware.add(around)
    add = app.job(name="Add")(note)
    with inline():
        add.perform_async(1)
    with inline(server_middleware=False):
        add.perform_async(2)
    assert done == ["around", 1, 2]


def test_an_async_job_runs_to_its_end_wherever_it_is_pushed(app: App, jobs: Jobs) -> None:
    @app.job(name="Later")
    async def later(n: int) -> None:
        await asyncio.sleep(0)
        done.append((n, current_job().name, threading.current_thread().name, loop_id()))

    def loop_id() -> int:
        return id(asyncio.get_running_loop())

    later.perform_async(1)

    async def inside() -> int:
        later.perform_async(2)
        await later.aperform_async(3)
        await later.aperform_in(60, 4)
        await later.set(unique=True).aperform_async(5)
        return loop_id()

    loop = asyncio.run(inside())
    main = threading.current_thread().name
    assert [each[:2] for each in done] == [(n, "Later") for n in (1, 2, 3, 4, 5)]
    assert done[0][2] == main
    assert done[1][2] != main
    assert [each[2:] for each in done[2:]] == [(main, loop)] * 3


def test_a_plain_job_does_not_block_the_loop_that_waits_for_it(app: App, jobs: Jobs) -> None:
    going = threading.Event()

    @app.job(name="Wait")
    def wait() -> None:
        assert going.wait(30)
        asyncio.run(asyncio.sleep(0))  # as in a worker, no loop is running in its thread
        done.append("done")

    async def push() -> None:
        await asyncio.gather(wait.aperform_async(), let_go())

    async def let_go() -> None:
        going.set()

    asyncio.run(push())
    assert done == ["done"]


def test_async_middleware_of_both_sides(app: App, jobs: Jobs) -> None:
    async def client(name: str, payload: Any, queue: str, call: Any) -> Any:
        done.append("client")
        return await call()

    async def server(job: Any, payload: Any, queue: str, call: Any) -> Any:
        done.append("server")
        return await call()

    app.server_middleware.add(server)
    add = app.job(name="Add")(note)
    add.perform_async(1)
    app.client_middleware.add(client)

    async def push() -> None:
        await add.aperform_async(2)

    asyncio.run(push())
    assert done == ["server", 1, "client", "server", 2]


def test_what_an_async_job_raises(app: App, jobs: Jobs) -> None:
    @app.job(name="Break")
    async def broken() -> None:
        raise LookupError("broken")

    async def push() -> None:
        with pytest.raises(LookupError):
            broken.perform_async()
        with pytest.raises(LookupError):
            await broken.aperform_async()

    asyncio.run(push())
    with pytest.raises(LookupError):
        broken.perform_async()


def test_the_context_of_the_push_is_not_that_of_the_job(app: App, jobs: Jobs) -> None:
    from contextvars import ContextVar

    variable: ContextVar[str] = ContextVar("variable", default="unset")
    look = app.job(name="Look")(lambda: done.append(variable.get()))

    @app.job(name="ALook")
    async def alook() -> None:
        done.append(variable.get())
        variable.set("of the job")

    async def push() -> None:
        variable.set("of the push")
        look.perform_async()
        await alook.aperform_async()
        assert variable.get() == "of the push"

    asyncio.run(push())
    assert done == ["unset", "unset"]
    with pytest.raises(JobdError, match="outside a job"):
        current_job()


def test_a_job_of_another_program_and_what_needs_redis(app: App, jobs: Jobs) -> None:
    with pytest.raises(UnknownJobError, match="fake"):
        app.client.push({"class": "Invoice", "args": []})
    with pytest.raises(NoRedisError, match=r"inline\(\) has replaced"):
        app.client.redis.ping()
