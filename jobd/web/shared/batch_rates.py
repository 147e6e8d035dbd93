"""How fast the jobs of batches end, from what one process sees of their counters."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from jobd.ambient import clock
from jobd.features.batches.record import BatchStatus

EVERY = 2.0
"""Seconds between two looks that are remembered."""

KEPT = 15
"""Looks that a rate is an average of."""

FORGOTTEN = 60.0
"""Seconds after which the last look says nothing any more."""

_MOST = 2_000
"""Batches that are remembered."""


class Pace(NamedTuple):
    """How fast the jobs of a batch end.

    Attributes:
        rate: jobs that end in a second; None if that is not known.
        left: seconds until none is pending, if it goes on like that; None if that is not known.
    """

    rate: float | None
    left: float | None


class BatchRates:
    """What one process of the dashboard has seen of batches."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By id, those that were looked at last at the end: when (monotonic s), and jobs that had
        # ended.
        self._looks: dict[str, deque[tuple[float, int]]] = {}

    def look(self, batches: Iterable[BatchStatus], now: float | None = None) -> dict[str, Pace]:
        """Look at these batches once more. The first look tells the average since they were
        created, and so does each one of a batch that has ended.

        Args:
            now: of a clock that never goes back.
        """
        now = time.monotonic() if now is None else now
        with self._lock:
            found = {one.bid: self._pace(one, now) for one in batches}
            while len(self._looks) > _MOST:
                del self._looks[next(iter(self._looks))]
        return found

    def _pace(self, one: BatchStatus, now: float) -> Pace:
        ended = one.total - one.pending
        looks = self._looks.pop(one.bid, None)
        if one.ended_at is not None:
            return Pace(_rate(ended, one.ended_at - one.created_at), None)
        if looks is None or now - looks[-1][0] > FORGOTTEN:
            looks = deque(maxlen=KEPT)
        self._looks[one.bid] = looks
        if not looks or now - looks[-1][0] >= EVERY:
            looks.append((now, ended))
        first, before = looks[0]
        if now - first < EVERY:
            rate = _rate(ended, clock.now() - one.created_at)
        else:
            rate = max(0.0, ended - before) / (now - first)
        return Pace(rate, one.pending / rate if rate and one.pending else None)


def _rate(ended: int, seconds: float) -> float | None:
    return ended / seconds if seconds > 0 and ended else None
