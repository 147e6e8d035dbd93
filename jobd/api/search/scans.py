"""Long ways in short steps: searching, and acting on everything that a search finds.

A page of a dashboard cannot wait for a search through a million jobs, and nobody else shall wait
for it either. So a search is an object that takes one bounded step at a time; whoever has it
decides how many. Its :attr:`~Scan.cursor` is a short text from which another process can go on.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from jobd.api.reading import BYTES, MOST_HELD, unsigned
from jobd.api.records import JobRecord, weight
from jobd.errors import ArgumentError
from jobd.jobs.unrun import refuse_lazy, refuse_unrun
from jobd.text.translatable import Text

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


def predicate(where: Callable[[T], object] | None) -> Callable[[T], bool]:
    """*where* as a test of each job, or one that all jobs pass.

    Raises:
        ArgumentError: every job would pass it, as it is a coroutine function or a generator.
    """
    if where is None:
        return lambda _: True
    refuse_lazy("where", where)

    def passes(job: T) -> bool:
        answer = where(job)
        refuse_unrun("where", answer)
        return bool(answer)

    return passes


def position(cursor: str) -> int:
    """Where a search was by its :attr:`Scan.cursor`; "" is the beginning.

    Raises:
        ArgumentError: it is none.

    >>> position(""), position("17")
    (0, 17)
    """
    found = unsigned(cursor or "0")
    if found is None:
        raise not_a_cursor(cursor)
    return found


def not_a_cursor(text: str) -> ArgumentError:
    """The error of what was given as one."""
    return ArgumentError(f"{text[:50]!r} is not a cursor of a search; leave it out to start again")


def take_steps(step: Callable[[], object], done: Callable[[], bool], seconds: float | None) -> None:
    """Call *step* until all is *done*, or for about so many seconds, but once at least."""
    end = end_of(seconds)
    while not done():
        step()
        if time.monotonic() >= end:
            break


def end_of(seconds: float | None) -> float:
    """When so many seconds are over, by the monotonic clock; never if that is None."""
    return float("inf") if seconds is None else time.monotonic() + seconds


def require_room(found: Sequence[JobRecord]) -> None:
    """Refuse to hold more than :data:`MOST_HELD` bytes at once.

    Raises:
        ArgumentError: asks for fewer jobs.
    """
    if sum(map(weight, found)) > MOST_HELD:
        raise ArgumentError(
            Text(
                "these jobs have more than %(most)s MB together; choose fewer of them",
                most=MOST_HELD // 1024**2,
            )
        )


class Scan(ABC, Generic[T_co]):
    """A search.

    Attributes:
        done: nothing is left.
        scanned: how many entries have been looked at.

    Example:
        >>> scan = api.retries.scan("Timeout")  # doctest: +SKIP
        >>> while not scan.done:  # doctest: +SKIP
        ...     for entry in scan.next():
        ...         print(entry.jid)
    """

    def __init__(self) -> None:
        self.done = False
        self.scanned = 0

    @property
    @abstractmethod
    def cursor(self) -> str:
        """Where it is; give it to a new search to go on."""

    @abstractmethod
    def next(self) -> list[T_co]:
        """Take one step: what it found, maybe nothing.

        Raises:
            UnavailableError: the server does not answer; the step may be taken again.
        """

    def first(self, count: int, *, seconds: float = 0.25) -> list[T_co]:
        """Take steps until there are *count* finds, or about 4 MB of them, nothing is left or the
        time is over.

        Returns:
            What was found, which can be more than *count*.
        """
        found: list[T_co] = []
        end, room = time.monotonic() + seconds, BYTES
        while not self.done and len(found) < count and room > 0:
            step = self.next()
            found += step
            room -= sum(len(one.value) for one in step if isinstance(one, JobRecord))
            if time.monotonic() >= end:
                break
        return found

    def __iter__(self) -> Iterator[T_co]:
        """All that it finds, step by step."""
        while not self.done:
            yield from self.next()


class Sweep(ABC):
    """An action on everything that a search finds.

    Each step is atomic. A crash between two leaves what was not reached as it was; a new sweep goes
    on with it.

    Attributes:
        ref: the id of the action in the audit log and the trash.
        changed: how many entries it has changed.

    Example:
        >>> sweep = api.dead.sweep("delete", "Timeout")  # doctest: +SKIP
        >>> sweep.run(seconds=2.0), sweep.done  # doctest: +SKIP
        (1700, True)
    """

    def __init__(self, ref: str) -> None:
        self.ref = ref
        self.changed = 0

    @property
    @abstractmethod
    def done(self) -> bool:
        """Whether nothing is left."""

    @property
    @abstractmethod
    def scanned(self) -> int:
        """How many entries have been looked at."""

    @abstractmethod
    def _act(self) -> int:
        """Search one step, and act on what it found; how many entries were changed."""

    def step(self) -> int:
        """One step; returns how many entries it changed.

        Raises:
            UnavailableError: the server does not answer; what the step has found may be changed
                or not.
        """
        changed = self._act()
        self.changed += changed
        return changed

    def run(self, seconds: float | None = None) -> int:
        """Take steps until all is done, or for about so many seconds.

        Returns:
            How many entries it has changed in all.
        """
        take_steps(self.step, lambda: self.done, seconds)
        return self.changed
