"""How many jobs to claim beyond the free threads.

The rule is about time, not about a number: what is claimed should start within
:data:`HORIZON` seconds at the pace of the last moments. Jobs of ten microseconds are claimed by
the thousand, jobs of a second only for a thread that is free, so that a long job never holds short
ones hostage. Where other queues come first, a few milliseconds are all that their jobs may have to
wait for.
"""

from __future__ import annotations

import time

HORIZON = 0.1
"""Seconds of work to hold. Well below the quarter of a second after which jobs are returned."""

BEHIND = 0.01
"""The same, of queues that have others before them in strict order."""

AT_MOST = 10_000
"""Most jobs to hold, whatever the pace: so many must be returned if this worker dies."""

_SAMPLE = 0.005
_MEMORY = 0.05


class Ahead:
    """Follows the pace at which jobs end.

    Args:
        threads: how many jobs run at a time.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pace = 0.0
        self._ended = 0
        self._since = time.monotonic()

    def note(self, ended: int) -> None:
        """*ended* more jobs have ended."""
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
        """What to hold for threads that are busy now. None where a thread ends at most one job
        within the horizon: then the next job may well have to wait longer than that."""
        return self._within(HORIZON)

    @property
    def behind(self) -> int:
        """The same of queues that have others before them in strict order."""
        return self._within(BEHIND)

    def _within(self, seconds: float) -> int:
        return max(0, min(AT_MOST, int(self._pace * seconds) - self._threads))
