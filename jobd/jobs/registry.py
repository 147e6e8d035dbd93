"""Which jobs an application has, by their names on the wire.

Importing the application fills its registry; a worker looks every payload's class up there.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobd.errors import ArgumentError, UnknownJobError
from jobd.text.spelling import NEAR, meant


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """One registered job.

    Attributes:
        name: class name on the wire.
        function: what runs; for a :class:`~jobd.Job` subclass, it makes an instance and performs.
        body: the function or method that does the work, with its type hints.
        options: payload fields of every call, in wire order: retry, queue, then others.
        retry_in: seconds (or DISCARD, or KILL) by count, exception and payload; None = default.
        on_exhausted: told the payload and the exception after the last retry; DISCARD keeps the
            job out of the dead set.
        timeout: seconds that one execution may take; None for any time.
        signature: of the call, without ``self``.
        origin: module and qualified name of the code.
    """

    name: str
    function: Callable[..., Any]
    body: Callable[..., Any]
    options: Mapping[str, Any]
    retry_in: Callable[[int, BaseException, dict[str, Any]], Any] | None
    on_exhausted: Callable[[dict[str, Any], BaseException], Any] | None
    timeout: float | None
    signature: inspect.Signature
    origin: str


_LONGEST_GUESSED, _MOST_GUESSED = 200, 1000
"""Characters of a name, and registered jobs, up to which an unknown name is compared with them."""


class Registry:
    """The jobs of one application."""

    def __init__(self) -> None:
        self._definitions: dict[str, Definition] = {}

    def register(self, definition: Definition) -> None:
        """Make a job known. The same code may register again, as a reload does.

        Raises:
            ArgumentError: another job has this name.
        """
        other = self._definitions.get(definition.name)
        if other is not None and other.origin != definition.origin:
            raise ArgumentError(
                f"two jobs are called {definition.name!r}: {other.origin} and {definition.origin}; "
                "give one of them another name=..."
            )
        self._definitions[definition.name] = definition

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
                "import the module that defines it (-r/--require), or check its name=..."
                f"{self._instead(name)}"
            ) from None

    def _instead(self, name: str) -> str:
        """What is registered instead: the same code by another path, or a near spelling."""
        known = self._definitions
        if not known:
            return "; none at all is registered"
        if len(name) > _LONGEST_GUESSED or len(known) > _MOST_GUESSED:
            return ""
        last = name.rpartition(".")[2]
        same = [one for one in known if one.rpartition(".")[2] == last]
        close = same[0] if len(same) == 1 else meant(name, known, NEAR)
        return "" if close is None else f"; {close!r} is registered"

    def all(self) -> list[Definition]:
        """Every registered job, by name."""
        return [self._definitions[name] for name in sorted(self._definitions)]

    def unserved(self, queues: Collection[str]) -> list[str]:
        """Queues that jobs go to by default and that are not among *queues*."""
        return sorted({str(one.options["queue"]) for one in self.all()} - set(queues))


def origin_of(code: Callable[..., Any]) -> str:
    """Module and qualified name of a function or class, the same wherever it is imported."""
    return f"{module_of(code)}.{code.__qualname__}"


def module_of(code: Callable[..., Any]) -> str:
    """Name of the module of a function or class, by which a worker imports it.

    A program's own module is called ``__main__`` while it runs and something else when a worker
    imports it; the latter counts.
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
