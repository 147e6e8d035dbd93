"""Executions and failures a second, from one look to the next."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

MOST = 600
"""Looks that are remembered."""


class Rate(NamedTuple):
    """What happened a second between two looks."""

    processed: float
    failed: float


class Rates:
    """The rates of the last looks.

    >>> rates = Rates()
    >>> rates.add(0.0, 100, 7), rates.add(2.0, 120, 8)
    (Rate(processed=0.0, failed=0.0), Rate(processed=10.0, failed=0.5))
    >>> rates.add(4.0, 0, 0)  # somebody has set the counters to zero
    Rate(processed=0.0, failed=0.0)
    """

    def __init__(self) -> None:
        self.seen: deque[Rate] = deque(maxlen=MOST)
        self._last: tuple[float, int, int] | None = None

    def add(self, at: float, processed: int, failed: int) -> Rate:
        """Note the totals at a time (seconds of any clock); the rate since the last ones."""
        rate = Rate(0.0, 0.0)
        if self._last is not None:
            before, done, bad = self._last
            gap = max(0.001, at - before)
            rate = Rate(max(0, processed - done) / gap, max(0, failed - bad) / gap)
            self.seen.append(rate)
        self._last = (at, processed, failed)
        return rate
