"""Middleware: code around every push (client) and around every execution (server).

An entry is a function, or a class whose instances are callable; a class is instantiated for every
job. Client middleware is called with ``(name, payload, queue, call_next)`` and returns what
``call_next()`` returned; a falsy value stops the push. Server middleware is called with ``(job,
payload, queue, call_next)``; if it does not call ``call_next``, the job counts as done without
being run. Middleware cannot be ``async``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from jobd.jobs.unrun import refuse_lazy, refuse_unrun

Subject = TypeVar("Subject")
Next = Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Entry(Generic[Subject]):
    """An entry of a chain: a function, or a class and its constructor arguments."""

    target: Callable[..., Any]
    args: tuple[Any, ...] = ()

    def link(self) -> Callable[[Subject, dict[str, Any], str, Next], Any]:
        """The callable for a job."""
        if isinstance(self.target, type):
            made: Callable[..., Any] = self.target(*self.args)
            return made
        return self.target


class Chain(Generic[Subject]):
    """An ordered list of middleware, outermost first.

    It is meant to be changed at startup only; a running invocation keeps its entries.
    """

    def __init__(self, entries: tuple[Entry[Subject], ...] = ()) -> None:
        self._entries = entries

    def add(self, target: Callable[..., Any], *args: Any) -> None:
        """Append *target*; an existing entry of the same target is removed first."""
        self.remove(target)
        self._entries = (*self._entries, _entry(target, args))

    def prepend(self, target: Callable[..., Any], *args: Any) -> None:
        """Insert *target* at the front; an existing entry of the same target is removed first."""
        self.remove(target)
        self._entries = (_entry(target, args), *self._entries)

    def insert_before(self, old: Callable[..., Any], new: Callable[..., Any], *args: Any) -> None:
        """Insert *new* before *old*, or at the front if there is no *old*.

        An existing entry of *new* is moved and keeps its arguments.
        """
        entry = self._take(new, args)
        self._insert(self._index(old, missing=0), entry)

    def insert_after(self, old: Callable[..., Any], new: Callable[..., Any], *args: Any) -> None:
        """Insert *new* after *old*, or at the end if there is no *old*; see insert_before."""
        entry = self._take(new, args)
        self._insert(self._index(old, missing=len(self._entries) - 1) + 1, entry)

    def remove(self, target: Callable[..., Any]) -> None:
        """Remove *target*, if it is in the chain."""
        self._entries = tuple(entry for entry in self._entries if entry.target != target)

    def exists(self, target: Callable[..., Any]) -> bool:
        return any(entry.target == target for entry in self._entries)

    def clear(self) -> None:
        self._entries = ()

    @property
    def entries(self) -> tuple[Entry[Subject], ...]:
        return self._entries

    def copy(self) -> Chain[Subject]:
        """An independent chain with the same entries."""
        return Chain(self._entries)

    def __iter__(self) -> Iterator[Entry[Subject]]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def invoke(self, subject: Subject, payload: dict[str, Any], queue: str, call: Next) -> Any:
        """Run *call* inside the chain; returns the result of the outermost entry.

        Callers on a hot path should test ``if chain`` first, to skip an empty chain.
        """
        for entry in reversed(self._entries):
            call = _bind(entry.link(), subject, payload, queue, call)
        return call()

    def _take(self, target: Callable[..., Any], args: tuple[Any, ...]) -> Entry[Subject]:
        found = [entry for entry in self._entries if entry.target == target]
        self.remove(target)
        return found[0] if found else _entry(target, args)

    def _index(self, target: Callable[..., Any], missing: int) -> int:
        targets = [entry.target for entry in self._entries]
        return targets.index(target) if target in targets else missing

    def _insert(self, index: int, entry: Entry[Subject]) -> None:
        self._entries = (*self._entries[:index], entry, *self._entries[index:])


def _entry(target: Callable[..., Any], args: tuple[Any, ...]) -> Entry[Any]:
    if not callable(target):
        raise TypeError(f"middleware must be a class or a function, not {target!r}")
    if isinstance(target, type) and not any("__call__" in vars(base) for base in target.__mro__):
        raise TypeError(f"middleware class {target.__name__} needs a __call__ method")
    refuse_lazy("middleware", target.__call__ if isinstance(target, type) else target)
    if args and not isinstance(target, type):
        raise TypeError("only a middleware class takes arguments; use functools.partial")
    return Entry(target, args)


def _bind(
    link: Callable[..., Any], subject: Any, payload: dict[str, Any], queue: str, call_next: Next
) -> Next:
    def call() -> Any:
        result = link(subject, payload, queue, call_next)
        if result is not None:
            refuse_unrun("middleware", result)
        return result

    return call
