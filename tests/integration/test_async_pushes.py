"""Pushes from coroutines: the same jobs, checks and errors, on any event loop."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis as redis_py

from jobd import App, ArgumentError, Client, Job, RefusedError, UnavailableError
from jobd.testing import EmbeddedServer
from jobd.wire import pushed
from tests.support.daemon import wait
from tests.support.engine import connections

Next = Callable[[], Any]
AsyncNext = Callable[[], Awaitable[Any]]


@pytest.fixture
def f(app: App) -> Any:
    @app.job(name="async.f", queue="low", retry=3)
    def f(value: Any = None, *, other: int = 0) -> Any:
        return value

    return f


def queued(redis: redis_py.Redis, queue: str = "low") -> list[dict[str, Any]]:
    found: Any = redis.lrange(f"queue:{queue}", 0, -1)
    return [json.loads(raw) for raw in found][::-1]


def scheduled(redis: redis_py.Redis) -> list[tuple[dict[str, Any], float]]:
    found: Any = redis.zrange("schedule", 0, -1, withscores=True)
    return [(json.loads(raw), score) for raw, score in found]


VOLATILE = ("jid", "created_at", "enqueued_at")


def lasting(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in VOLATILE}


def test_a_push_stores_what_the_synchronous_one_does(
    app: App, f: Any, redis: redis_py.Redis
) -> None:
    class Pack(Job, app=app, name="async.Pack", queue="low"):
        def perform(self, article: str) -> None: ...

    def sync() -> list[Any]:
        one = f.perform_async(1, other=2), f.perform_in(60, 2), f.perform_at(7200, 3)
        many = f.perform_bulk([[4], [5]]), f.set(queue="low", retry=1).perform_async(6)
        more = Pack.perform_async("x"), Pack.perform_bulk([["y"]]), Pack.perform_in(60, "z")
        return [*one, *many, *more, app.client.push({"class": "R", "args": [7], "queue": "low"})]

    async def later() -> list[Any]:
        return [
            await f.aperform_async(1, other=2),
            await f.aperform_in(60, 2),
            await f.aperform_at(7200, 3),
            await f.aperform_bulk([[4], [5]]),
            await f.set(queue="low", retry=1).aperform_async(6),
            await Pack.aperform_async("x"),
            await Pack.aperform_bulk([["y"]]),
            await Pack.aperform_in(60, "z"),
            await app.client.apush({"class": "R", "args": [7], "queue": "low"}),
        ]

    found = []
    for push in (sync, lambda: asyncio.run(later())):
        redis.flushall()
        before = time.time()
        jids = push()
        assert [type(jid) for jid in jids] == [str, str, str, list, str, str, list, str, str]
        pushed_now, due = queued(redis), scheduled(redis)
        assert redis.smembers("queues") == {b"low"}
        assert all(before <= one["enqueued_at"] <= time.time() for one in pushed_now)
        at = [round((score - before) / 10) for _, score in due]
        names = [list(one) for one in pushed_now]
        found.append((list(map(lasting, pushed_now)), [lasting(one) for one, _ in due], at, names))
    assert found[0] == found[1]


def test_the_checks_and_the_errors_are_the_same(app: App, f: Any, server: EmbeddedServer) -> None:
    async def push(*args: Any, **kwargs: Any) -> None:
        await f.aperform_async(*args, **kwargs)

    for args in (({1},), (1, 2)):
        with pytest.raises(ArgumentError) as expected:
            f.perform_async(*args)
        with pytest.raises(ArgumentError) as got:
            asyncio.run(push(*args))
        assert str(got.value) == str(expected.value)
    with pytest.raises(ArgumentError) as expected:
        f.perform_bulk([[1], 5])
    with pytest.raises(ArgumentError) as got:
        asyncio.run(f.aperform_bulk([[1], 5]))
    assert str(got.value) == str(expected.value)


def test_where_redis_is_not_the_error_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = Client(f"redis://127.0.0.1:{port}/0")
    item = {"class": "A", "args": []}
    with pytest.raises(UnavailableError) as expected:
        client.push(item)
    with pytest.raises(UnavailableError) as got:
        asyncio.run(client.apush(item))
    assert "did not take the job" in str(got.value)
    assert str(got.value).partition("Error")[0] == str(expected.value).partition("Error")[0]


def test_a_refusal_is_one(app: App, f: Any, redis: redis_py.Redis) -> None:
    redis.set("queue:low", "no list")
    with pytest.raises(RefusedError, match="refused the push: WRONGTYPE"):
        asyncio.run(f.aperform_async(1))


def test_a_server_that_does_not_answer_leaves_it_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = Client(f"redis://127.0.0.1:{port}/0?socket_timeout=0.2")

        async def main() -> None:
            with pytest.raises(UnavailableError):
                await client.apush({"class": "A", "args": []})

        asyncio.run(main())


def test_many_at_once_share_few_connections(app: App, f: Any, redis: redis_py.Redis) -> None:
    async def main() -> None:
        jids = await asyncio.gather(*[f.aperform_async(n) for n in range(500)])
        assert len(set(jids)) == 500
        clients: Any = redis.info("clients")
        assert clients["connected_clients"] <= 60

    asyncio.run(main())
    assert sorted(one["args"][0] for one in queued(redis)) == list(range(500))


# redis-py 5.2 complains when it forgets those of a loop that is closed.
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <function AbstractConnection.__del__"
    ":pytest.PytestUnraisableExceptionWarning"
)
def test_each_loop_has_connections_of_its_own_and_leaves_none(
    app: App, f: Any, redis: redis_py.Redis
) -> None:
    async def main(value: int) -> None:
        await asyncio.gather(*[f.aperform_async(value) for _ in range(5)])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = connections(redis)
        for value in range(3):
            asyncio.run(main(value))
        threads = [threading.Thread(target=asyncio.run, args=(main(n),)) for n in range(3, 6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(queued(redis)) == 30
        deadline = time.monotonic() + 5
        while connections(redis) - before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not connections(redis) - before
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main(7))
    loop.close()  # without shutdown_asyncgens: its connections are forgotten
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.run(main(8))
        del loop
        gc.collect()
    assert len(app.client._aown()._pools) <= 1


def test_a_client_that_is_closed_leaves_no_connection_and_can_be_used_again(
    app: App, f: Any, redis: redis_py.Redis
) -> None:
    before = connections(redis)

    async def main() -> None:
        for value in range(2):
            f.perform_async(value)
            await asyncio.gather(*(f.aperform_async(value) for _ in range(3)))
            assert len(connections(redis) - before) > 1
            await app.client.aclose()
            await asyncio.to_thread(
                wait, lambda: connections(redis) <= before, 10, "the server has seen them close"
            )

    asyncio.run(main())
    assert len(queued(redis)) == 8
    app.client.close()
    given = Client(redis=redis)
    given.close()
    assert redis.ping()


def test_a_connection_that_the_server_has_closed_is_replaced(
    app: App, f: Any, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobd.store import async_enqueue

    monkeypatch.setattr(async_enqueue, "IDLE", 0.01)

    async def main() -> None:
        await f.aperform_async(1)
        pool = app.client._aown()._pool
        pool._idle_limit = 0.01
        untyped: Any = redis
        untyped.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await asyncio.sleep(0.05)
        await f.aperform_async(2)

    asyncio.run(main())
    assert [one["args"] for one in queued(redis)] == [[1], [2]]


def test_a_cancelled_push_breaks_no_other(app: App, f: Any, redis: redis_py.Redis) -> None:
    async def main() -> None:
        for n in range(50):
            task = asyncio.create_task(f.aperform_async(n))
            await asyncio.sleep(0)
            if n % 2:
                await asyncio.sleep(0.0001 * (n % 7))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            jid = await f.aperform_async("kept")
            assert queued(redis)[-1]["jid"] == jid
        # Connections that cancelled pushes have begun to make.
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    asyncio.run(main())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
def test_a_forked_process_begins_without_connections(
    app: App, f: Any, redis: redis_py.Redis
) -> None:
    async def main() -> int:
        await f.aperform_async("parent")
        if (pid := os.fork()) == 0:
            code = 1
            try:
                thread = threading.Thread(target=lambda: asyncio.run(f.aperform_async("child")))
                thread.start()
                thread.join(30)
                code = 0
            finally:
                os._exit(code)
        await f.aperform_async("parent")
        return pid

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pid = asyncio.run(main())
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert sorted(one["args"][0] for one in queued(redis)) == ["child", "parent", "parent"]


# --- middleware ----------------------------------------------------------------------------------


def test_client_middleware_may_be_of_both_kinds(app: App, f: Any, redis: redis_py.Redis) -> None:
    order: list[str] = []

    def plain(number: int) -> Any:
        def middleware(name: str, fields: dict[str, Any], queue: str, call_next: Next) -> Any:
            order.append(f"plain {number}")
            fields[f"plain{number}"] = queue
            return call_next()

        return middleware

    async def awaits(name: str, fields: dict[str, Any], queue: str, call_next: AsyncNext) -> Any:
        order.append("awaits")
        await asyncio.sleep(0)
        fields["awaits"] = name
        return await call_next()

    app.client_middleware.add(plain(1))
    app.client_middleware.add(awaits)
    app.client_middleware.add(plain(2))
    with pytest.raises(ArgumentError, match=r"awaits is async, so only aperform_async"):
        f.perform_async(1)
    with pytest.raises(ArgumentError, match="aperform_async"):
        f.perform_bulk([[1]])
    order.clear()
    jid = asyncio.run(f.aperform_async(1))
    assert order == ["plain 1", "awaits", "plain 2"]
    [fields] = queued(redis)
    assert (fields["jid"], fields["awaits"]) == (jid, "async.f")
    assert (fields["plain1"], fields["plain2"]) == ("low", "low")
    asyncio.run(f.aperform_bulk([[1], [2]], at=60))
    assert len(scheduled(redis)) == 2
    assert all("at" not in one for one, _ in scheduled(redis))


def test_async_middleware_may_stop_a_push(app: App, f: Any, redis: redis_py.Redis) -> None:
    async def stop(name: str, fields: dict[str, Any], queue: str, call_next: AsyncNext) -> Any:
        return None if fields["args"] == [1] else await call_next()

    app.client_middleware.add(stop)
    assert asyncio.run(f.aperform_async(1)) is None
    first, second = asyncio.run(f.aperform_bulk([[1], [2]]))
    assert first is None
    assert queued(redis)[0]["jid"] == second


def test_inline_runs_middleware_of_both_kinds(app: App, f: Any) -> None:
    async def around(job: Any, fields: Any, queue: str, call_next: AsyncNext) -> Any:
        await asyncio.sleep(0)
        return await call_next()

    async def later(value: int) -> int:
        await asyncio.sleep(0)
        return value

    app.server_middleware.add(around)
    app.server_middleware.add(lambda job, fields, queue, call_next: call_next())
    assert f.perform_inline(5) == 5
    assert app.job(name="async.later")(later).perform_inline(6) == 6


# --- warnings ------------------------------------------------------------------------------------


def test_awaiting_the_wrong_one_names_the_right_one(f: Any) -> None:
    pushed._warned = False

    async def main() -> None:
        await f.perform_async(1)
        await f.perform_async(2)

    with pytest.warns(RuntimeWarning) as told:
        asyncio.run(main())
    [one] = [each for each in told if "not a coroutine" in str(each.message)]
    assert "await aperform_async" in str(one.message)
    assert one.filename == __file__


def test_a_push_that_blocks_a_loop_for_long_is_warned_about_with_its_place(
    app: App, f: Any
) -> None:
    def slow(name: str, fields: Any, queue: str, call_next: Next) -> Any:
        time.sleep(0.06)
        return call_next()

    app.client_middleware.add(slow)
    line = sys._getframe().f_lineno + 3

    async def main() -> None:
        f.perform_async(1)
        await asyncio.to_thread(f.perform_async, 1)

    with pytest.warns(RuntimeWarning, match="blocked the event loop for more than 50 ms") as told:
        asyncio.run(main())
    assert [(each.filename, each.lineno) for each in told] == [(__file__, line)]
