"""Functions that an application gives us: whether calling one also runs it.

Calling a coroutine function or a generator function runs none of its code. Taken for a plain one it
would be done at once, without an error and without having done anything. So a function is looked at
when it is given, and what it returns when it is called: a decorator hides what a function is.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import types
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from typing import Any

from jobd.errors import ArgumentError, NotRunError

_PLAIN = frozenset({bool, int, float, str, bytes, list, tuple, dict, set})

_ITERTOOLS = tuple(one for one in vars(itertools).values() if isinstance(one, type))
_LAZY: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("a generator", (Generator,)),
    ("an asynchronous generator", (AsyncGenerator,)),
    (
        "an iterator that computes nothing until it is asked",
        (map, filter, zip, enumerate, *_ITERTOOLS),
    ),
    (
        "a context manager that nobody has entered",
        (contextlib._GeneratorContextManager, contextlib._AsyncGeneratorContextManager),
    ),
    (
        "a function that nobody has called",
        (types.FunctionType, types.MethodType, functools.partial),
    ),
)


def refuse_lazy(what: str, function: object, *, awaits: bool = False) -> None:
    """Refuse a function of which a call would run nothing; *what* is its name in the message.

    Args:
        awaits: coroutine functions are right: what they return is awaited there.

    Raises:
        ArgumentError: it is a coroutine function or a generator function, also as a method, in a
            ``functools.partial``, or as the ``__call__`` of an object; or it is no function.
    """
    if not callable(function):
        raise ArgumentError(f"{what} must be a function, not {function!r}")
    while True:
        if not awaits and inspect.iscoroutinefunction(function):
            raise ArgumentError(
                f"{what} must be a plain function, but it is async: called in a thread without an "
                "event loop it would not run. Make it def, and call asyncio.run() in it"
            )
        if is_generator_function(function):
            raise ArgumentError(f"{what} is a generator: calling it would run none of its code")
        inner = _inside(function)
        if inner is None:
            return
        function = inner


def is_generator_function(function: object) -> bool:
    """Whether calling it gives a generator, of either kind."""
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _inside(function: object) -> object:
    """What a call of *function* calls, where that can be seen; else None."""
    if isinstance(function, functools.partial):
        return function.func
    if isinstance(function, types.MethodType):
        return function.__func__
    if isinstance(function, types.FunctionType | type):
        return None
    call = getattr(type(function), "__call__", None)  # noqa: B004 - of the class, not of the object
    return call if isinstance(call, types.FunctionType | functools.partial) else None


def is_awaitable(result: object) -> bool:
    """Whether *result* must be awaited. Not what is complete as it is: an id that a push returned
    inside an event loop (:mod:`jobd.wire.pushed`)."""
    return inspect.isawaitable(result) and not isinstance(result, str | list)


async def awaited(result: Any) -> Any:
    """What comes of *result* in the end; an awaitable may give another one."""
    last = None
    try:
        while result is not last and is_awaitable(result):
            last, result = result, await result
        return result
    finally:
        # A future that failed keeps its exception, and that keeps this frame.
        del last, result


def finished(what: str, result: Any, run: Callable[[Awaitable[Any]], Any]) -> Any:
    """*result* of a call of *what*, once nothing of it is left to run.

    Args:
        run: runs an awaitable to its end.

    Raises:
        NotRunError: it is lazy.
    """
    if type(result) in _PLAIN:
        return result
    if is_awaitable(result):
        result = run(result)
    refuse_unrun(what, result)
    return result


def refuse_unrun(what: str, result: object) -> None:
    """Refuse what a call of *what* has returned where that is still to be run.

    Not refused are other iterators, such as a cursor of a database or a file: they come from work
    that has been done.

    Raises:
        NotRunError: it is an awaitable, a generator, another lazy iterator of Python's own, a
            function, or a context manager made of a generator.
    """
    if result is None or type(result) in _PLAIN:
        return
    if is_awaitable(result):
        if isinstance(result, Coroutine):
            result.close()  # else Python would complain that it was never awaited
        raise NotRunError(
            f"{what} returned an awaitable ({type(result).__name__}), which cannot be awaited here"
        )
    for kind, types_ in _LAZY:
        if isinstance(result, types_):
            raise NotRunError(
                f"{what} returned {kind} ({type(result).__name__}), so its work was not done"
            )
