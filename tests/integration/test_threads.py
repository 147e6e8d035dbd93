"""No payload and no exception ends a job thread; and if something does, its job is not lost."""

from __future__ import annotations

import asyncio
import concurrent.futures
import ctypes
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis as redis_py

import jobd
from jobd import errors
from jobd.jobs.app import App
from jobd.jobs.job_class import Job
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support.engine import KEYS, engine, failed, payload, processed, push, ran, until


@pytest.fixture(autouse=True)
def clean() -> None:
    ran.clear()


@pytest.fixture
def app() -> App:
    return App()


# --- exceptions ----------------------------------------------------------------------------------


def broken(how: type[BaseException]) -> property:
    def get(_: object) -> Any:
        raise how

    return property(get)


def endless(self: object) -> Any:
    return str(self)


class Text(str):
    def __getitem__(self, key: Any) -> Any:
        raise ValueError

    encode = __format__ = __getitem__  # type: ignore[assignment]


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        raise SystemExit(name)


def kind(_name: str, base: type[BaseException] = Exception, **members: Any) -> type[BaseException]:
    return type(_name, (base,), members)


class Sealed(Exception):
    """Its own properties cannot be set."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)

    def with_traceback(self, _: object) -> Any:
        raise AttributeError


class Everything(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise KeyError(name)


def nameless() -> BaseException:
    class Nameless(Exception, metaclass=Meta):
        pass

    return Nameless()


def cycle() -> BaseException:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__cause__ = second, first
    return first


def chain(length: int) -> BaseException:
    error = ValueError("the first")
    for _ in range(length):
        new = ValueError("another")
        new.__cause__, error = error, new
    return error


def nested_group() -> BaseException:
    error: BaseException = jobd.Shutdown()
    for _ in range(300):
        error = BaseExceptionGroup("group", [error])
    return error


def caused_by(error: BaseException) -> BaseException:
    made = ValueError("because of")
    made.__cause__ = error
    return made


RAISED: dict[str, Callable[[], BaseException]] = {
    **{
        each.__name__: each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, BaseException)
    },
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "StopIteration": lambda: StopIteration(5),
    "StopAsyncIteration": StopAsyncIteration,
    "asyncio.CancelledError": asyncio.CancelledError,
    "futures.CancelledError": concurrent.futures.CancelledError,
    "MemoryError": MemoryError,
    "RecursionError": RecursionError,
    "caused by Shutdown": lambda: caused_by(jobd.Shutdown()),
    "group with Shutdown": lambda: BaseExceptionGroup("group", [jobd.Shutdown(), ValueError()]),
    "nested group": nested_group,
    "cycle of causes": cycle,
    "long chain of causes": lambda: chain(5000),
    "str quits": lambda: kind("Quits", __str__=lambda _: exec("raise SystemExit"))(),
    "str interrupts": lambda: kind("Stops", __str__=lambda _: exec("raise KeyboardInterrupt"))(),
    "str shuts down": lambda: kind("Shuts", __str__=broken(jobd.Shutdown))(),
    "str without memory": lambda: kind("Full", __str__=broken(MemoryError))(),
    "str recurses": lambda: kind("Endless", __str__=endless, __repr__=endless)(),
    "str is odd": lambda: kind("Says", __str__=lambda _: Text("something"))(),
    "str is no text": lambda: kind("Number", __str__=lambda _: 5, __repr__=lambda _: None)(),
    "str is huge": lambda: kind("Huge", __str__=lambda _: "x" * 30_000_000)(),
    "str is no Unicode": lambda: ValueError("half \ud83d"),
    "class raises": lambda: kind("Classless", __class__=broken(ValueError))(),
    "class quits": lambda: kind("Classless2", __class__=broken(SystemExit))(),
    "traceback raises": lambda: kind("Untraced", __traceback__=broken(SystemExit))(),
    "traceback is odd": lambda: kind("Traced", __traceback__=5)(),
    "cause raises": lambda: kind("Causeless", __cause__=broken(SystemExit))(),
    "context raises": lambda: kind("Free", __context__=broken(KeyboardInterrupt))(),
    "notes raise": lambda: kind("Noted", __notes__=broken(SystemExit))(),
    "notes are odd": lambda: kind("Noted2", __notes__=[5, None, Text("x")])(),
    "args raise": lambda: kind("Mute", args=broken(SystemExit))(),
    "sealed": Sealed,
    "every attribute raises": Everything,
    "nameless": nameless,
    "module is odd": lambda: kind("Stray", __module__=5)(),
    "module raises": lambda: kind("Stray2", __module__=Text("x"))(),
    "name is no Unicode": lambda: kind("Half\ud83d")(),
    "name is huge": lambda: kind("N" * 1_000_000)(),
    "group is odd": lambda: kind("Group", BaseExceptionGroup, exceptions=broken(SystemExit))(
        "group", [ValueError()]
    ),
    "timeout is odd": lambda: kind("Late", errors.JobTimeout, args=broken(SystemExit))(),
    "syntax error is odd": lambda: SyntaxError("x", (None, -6, 10**9, "\ud83d")),
    "unicode error": lambda: UnicodeDecodeError("\ud83d", b"\xff", 0, 1, "\ud83d"),
}
"""Each makes an exception that a job may raise."""


def fail_in(function: Callable[[], BaseException]) -> Any:
    def fail(*_: Any) -> Any:
        raise function()

    return fail


@pytest.fixture
def threads_live(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> Iterator[Callable[[list[bytes]], None]]:
    """Run payloads, none of which may succeed, and see that the threads are the same after it."""
    with engine(server.url, threads=2, app=app) as one:

        def run(raws: list[bytes]) -> None:
            threads = list(one.pool._threads)
            push(redis, "default", *raws)

            def kept() -> int:
                counts: Any = redis.zcard(KEYS.retry), redis.zcard(KEYS.dead)
                return sum(counts)

            until(lambda: kept() == len(raws), "they have ended", 120)
            assert all(thread.is_alive() for thread in threads)
            assert threads == one.pool._threads
            push(redis, "default", payload("Note", 1), payload("Note", 2))
            until(lambda: sorted(ran) == [1, 2], "they work on")

        yield run


How = Callable[[App, str, Callable[[], BaseException]], object]


def in_function(app: App, name: str, make: Callable[[], BaseException]) -> None:
    app.job(name=name)(fail_in(make))


def in_coroutine(app: App, name: str, make: Callable[[], BaseException]) -> None:
    async def fail() -> None:
        raise make()

    app.job(name=name)(fail)


def in_time(app: App, name: str, make: Callable[[], BaseException]) -> None:
    app.job(name=name, timeout=60, backtrace=True)(fail_in(make))


def coroutine_in_time(app: App, name: str, make: Callable[[], BaseException]) -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise make()

    app.job(name=name, timeout=60)(fail)


def in_class(app: App, name: str, make: Callable[[], BaseException]) -> None:
    type(
        "Raises",
        (Job,),
        {"__init__": fail_in(make), "perform": lambda self: None},
        name=name,
        app=app,
    )


def in_retry_in(app: App, name: str, make: Callable[[], BaseException]) -> None:
    app.job(name=name, retry_in=fail_in(make))(fail_in(make))


def in_on_exhausted(app: App, name: str, make: Callable[[], BaseException]) -> None:
    app.job(name=name, retry=0, on_exhausted=fail_in(make))(fail_in(make))


@pytest.mark.parametrize(
    "how",
    [
        *(in_function, in_coroutine, in_time, coroutine_in_time),
        *(in_class, in_retry_in, in_on_exhausted),
    ],
)
def test_no_exception_ends_a_thread(
    app: App, threads_live: Callable[[list[bytes]], None], redis: redis_py.Redis, how: How
) -> None:
    for name, make in RAISED.items():
        how(app, f"engine.{name}", make)
    extra = {"retry": 0} if how is in_on_exhausted else {}
    threads_live([payload(name, jid=name, **extra) for name in RAISED])
    assert failed(redis) == len(RAISED)
    kept: list[Any] = [*redis.zrange(KEYS.retry, 0, -1), *redis.zrange(KEYS.dead, 0, -1)]
    assert {json.loads(raw)["jid"] for raw in kept} == set(RAISED)
    assert all(json.loads(raw)["error_class"] for raw in kept)
    assert redis.zcard(KEYS.dead) == (len(RAISED) if how is in_on_exhausted else 0)


@pytest.mark.parametrize("where", ["middleware", "error handler", "death handler"])
def test_nor_does_one_in_other_code_of_the_application(
    app: App, threads_live: Callable[[list[bytes]], None], where: str
) -> None:
    def fail(*about: Any) -> None:
        fields = next((each for each in about if isinstance(each, dict)), {})
        raise RAISED[fields.get("job", fields)["jid"]]()

    @app.job(name="engine.Fails")
    def fails() -> None:
        raise ValueError

    def around(current: Any, fields: Any, queue: str, call_next: Callable[[], Any]) -> Any:
        return fail(fields) if current.name == "engine.Fails" else call_next()

    match where:
        case "middleware":
            app.server_middleware.add(around)
        case "error handler":
            app.error_handlers.append(fail)
        case _:
            app.death_handlers.append(fail)
    threads_live([payload("Fails", jid=name, retry=0) for name in RAISED])


# --- payloads ------------------------------------------------------------------------------------

DEEP = {depth: b"[" * depth + b"]" * depth for depth in (90, 300, 450, 490, 900, 985, 1500, 5000)}
DEEP |= {depth: b"[" * depth + b"]" * depth for depth in (9_990, 20_000, 200_000)}
FIELDS = b'{"class":"engine.Fails","jid":"%s","args":%s,"retry":%s%s}'
PAYLOADS = [
    *(FIELDS % (b"a", deep, b"true", b"") for deep in DEEP.values()),
    *(FIELDS % (b"b", b"[" + deep + b"]", b"0", b"") for deep in DEEP.values()),
    *(FIELDS % (b"c", b"[1]", b"true", b',"x":' + deep) for deep in DEEP.values()),
    *(FIELDS % (b"d", b"[1]", b"true", b',"failed_at":' + deep) for deep in DEEP.values()),
    *(b'{"class":"engine.None","args":' + deep + b"}" for deep in DEEP.values()),
    *(b'{"a":' * depth + b"1" + b"}" * depth for depth in DEEP),
    *(b'{"class":' + deep + b',"args":[]}' for deep in DEEP.values()),
    *(b'{"class":"engine.Fails","args":[],"jid":' + deep + b"}" for deep in DEEP.values()),
    *(b"", b"null", b"[", b'"', b"{", b"\x00", b"\xff" * 100, b"5" * 100_000),
    FIELDS % (b"e", b"[1]", b"true", b',"x":1e999'),
    FIELDS % (b"f", b"[1]", b"1" * 5000, b""),
    FIELDS % (b"g", b"[1]", b"1" * 400, b',"retry_count":' + b"9" * 400),
    FIELDS % (b"h", b"[1]", b"true", b',"retry_for":{},"failed_at":[],"retry_count":3'),
    FIELDS % (b"i", b"[1]", b"[]", b',"queue":5,"retry_queue":{"a":1},"backtrace":"x"'),
    FIELDS % (b"j", b"[1]", b"true", b',"dead":[],"tags":5,"error_message":5,"crashes":"x"'),
    FIELDS % (b"k" * 1_000_000, b"[1]", b"true", b""),
    FIELDS % (b"l", b"[1]", b"true", b',"created_at":"x","enqueued_at":{},"failed_at":1e308'),
    b'{"class":"' + b"c" * 1_000_000 + b'","args":[]}',
]


def test_no_payload_ends_a_thread(app: App, threads_live: Callable[[list[bytes]], None]) -> None:
    @app.job(name="engine.Fails", retry_in=lambda *_: 5, on_exhausted=lambda *_: None)
    def fails(*_: Any) -> None:
        raise ValueError

    # Each is a member of a set: those that are alike in every byte would be one.
    threads_live([raw + b" " * number for number, raw in enumerate(PAYLOADS)])


# --- a thread that ends all the same -------------------------------------------------------------

MORTAL = """
import ctypes, os, threading
from jobd import job

