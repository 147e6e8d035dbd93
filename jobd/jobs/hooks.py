"""Application hooks: lifecycle events of workers, and handlers of failed and dead jobs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableSequence
from typing import Any, Generic, Literal, SupportsIndex, TypeVar, get_args, overload

from jobd.errors import ArgumentError
from jobd.jobs.unrun import finished, refuse_lazy, refuse_unrun
from jobd.runtime.process import forks
from jobd.wire.payload import Payload

Event = Literal["startup", "leader", "quiet", "shutdown", "exit"]
Hook = TypeVar("Hook", bound=Callable[[], object])

Function = TypeVar("Function", bound=Callable[..., object])


class Handlers(MutableSequence[Function], Generic[Function]):
    """A list of functions that refuses those whose code would not run when called.

    Args:
        what: what messages call an item.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._functions: list[Function] = []

    @overload
    def __getitem__(self, index: SupportsIndex) -> Function: ...
    @overload
    def __getitem__(self, index: slice) -> list[Function]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Function | list[Function]:
        return self._functions[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            value = list(value)
        for function in value if isinstance(index, slice) else [value]:
            refuse_lazy(self._what, function, awaits=True)
        self._functions[index] = value

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        del self._functions[index]

    def __len__(self) -> int:
        return len(self._functions)

    def insert(self, index: SupportsIndex, value: Function) -> None:
        refuse_lazy(self._what, value, awaits=True)
        self._functions.insert(index, value)


Await = Callable[[Awaitable[object]], object]
"""Runs an awaitable to its end, and returns its result."""

ErrorHandler = Callable[[BaseException, dict[str, Any]], object]
"""Called with an exception of a job or of jobd itself, and a dict of its context."""

DeathHandler = Callable[[Payload, BaseException], object]
"""Called with the payload and the exception of a job that will not be retried."""


CancelHandler = Callable[[Payload], object]
"""Called with the payload of a job that was cancelled after its start."""


def refused(awaitable: Awaitable[object]) -> None:
    """Where no event loop is.

    Raises:
        NotRunError: always.
    """
    refuse_unrun("a hook", awaitable)


class Hooks:
    """The hooks of an application for lifecycle events of worker processes."""

    def __init__(self) -> None:
        self._functions: dict[str, list[Callable[[], object]]] = {
            event: [] for event in get_args(Event)
        }

    def on(self, event: Event) -> Callable[[Hook], Hook]:
        """Register a function; see :meth:`jobd.App.on`."""
        if event not in self._functions:
            events = ", ".join(self._functions)
            raise ArgumentError(f"unknown event {event!r}; the events are {events}")

        def register(function: Hook) -> Hook:
            refuse_lazy(f"a hook for {event!r}", function, awaits=True)
            self._functions[event].append(function)
            return function

        return register

    def fire(self, event: Event, on_error: ErrorHandler, run: Await = refused) -> None:
        """Run the functions registered for *event*, each once per process, but those for ``leader``
        each time.

        Args:
            run: runs an awaitable to its end.
            on_error: called with the exception and its context, for all events except ``startup``.

        Raises:
            BaseException: the exception of a ``startup`` function.
        """
        functions = self._functions[event]
        if event != "leader":
            self._functions[event] = []
        if event == "startup":
            for function in functions:
                finished("a startup hook", function(), run)
                forks.end()
            return
        for function in functions if event == "leader" else reversed(functions):
            try:
                finished(f"a hook for {event!r}", function(), run)
                forks.end()
            except BaseException as error:  # noqa: BLE001 - a broken hook must not keep others from running
                on_error(error, {"context": f"Exception in the {event} hook", "event": event})
