"""How fast jobs come into a queue and leave it, from what one process sees of it.

Nobody counts that in Redis. But a queue is a list: of the job that was the newest at the last look,
its place now tells how many have come since, and the length how many have gone. A queue through
which everything passes between two looks shows nothing, and the rates are unknown.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from jobd.api import QueueSummary, Session
from jobd.api.reading import answers

EVERY = 4.0
"""Seconds between two looks."""

PACE = 10
"""Commands a second of the looks; where there are many queues, these are fewer."""

KEPT = 8
"""Looks that the rates are an average of."""

FORGOTTEN = 60.0
"""Seconds after which the last look says nothing any more."""

_DEEPEST = 10_000
"""Jobs among which the one of the last look is searched for."""

_LARGEST = 16 * 1024
"""Bytes of a job that is sent to search for it."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Of one queue; None for what is not known (yet).

    Attributes:
        coming, leaving: jobs per second.
        growing: jobs per second by which it has grown; below zero when it shrinks.
        empty_in: seconds until it is empty, if it goes on shrinking like that.
    """

    coming: float | None = None
    leaving: float | None = None
    growing: float | None = None
    empty_in: float | None = None


@dataclass(frozen=True, slots=True)
class _Step:
    """From one look to the next: jobs that came, left, and by which it grew, as far as known."""

    seconds: float
    came: int | None
    left: int | None
    grew: int | None


@dataclass(slots=True)
class _Watched:
    at: float
    size: int
    newest: bytes | None
    steps: deque[_Step] = field(default_factory=lambda: deque(maxlen=KEPT))

    def rates(self) -> Rates:
        growing = _rate((step.seconds, step.grew) for step in self.steps)
        return Rates(
            coming=_rate((step.seconds, step.came) for step in self.steps),
            leaving=_rate((step.seconds, step.left) for step in self.steps),
            growing=growing,
            empty_in=self.size / -growing if self.size and growing and growing < 0 else None,
        )


def _rate(counts: Iterable[tuple[float, int | None]]) -> float | None:
    """Jobs per second, of the seconds for which the number of jobs is known."""
    known = [(seconds, jobs) for seconds, jobs in counts if jobs is not None]
    return sum(jobs for _, jobs in known) / sum(seconds for seconds, _ in known) if known else None


class Flows:
    """What one process of the dashboard has seen of the queues. One thread at a time."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}

    def look(
        self, session: Session, queues: Iterable[QueueSummary], now: float | None = None
    ) -> dict[str, Rates]:
        """Look at these queues once more; their rates by name.

        Cost: one round trip of three commands for each queue; a search among 10,000 jobs at most.

        Args:
            now: of a clock that never goes back.
        """
        now = time.monotonic() if now is None else now
        names = [queue.name for queue in queues]
        self._watched = {name: self._watched[name] for name in names if name in self._watched}
        with session.redis.pipeline(transaction=False) as pipe:
            for name in names:
                known = self._watched.get(name)
                key = session.keys.queue(name)
                pipe.llen(key)
                newest: Any = known.newest if known and known.newest else b""
                pipe.lpos(key, newest, maxlen=_DEEPEST)
                pipe.lindex(key, 0)
            found = answers(pipe) if names else []
        looks = zip(names, found[::3], found[1::3], found[2::3], strict=True)
        return {
            name: self._seen(name, now, size or 0, place, newest)
            for name, size, place, newest in looks
        }

    def _seen(
        self, name: str, now: float, size: int, place: int | None, newest: bytes | None
    ) -> Rates:
        if newest is not None and len(newest) > _LARGEST:
            newest = None
        known = self._watched.get(name)
        if known is None or now - known.at > FORGOTTEN:
            self._watched[name] = _Watched(now, size, newest)
            return Rates()
        if now - known.at < EVERY / 2:
            return known.rates()
        came = place if known.newest is not None else None
        # What somebody has put back at the other end came as well.
        came = came if came is None else max(came, size - known.size)
        left = None if came is None else known.size + came - size
        # Where all has passed through in between, its size is a matter of chance.
        grew = None if came is None and size < _DEEPEST else size - known.size
        known.steps.append(_Step(now - known.at, came, left, grew))
        known.at, known.size, known.newest = now, size, newest
        return known.rates()
