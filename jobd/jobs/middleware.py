"""Middleware: code around every push (client) and around every execution (server).

An entry is a function, or a class whose instances are callable; a class is instantiated for every
job. Client middleware is called with ``(name, payload, queue, call_next)`` and returns what
``call_next()`` returned; a falsy value stops the push. Server middleware is called with ``(job,
payload, queue, call_next)``; if it does not call ``call_next``, the job counts as done without
being run. An entry that is ``async`` awaits ``call_next()``.

An object with a coroutine method ``acall`` beside ``__call__`` is an entry of both kinds: ``acall``
surrounds what runs on an event loop, ``__call__`` the rest, and neither needs the other's thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from jobd.errors import ArgumentError
from jobd.jobs.unrun import is_coroutine_function, refuse_lazy, refuse_unrun
from jobd.wire.payload import Payload

Subject = TypeVar("Subject")
Next = Callable[[], Any]
AsyncNext = Callable[[], Awaitable[Any]]

Around = Callable[[Callable[[AsyncNext], Awaitable[object]], Next], object]
"""Runs a coroutine on an event loop, in which ``await call_next()`` calls a plain function in the
thread that waits for it."""


@dataclass(frozen=True, slots=True)
class Entry(Generic[Subject]):
    """An entry of a chain: a function, or a class and its constructor arguments.

    Attributes:
        is_async: it awaits ``call_next``.
        both: it is plain and has ``acall``, which awaits it.
    """

    target: Callable[..., object]
    args: tuple[object, ...] = ()
    is_async: bool = False
    both: bool = False

    @property
    def name(self) -> str:
        return getattr(self.target, "__qualname__", None) or repr(self.target)

    def link(self) -> Callable[..., Any]:
        """The callable for a job."""
        if isinstance(self.target, type):
            made: Callable[..., object] = self.target(*self.args)
            return made
        return self.target


class Chain(Generic[Subject]):
    """An ordered list of middleware, outermost first.

    It is meant to be changed at startup only; a running invocation keeps its entries.
    """

    def __init__(self, entries: tuple[Entry[Subject], ...] = ()) -> None:
        self._entries = entries

    def add(self, target: Callable[..., object], *args: object) -> None:
        """Append *target*; an existing entry of the same target is removed first."""
        self.remove(target)
        self._entries = (*self._entries, _entry(target, args))

    def prepend(self, target: Callable[..., object], *args: object) -> None:
        """Insert *target* at the front; an existing entry of the same target is removed first."""
        self.remove(target)
        self._entries = (_entry(target, args), *self._entries)

    def insert_before(
        self, old: Callable[..., object], new: Callable[..., object], *args: object
    ) -> None:
        """Insert *new* before *old*, or at the front if there is no *old*.

        An existing entry of *new* is moved and keeps its arguments.
        """
        entry = self._take(new, args)
        self._insert(self._index(old, missing=0), entry)

    def insert_after(
        self, old: Callable[..., object], new: Callable[..., object], *args: object
    ) -> None:
        """Insert *new* after *old*, or at the end if there is no *old*; see insert_before."""
        entry = self._take(new, args)
        self._insert(self._index(old, missing=len(self._entries) - 1) + 1, entry)

    def remove(self, target: Callable[..., object]) -> None:
        """Remove *target*, if it is in the chain."""
        self._entries = tuple(entry for entry in self._entries if entry.target != target)

    def exists(self, target: Callable[..., object]) -> bool:
        return any(entry.target == target for entry in self._entries)

    def clear(self) -> None:
        self._entries = ()

    @property
    def entries(self) -> tuple[Entry[Subject], ...]:
        return self._entries

    @property
    def needs_thread(self) -> bool:
        """Whether any entry cannot surround a coroutine on its event loop."""
        return any(not (entry.is_async or entry.both) for entry in self._entries)

    @property
    def plain(self) -> list[str]:
        """Names of the entries that cannot surround a coroutine on its event loop."""
        return [entry.name for entry in self._entries if not (entry.is_async or entry.both)]

    @property
    def asynchronous(self) -> list[str]:
        """Names of the entries that are ``async``."""
        return [entry.name for entry in self._entries if entry.is_async]

    def copy(self) -> Chain[Subject]:
        """An independent chain with the same entries."""
        return Chain(self._entries)

    def __iter__(self) -> Iterator[Entry[Subject]]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def invoke(
        self,
        subject: Subject,
        payload: Payload,
        queue: str,
        call: Next,
        around: Around | None = None,
    ) -> object:
        """Run *call* inside the chain; returns the result of the outermost entry.

        Callers on a hot path should test ``if chain`` first, to skip an empty chain.

        Args:
            around: runs the entries that are ``async``.

        Raises:
            ArgumentError: there are such entries, and nothing to run them.
        """
        for entry in reversed(self._entries):
            if not entry.is_async:
                call = _bind(entry.link(), subject, payload, queue, call)
            elif around is None:
                raise ArgumentError(f"the middleware {entry.name} is async: it needs an event loop")
            else:
                link = partial(entry.link(), subject, payload, queue)
                call = partial(around, link, call)
        return call()

    async def ainvoke(
        self,
        subject: Subject,
        payload: Payload,
        queue: str,
        call: Next,
    ) -> object:
        """The same on the running event loop. Entries that are not ``async`` run in a thread if
        they surround something that is.

        Args:
            call: a function or a coroutine function.
        """
        awaits = is_coroutine_function(call)
        for entry in reversed(self._entries):
            link = entry.link()
            if entry.is_async or (entry.both and awaits):
                link = link if entry.is_async else link.acall  # type: ignore[attr-defined]
                inner = call if awaits else _lifted(call)
                call, awaits = _abind(link, subject, payload, queue, inner), True
            elif awaits:
                call = _beside(link, subject, payload, queue, call)
            else:
                call = _bind(link, subject, payload, queue, call)
        return await call() if awaits else call()

    def _take(self, target: Callable[..., object], args: tuple[object, ...]) -> Entry[Subject]:
        found = [entry for entry in self._entries if entry.target == target]
        self.remove(target)
        return found[0] if found else _entry(target, args)

    def _index(self, target: Callable[..., object], missing: int) -> int:
        targets = [entry.target for entry in self._entries]
        return targets.index(target) if target in targets else missing

    def _insert(self, index: int, entry: Entry[Subject]) -> None:
        self._entries = (*self._entries[:index], entry, *self._entries[index:])


def _entry(target: Callable[..., object], args: tuple[object, ...]) -> Entry[Subject]:
    if not callable(target):
        raise TypeError(f"middleware must be a class or a function, not {target!r}")
    if isinstance(target, type) and not any("__call__" in vars(base) for base in target.__mro__):
        raise TypeError(f"middleware class {target.__name__} needs a __call__ method")
    code = target.__call__ if isinstance(target, type) else target
    refuse_lazy("middleware", code, awaits=True)
    both = getattr(target, "acall", None)
    if both is not None and not is_coroutine_function(both):
        raise TypeError(f"the acall of middleware {target!r} must be async def")
    if args and not isinstance(target, type):
        raise TypeError("only a middleware class takes arguments; use functools.partial")
    is_async = is_coroutine_function(code)
    return Entry(target, args, is_async, both is not None and not is_async)


def _bind(
    link: Callable[..., object],
    subject: object,
    payload: Payload,
    queue: str,
    call_next: Next,
) -> Next:
    def call() -> object:
        result = link(subject, payload, queue, call_next)
        if result is not None:
            refuse_unrun("middleware", result)
        return result

    return call


def _abind(
    link: Callable[..., Awaitable[object]],
    subject: object,
    payload: Payload,
    queue: str,
    call_next: AsyncNext,
) -> AsyncNext:
    async def call() -> object:
        result = await link(subject, payload, queue, call_next)
        if result is not None:
            refuse_unrun("middleware", result)
        return result

    return call


def _beside(
    link: Callable[..., object],
    subject: object,
    payload: Payload,
    queue: str,
    call_next: Callable[[], Coroutine[object, None, object]],
) -> AsyncNext:
    """Calls a plain *link* in a thread, in which ``call_next()`` waits for the event loop."""

    async def call() -> object:
        import asyncio  # an application without coroutines does not pay for it

        loop = asyncio.get_running_loop()

        def wait() -> object:
            return asyncio.run_coroutine_threadsafe(call_next(), loop).result()

        return await asyncio.to_thread(_bind(link, subject, payload, queue, wait))

    return call


def _lifted(call: Next) -> AsyncNext:
    async def lifted() -> object:
        return call()

    return lifted
