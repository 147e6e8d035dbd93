"""Blocks of code in which something holds: context managers, which may be decorators as well."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AbstractContextManager, aclosing
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Generic, TypeVar, cast

from jobd.errors import ArgumentError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])
Blocks = Callable[[Callable[..., object]], AbstractContextManager[object]]


class Enterable:
    """What has an effect only in a ``with`` statement: whoever forgets that is warned.

    Attributes:
        entered: whether it was used.
    """

    entered = False

    def __del__(self) -> None:
        if not self.entered:
            text = f"{self!r} had no effect: use it in a with statement"
            warnings.warn(text, RuntimeWarning, stacklevel=2)


class Block(Enterable, Generic[T]):
    """A context manager and a decorator: while it holds, *variable* has *value* in this thread or
    task.

    Args:
        name: how it was written, for messages.
    """

    def __init__(self, name: str, variable: ContextVar[T], value: T) -> None:
        self._name, self._variable, self._value = name, variable, value
        self._tokens: list[Token[T]] = []

    def __enter__(self) -> None:
        self.entered = True
        self._tokens.append(self._variable.set(self._value))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._variable.reset(self._tokens.pop())

    def __call__(self, function: F) -> F:
        """Decorate *function*, which may be a coroutine function: it holds while that runs.

        Raises:
            ArgumentError: it is not a function.
        """
        self.entered = True
        if isinstance(function, type) or not callable(function):
            raise ArgumentError(f"{self!r} decorates functions, not {function!r}")
        # Several threads may run the function at once: each call has a block of its own.
        return around(function, lambda _: Block(self._name, self._variable, self._value))

    def __repr__(self) -> str:
        return self._name


def around(function: F, block: Blocks) -> F:
    """*function*, a block around each of its calls; also for coroutines and generators.

    Args:
        block: makes one, for the function that runs in it.
    """
    return cast("F", _around(function, block))


def _around(function: Callable[..., object], block: Blocks) -> object:
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def wrapper(*args: object, **kwargs: object) -> AsyncIterator[object]:
            with block(function):
                async with aclosing(function(*args, **kwargs)) as items:
                    async for item in items:
                        yield item

    elif inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapper(*args: object, **kwargs: object) -> object:
            with block(function):
                return await function(*args, **kwargs)

    elif inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def wrapper(*args: object, **kwargs: object) -> Generator[object, object, object]:
            with block(function):
                return (yield from function(*args, **kwargs))

    else:

        @functools.wraps(function)
        def wrapper(*args: object, **kwargs: object) -> object:
            with block(function):
                return function(*args, **kwargs)

    return wrapper
