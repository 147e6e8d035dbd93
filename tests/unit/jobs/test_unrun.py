"""Functions that an application gives us: what would not run is refused, or reported."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import Context
from typing import Any

import pytest
import redis as redis_py

from jobd import App, Job
from jobd.errors import ArgumentError, JobdError, NotRunError
from jobd.jobs.middleware import Chain
from jobd.jobs.unrun import finished, refuse_lazy, refuse_unrun
from jobd.testing import EmbeddedServer
from tests.support.engine import Engine, payload


@pytest.fixture
def app() -> App:
    return App()


async def coroutine(*_: Any, **__: Any) -> None: ...


def generator(*_: Any, **__: Any) -> Iterator[int]:
    yield 1


async def generator_too(*_: Any, **__: Any) -> AsyncIterator[int]:
    yield 1


class Odd:
    async def __call__(self, *_: Any) -> None: ...

    async def method(self, *_: Any) -> None: ...

    @classmethod
    async def of_class(cls, *_: Any) -> None: ...

    @staticmethod
    async def static(*_: Any) -> None: ...


def disguised(function: Callable[..., Any]) -> Callable[..., Any]:
    """An ordinary decorator, as of a library that measures or retries."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


GENERATORS: list[Any] = [
    generator,
    generator_too,
    functools.partial(functools.partial(generator), 1),
]
COROUTINES: list[Any] = [
    coroutine,
    functools.partial(coroutine, 1),
    functools.partial(Odd().method, 1),
    Odd(),
    Odd().method,
    Odd.of_class,
    Odd.static,
]
DISGUISED: list[Any] = [disguised(each) for each in (coroutine, generator, generator_too, Odd())]

Give = Callable[[App, Any], object]


def as_class(function: Any) -> type:
    return type("Middleware", (), {"__call__": function})


GIVEN: dict[str, Give] = {
    "client middleware": lambda app, function: app.client_middleware.add(function),
    "server middleware": lambda app, function: app.server_middleware.prepend(function),
    "middleware before": lambda app, function: Chain[str]().insert_before(print, function),
    "error handler": lambda app, function: app.error_handlers.append(function),
    "error handlers": lambda app, function: app.error_handlers.extend([function]),
    "death handler": lambda app, function: app.death_handlers.insert(0, function),
    "death handlers": lambda app, function: app.death_handlers.__setitem__(slice(None), [function]),
    "startup": lambda app, function: app.on("startup")(function),
    "exit": lambda app, function: app.on("exit")(function),
    "retry_in": lambda app, function: app.job(name="f.a", retry_in=function)(lambda: None),
    "on_exhausted": lambda app, function: app.job(name="f.b", on_exhausted=function)(lambda: None),
    "retry_in of a class": lambda app, function: type(
        "Base", (Job,), {}, retry_in=function, app=app
    ),
}


DECIDES = [place for place in GIVEN if place.startswith(("retry_in", "on_exhausted"))]


@pytest.mark.parametrize("function", GENERATORS)
@pytest.mark.parametrize("place", GIVEN)
def test_what_would_not_run_is_refused_when_it_is_given(
    app: App, place: str, function: Any
) -> None:
    with pytest.raises(ArgumentError, match="generator"):
        GIVEN[place](app, function)


@pytest.mark.parametrize("function", COROUTINES)
@pytest.mark.parametrize("place", GIVEN)
def test_coroutines_are_refused_where_nothing_awaits_them(
    app: App, place: str, function: Any
) -> None:
    if place in DECIDES:
        with pytest.raises(ArgumentError, match="async"):
            GIVEN[place](app, function)
    else:
        GIVEN[place](app, function)


@pytest.mark.parametrize("function", [generator, generator_too])
def test_so_is_a_class_of_middleware(app: App, function: Any) -> None:
    with pytest.raises(ArgumentError, match="generator"):
        app.client_middleware.add(as_class(function))
    app.client_middleware.add(as_class(coroutine))


@pytest.mark.parametrize("place", GIVEN)
def test_what_is_no_function_is_refused(app: App, place: str) -> None:
    with pytest.raises((ArgumentError, TypeError), match="must be a"):
        GIVEN[place](app, 5)


def test_plain_functions_are_not(app: App) -> None:
    class Plain:
        def __call__(self) -> None: ...

        def method(self) -> None: ...

    for function in (print, len, Plain(), Plain, Plain().method, functools.partial(print), app.job):
        refuse_lazy("it", function)


# --- what a call returns -------------------------------------------------------------------------


class Awaitable:
    def __await__(self) -> Iterator[None]:
        return iter(())


@contextlib.contextmanager
def manager() -> Iterator[None]:
    yield


LAZY: list[Callable[[], Any]] = [
    generator,
    generator_too,
    lambda: (each for each in "abc"),
    lambda: map(print, "abc"),
    lambda: filter(None, "abc"),
    lambda: zip("abc", "abc", strict=True),
    lambda: enumerate("abc"),
    lambda: itertools.starmap(print, "abc"),
    lambda: itertools.chain("abc", "abc"),
    manager,
    lambda: manager,
    lambda: functools.partial(print),
]


@pytest.mark.parametrize("call", LAZY)
def test_lazy_results_are_refused(call: Callable[[], Any]) -> None:
    with pytest.raises(NotRunError, match="it returned"):
        refuse_unrun("it", call())


def test_awaitables_are_refused_where_nobody_awaits_and_do_not_complain() -> None:
    results: list[Any] = [coroutine(), Awaitable(), asyncio.Future(loop=asyncio.new_event_loop())]
    for result in results:
        if isinstance(result, asyncio.Future):
            result.get_loop().close()
        with pytest.raises(NotRunError, match="cannot be awaited here"):
            refuse_unrun("it", result)


