"""Checks that calling a function of the application also runs its code.

Calling a coroutine function or a generator function runs none of its code: treated as a plain
function, it would succeed without having done anything. So functions are checked when they are
registered, and again by what they return, because a decorator can hide the kind of a function.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from typing import TypeGuard

from jobd.errors import ArgumentError, NotRunError

_PLAIN = frozenset({bool, int, float, str, bytes, list, tuple, dict, set})

_ITERTOOLS = tuple(one for one in vars(itertools).values() if isinstance(one, type))
_LAZY: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("a generator", (Generator,)),
    ("an asynchronous generator", (AsyncGenerator,)),
    (
        "a lazy iterator",
        (map, filter, zip, enumerate, *_ITERTOOLS),
    ),
    (
        "a context manager that was not entered",
        (contextlib._GeneratorContextManager, contextlib._AsyncGeneratorContextManager),
    ),
    (
        "a function that was not called",
        (types.FunctionType, types.MethodType, functools.partial),
    ),
)


def refuse_lazy(what: str, function: object, *, awaits: bool = False) -> None:
    """Refuse a function whose call would not run its code; *what* is its name in the message.

    Args:
        awaits: accept coroutine functions, because the caller awaits the result.

    Raises:
        ArgumentError: it is a coroutine function or a generator function, also as a method, in a
            ``functools.partial``, or as the ``__call__`` of an object; or it is not callable.
    """
    if not callable(function):
        raise ArgumentError(f"{what} must be a function, not {function!r}")
    while True:
        if not awaits and inspect.iscoroutinefunction(function):
            raise ArgumentError(
                f"{what} must be a plain function, but it is async: it is called in a thread "
                "without an event loop and would not run. Use def, and call asyncio.run() in it"
            )
        if is_generator_function(function):
            raise ArgumentError(f"{what} is a generator: calling it would run none of its code")
        inner = _inside(function)
        if inner is None:
            return
        function = inner


def is_generator_function(function: object) -> bool:
    """Whether calling it returns a generator or an asynchronous generator."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def is_coroutine_function(function: object) -> bool:
    """Whether a call of *function* returns a coroutine, as far as its code shows."""
    inner: object | None = function
    while inner is not None:
        if inspect.iscoroutinefunction(inner):
            return True
        inner = _inside(inner)
    return False


def _inside(function: object) -> object:
    """The function that a call of *function* calls, if that is visible; else None."""
    if isinstance(function, functools.partial):
        return function.func
    if isinstance(function, types.MethodType):
        return function.__func__
    if isinstance(function, types.FunctionType | type):
        return None
    call = getattr(type(function), "__call__", None)  # noqa: B004 - of the class, not of the object
    return call if isinstance(call, types.FunctionType | functools.partial) else None


def is_awaitable(result: object) -> TypeGuard[Awaitable[object]]:
    """Whether *result* must be awaited. False for ids returned by a push inside an event loop
    (:mod:`jobd.wire.pushed`), which are awaitable but complete."""
    return inspect.isawaitable(result) and not isinstance(result, str | list)


async def awaited(result: object) -> object:
    """The final result of *result*; an awaitable may return another one."""
    last = None
    try:
        while result is not last and is_awaitable(result):
            last, result = result, await result
        return result
    finally:
        # A failed future keeps its exception, which keeps this frame.
        del last, result


def finished(what: str, result: object, run: Callable[[Awaitable[object]], object]) -> object:
    """The result of a call of *what*, awaited if necessary.

    Args:
        run: runs an awaitable to its end.

    Raises:
        NotRunError: *result* is lazy.
    """
    if type(result) in _PLAIN:
        return result
    if is_awaitable(result):
        result = run(result)
    refuse_unrun(what, result)
    return result


def refuse_unrun(what: str, result: object) -> None:
    """Refuse a result of *what* that shows that its code has not run.

    Other iterators, such as database cursors and files, are accepted: they result from work that
    was done.

    Raises:
        NotRunError: it is an awaitable, a generator, another lazy iterator of the standard library,
            a function, or a context manager made from a generator.
    """
    if result is None or type(result) in _PLAIN:
        return
    if is_awaitable(result):
        if isinstance(result, Coroutine):
            result.close()  # else Python warns that it was never awaited
        raise NotRunError(
            f"{what} returned an awaitable ({type(result).__name__}), which cannot be awaited here"
        )
    for kind, types_ in _LAZY:
        if isinstance(result, types_):
            raise NotRunError(
                f"{what} returned {kind} ({type(result).__name__}), so its work was not done"
            )
