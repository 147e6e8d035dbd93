"""Prefetch: how many jobs to claim beyond the free threads.

The limit is a time, not a number: at the recent pace, a claimed job should start within
:data:`HORIZON` seconds. Jobs of ten microseconds are claimed by the thousand, jobs of a second only
for a free thread, so that a long job never blocks short ones. From queues that others precede in
strict order, only a few milliseconds of work are claimed.
"""

from __future__ import annotations

import time

HORIZON = 0.1
"""Seconds of work to hold. Well below the quarter of a second after which jobs are returned."""

BEHIND = 0.01
"""The same, for queues after the first in strict order."""

AT_MOST = 10_000
"""Most jobs to hold, whatever the pace: they must be recovered if this worker dies."""

_SAMPLE = 0.005
_MEMORY = 0.05


class Ahead:
    """Measures the rate at which jobs end.

    Args:
        threads: how many jobs run at a time.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pace = 0.0
        self._ended = 0
        self._since = time.monotonic()

    def note(self, ended: int) -> None:
        """Record that *ended* more jobs have ended."""
        self._ended += ended
        now = time.monotonic()
        elapsed = now - self._since
        if elapsed >= _SAMPLE:
            newest = self._ended / elapsed
            self._pace += (newest - self._pace) * min(1.0, elapsed / _MEMORY)
            self._ended = 0
            self._since = now

    @property
    def jobs(self) -> int:
        """How many jobs to hold for busy threads. 0 if a thread ends at most one job within the
        horizon: the next job might then have to wait longer than that."""
        return self._within(HORIZON)

    @property
    def behind(self) -> int:
        """The same, for queues after the first in strict order."""
        return self._within(BEHIND)

    def _within(self, seconds: float) -> int:
        return max(0, min(AT_MOST, int(self._pace * seconds) - self._threads))
