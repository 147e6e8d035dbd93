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

from jobd.api import QueueSummary, Session
from jobd.api.reading import STEP, STEP_BYTES
from jobd.store import scripts
from jobd.store.protocol import Reply

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
"""Bytes of a job that is searched for."""


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

        Cost: a script for each 250 queues or megabyte; a search among 10,000 jobs at most.

        Args:
            now: of a clock that never goes back.
        """
        now = time.monotonic() if now is None else now
        names = [queue.name for queue in queues]
        self._watched = {name: self._watched[name] for name in names if name in self._watched}
        looks: list[Reply] = []
        while len(looks) < 3 * len(names):
            part = names[len(looks) // 3 :][:STEP]
            known = [((one := self._watched.get(name)) and one.newest) or b"" for name in part]
            looks += scripts.NEWEST(
                session.redis,
                [session.keys.queue(name) for name in part],
                [STEP_BYTES, _DEEPEST, _LARGEST, *known],
            )
        return {
            name: self._seen(name, now, size, None if place < 0 else place, newest or None)
            for name, size, place, newest in zip(
                names, looks[::3], looks[1::3], looks[2::3], strict=True
            )
        }

    def _seen(
        self, name: str, now: float, size: int, place: int | None, newest: bytes | None
    ) -> Rates:
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