def test_values_are_values(tmp_path: Any) -> None:
    with (tmp_path / "file").open("w") as file:
        for value in (None, 0, "", [1], {}, object(), file, iter([1]), range(3), int, len):
            refuse_unrun("it", value)
            assert finished("it", value, lambda _: pytest.fail("nothing to run")) is value


# --- jobs ----------------------------------------------------------------------------------------


@pytest.fixture
def outcome(
    app: App, server: EmbeddedServer, redis: redis_py.Redis
) -> Iterator[Callable[..., str]]:
    """Execute a job, once as a worker does; returns how it ended."""
    bench = Engine(server.url, app=app)

    def execute(name: str, **fields: Any) -> str:
        from jobd.store.inflight import Claimed

        claimed = Claimed(1, "default", payload(name, **fields))
        end = Context().run(bench.executor.execute, claimed)
        return end.outcome if end else "done"

    yield execute
    bench.release()


def run_places(ran: list[str]) -> dict[str, Any]:
    """Functions whose work is done in what they return."""

    async def work() -> None:
        await asyncio.sleep(0)
        ran.append("ran")

    async def nested() -> Any:
        return work()

    async def makes_a_task() -> Any:
        return asyncio.get_running_loop().create_task(work())

    class Later:
        def __await__(self) -> Any:
            return work().__await__()

    return {
        "decorated": disguised(work),
        "lambda": lambda: work(),
        "object": lambda: Later(),
        "nested": nested,
        "task": makes_a_task,
        "partial": disguised(functools.partial(work)),
    }


@pytest.mark.parametrize("timeout", [None, 30])
@pytest.mark.parametrize("kind", run_places([]))
def test_awaitables_run_wherever_they_come_from(
    app: App, outcome: Callable[..., str], kind: str, timeout: float | None
) -> None:
    ran: list[str] = []
    function = run_places(ran)[kind]
    app.job(name="engine.Later", timeout=timeout)(lambda: function())

    class Method(Job, app=app, name="engine.LaterToo", timeout=timeout):
        def perform(self) -> Any:
            return function()

    assert outcome("Later") == outcome("LaterToo") == "done"
    assert ran == ["ran", "ran"]
    Method.perform_inline()
    assert len(ran) == 3


@pytest.mark.parametrize("timeout", [None, 30])
@pytest.mark.parametrize("call", LAZY)
def test_a_job_whose_work_is_not_done_has_failed(
    app: App, outcome: Callable[..., str], call: Callable[[], Any], timeout: float | None
) -> None:
    errors: list[str] = []
    app.error_handlers.append(lambda error, _: errors.append(str(error)))
    made = app.job(name="engine.Lazy", timeout=timeout)(lambda: call())

    @app.job(name="engine.LazyToo", timeout=timeout)
    async def later() -> Any:
        return call()

    assert outcome("Lazy") == outcome("LazyToo") == "retry"
    assert [error.startswith("engine.Lazy") for error in errors] == [True, True]
    with pytest.raises(NotRunError):
        made.perform_inline()


def test_in_a_running_loop_nothing_is_left_unawaited(app: App) -> None:
    made = app.job(name="engine.Disguised")(disguised(coroutine))

    async def main() -> None:
        with pytest.raises(JobdError, match="running event loop"):
            made.perform_inline()

    asyncio.run(main())


# --- everything else, in disguise ---------------------------------------------------------------


@pytest.mark.parametrize("function", DISGUISED)
def test_disguised_server_middleware_fails_the_job(
    app: App, outcome: Callable[..., str], function: Any
) -> None:
    app.server_middleware.add(function)
    app.job(name="engine.Plain")(lambda: None)
    assert outcome("Plain") == "retry"


@pytest.mark.parametrize("function", DISGUISED)
def test_disguised_client_middleware_fails_the_push(
    app: App, server: EmbeddedServer, redis: redis_py.Redis, function: Any
) -> None:
    app.client_middleware.add(function)
    with pytest.raises(NotRunError):
        app.configure(server.url).push({"class": "A", "args": []})
    assert not redis.keys()


@pytest.mark.parametrize("function", DISGUISED)
def test_disguised_handlers_are_reported_and_change_nothing(
    app: App, outcome: Callable[..., str], function: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    reported: list[str] = []
    app.error_handlers.append(function)
    app.error_handlers.append(lambda error, about: reported.append(about["context"]))
    app.death_handlers.append(function)

    @app.job(name="engine.Fails", retry_in=function, on_exhausted=function)
    def fails() -> None:
        raise ValueError

    assert outcome("Fails") == "retry"
    assert outcome("Fails", retry=0) == "dead"
    # What is awaitable is awaited in handlers, however it is disguised.
    awaits = function in (DISGUISED[0], DISGUISED[3])
    assert reported == [
        *("retry_in", "Job raised exception"),
        *("on_exhausted", *([] if awaits else ["death handler"]), "Job raised exception"),
    ]
    assert capfd.readouterr().err.count("error_handler_failed") == (0 if awaits else 5)


@pytest.mark.parametrize("function", DISGUISED)
def test_disguised_hooks_are_reported_or_keep_the_worker_from_starting(
    app: App, function: Any
) -> None:
    reported: list[BaseException] = []
    for event in ("startup", "quiet"):
        app.on(event)(function)
    with pytest.raises(NotRunError):
        app.hooks.fire("startup", lambda *_: None)
    app.hooks.fire("quiet", lambda error, _: reported.append(error))
    assert [type(error) for error in reported] == [NotRunError]