@job(retry=5)
def vanish():
    SYS_exit = {"x86_64": 60, "aarch64": 93}[os.uname().machine]
    ctypes.CDLL(None).syscall(SYS_exit, 0)  # ends this thread, behind the back of Python

@job
def ok(): pass
"""


def test_a_thread_that_has_ended_is_replaced_and_its_job_settled(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    if os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip("the number of the system call is not known here")
    assert ctypes.CDLL(None).syscall
    running = daemon(MORTAL, "-c", "1")
    running.expect_in_log("job_thread_ended")
    (worker,) = running.workers()
    jid = jobd.Client(running.url).push({"class": "app.vanish", "args": []})
    jobd.Client(running.url).push({"class": "app.ok", "args": []})
    running.wait(lambda: processed(redis) == 2, 20, "both have ended")
    dead: Any = redis.zrange("dead", 0, -1)
    [kept] = dead
    assert json.loads(kept)["jid"] == jid
    assert "its thread has ended" in json.loads(kept)["error_message"]
    [said] = [record for record in running.records() if record["event"] == "job_thread_ended"]
    assert (said["level"], said["jid"], said["class"]) == ("error", jid, "app.vanish")
    assert running.workers() == [worker]
    assert not redis.keys("jobd:inflight:*")
    assert running.stop() == 0
