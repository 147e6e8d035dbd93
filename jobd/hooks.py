"""Code of the application that runs at moments in a worker's life, and when jobs fail or die."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args

from jobd import copies
from jobd.errors import ArgumentError

Event = Literal["startup", "quiet", "shutdown", "exit"]
Hook = TypeVar("Hook", bound=Callable[[], object])

error_handlers: list[Callable[[BaseException, dict[str, Any]], object]] = []
"""Each is called with every exception of a job or of jobd itself, and a dict of its context."""

death_handlers: list[Callable[[dict[str, Any], BaseException], object]] = []
"""Each is called with the payload and the exception of a job that will not be tried again."""

_hooks: dict[str, list[Callable[[], object]]] = {event: [] for event in get_args(Event)}


def on(event: Event) -> Callable[[Hook], Hook]:
    """Register a function for a moment in the life of each worker process.

    ``startup`` runs before the first job, in the order of registration, and an exception in it
    keeps the worker from starting. ``quiet`` (no more jobs are taken), ``shutdown`` (stopping
    begins) and ``exit`` (all jobs are done or given back) run in reverse order. Each function
    runs at most once.

    Raises:
        ArgumentError: there is no such event.

    Example:
        >>> @on("startup")
        ... def warm_up() -> None:
        ...     print("loading")
    """
    if event not in _hooks:
        raise ArgumentError(f"there is no event {event!r}; the events are {', '.join(_hooks)}")

    def register(function: Hook) -> Hook:
        _hooks[event].append(function)
        return function

    return register


def fire(event: Event, on_error: Callable[[BaseException, dict[str, Any]], object]) -> None:
    """Run the functions registered for *event*, each once in the life of the process.

    Args:
        on_error: told the exception and its context, for all events but ``startup``.

    Raises:
        Exception: whatever a ``startup`` function raised.
    """
    functions = _hooks[event]
    _hooks[event] = []
    if event == "startup":
        for function in functions:
            function()
            copies.end()
        return
    for function in reversed(functions):
        try:
            function()
            copies.end()
        except BaseException as error:  # noqa: BLE001 - one broken hook must not keep others from running
            on_error(error, {"context": f"Exception in the {event} hook", "event": event})
