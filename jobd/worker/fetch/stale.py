"""Detects claimed jobs that wait too long for a thread of this worker.

They are returned to the head of their queue, for any free worker: a long job must not block the
jobs claimed after it.
"""

from __future__ import annotations

import time
from collections import deque

from jobd.worker.run.pool import Pool

LIMIT = 0.25
"""Seconds from the claim within which a job must have started."""


class Stale:
    """Tracks batches of claimed jobs until they have started. Used by the fetcher thread only."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._batches: deque[tuple[float, int]] = deque()
        self._started = 0

    def dispatched(self, newest: int) -> None:
        """Jobs up to sequence number *newest* have been handed to the threads."""
        self._batches.append((time.monotonic(), newest))

    def overdue(self) -> bool:
        """Whether a job has waited longer than :data:`LIMIT`."""
        if self._pool.queue.empty():
            self._batches.clear()
            return False
        self._started = max(self._started, self._pool.newest_started())
        while self._batches and self._batches[0][1] <= self._started:
            self._batches.popleft()
        return bool(self._batches) and time.monotonic() - self._batches[0][0] > LIMIT
