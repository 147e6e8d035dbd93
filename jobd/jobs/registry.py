"""The registry of an application's jobs, by class name in the payload.

Importing the application fills it; workers look up the class of every payload in it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobd.errors import ArgumentError, UnknownJobError
from jobd.text.spelling import NEAR, meant
from jobd.wire.payload import Payload

if TYPE_CHECKING:
    from jobd.schedules.schedule import Schedule

UniqueBy = Callable[..., object] | Sequence[str] | str | None
"""What makes a call unique: names of its arguments, a function of them, or None for all."""


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """A registered job.

    Attributes:
        name: class name in the payload.
        function: the callable to run; for a :class:`~jobd.Job` subclass, it creates an instance and
            calls perform.
        body: the function or method that does the work, with its type hints.
        options: payload fields of every call, in the order of the payload: retry, queue, others.
        retry_in: returns seconds (or DISCARD, or KILL) for count, exception and payload; None for
            the default delay.
        on_exhausted: called with the payload and the exception after the last retry; DISCARD keeps
            the job out of the dead set.
        timeout: seconds that an execution may take; None for no limit.
        unique_by: names of the arguments that make a call unique, or a function of them; None for
            all.
        on_cancel: called with the payload when it was cancelled after its start.
        cancellable: whether JobCancelled is raised in it.
        signature: signature of the call, without ``self``.
        origin: module and qualified name of the code.
        is_async: whether it is an ``async def``.
        schedules: when it is pushed by itself.
    """

    name: str
    function: Callable[..., Any]
    body: Callable[..., object]
    options: Mapping[str, object]
    retry_in: Callable[[int, BaseException, Payload], object] | None
    on_exhausted: Callable[[Payload, BaseException], object] | None
    timeout: float | None
    unique_by: UniqueBy
    signature: inspect.Signature
    origin: str
    on_cancel: Callable[[Payload], object] | None = None
    cancellable: bool = True
    is_async: bool = False
    schedules: tuple[Schedule, ...] = ()


_LONGEST_GUESSED, _MOST_GUESSED = 200, 1000
"""Maximum length of a name, and number of registered jobs, for suggestions."""


class Registry:
    """The jobs of an application.

    Attributes:
        coroutines: names of those that are ``async def``.
        destinations: queues that settings of the application name besides those of the jobs.
    """

    def __init__(self) -> None:
        self._definitions: dict[str, Definition] = {}
        self.coroutines: set[str] = set()
        self.destinations: set[str] = set()

    def register(self, definition: Definition) -> None:
        """Register a job. The same code may register again, as in a reload.

        Raises:
            ArgumentError: another job has the same name.
        """
        other = self._definitions.get(definition.name)
        if other is not None and other.origin != definition.origin:
            raise ArgumentError(
                f"two jobs have the name {definition.name!r}: {other.origin} and "
                f"{definition.origin}; give one of them another name=..."
            )
        self._definitions[definition.name] = definition
        if definition.is_async:
            self.coroutines.add(definition.name)
        else:
            self.coroutines.discard(definition.name)

    def lookup(self, name: str) -> Definition:
        """The job called *name*.

        Raises:
            UnknownJobError: it is not registered here.
        """
        try:
            return self._definitions[name]
        except KeyError:
            raise UnknownJobError(
                f"no job called {name!r} is registered in this process: "
                f"{_where(name)}{self._instead(name)}"
            ) from None

    def _instead(self, name: str) -> str:
        """A suggestion: a job with the same last name, or a similar name."""
        known = self._definitions
        if not known:
            return "; no jobs are registered"
        if len(name) > _LONGEST_GUESSED or len(known) > _MOST_GUESSED:
            return ""
        last = name.rpartition(".")[2]
        same = [one for one in known if one.rpartition(".")[2] == last]
        close = same[0] if len(same) == 1 else meant(name, known, NEAR)
        return "" if close is None else f"; {close!r} is registered"

    def all(self) -> list[Definition]:
        """All registered jobs, sorted by name."""
        return [self._definitions[name] for name in sorted(self._definitions)]

    def queues(self) -> list[str]:
        """The queues that jobs go to, unless a push names another one."""
        return sorted({str(one.options["queue"]) for one in self.all()} | self.destinations)


def _where(name: str) -> str:
    """Where a job called *name* would be found, and what to do."""
    above, _, last = name.rpartition(".")
    if len(name) > _LONGEST_GUESSED or not all(part.isidentifier() for part in name.split(".")):
        above = ""
    module = sys.modules.get(above)
    if not above:
        return "import the module that defines it (-r/--require), or check its name=..."
    if module is None:
        return (
            f"it would be in the module {above}, which is not imported here: import the module "
            f"that defines it, such as -r {above}, or check its name=..."
        )
    place = f"the module {above} ({getattr(module, '__file__', None) or 'without a file'})"
    # Not by getattr: the name comes from a client, and a module may run code to find it.
    if last in vars(module):
        return (
            f"{place} has a {last}, but not as a job of this name: check its @job and its name=..."
        )
    return f"{place} is imported, but has no {last}"


def origin_of(code: Callable[..., object]) -> str:
    """Module and qualified name of a function or class, independent of how it is imported."""
    return f"{module_of(code)}.{code.__qualname__}"


def module_of(code: Callable[..., object]) -> str:
    """Name of the module of a function or class, as a worker imports it.

    For ``__main__``, this is the name that the module has when it is imported.
    """
    module: str = code.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        file = getattr(main, "__file__", None) or "<interactive>"
        if spec is not None:
            module = spec.name
        elif not file.startswith("<"):
            module = Path(file).stem
    return module
