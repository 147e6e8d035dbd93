"""Detects claimed jobs that wait too long for a thread or a place on the event loop of this worker.

They are returned to the head of their queue, for any free worker: a long job must not block the
jobs claimed after it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from jobd.store.inflight import Claimed


class Place(Protocol):
    """What runs jobs of one kind: the threads, or the event loop."""

    size: int

    @property
    def waiting(self) -> bool: ...
    def give(self, jobs: Iterable[Claimed]) -> None: ...
    def take_back(self) -> list[Claimed]: ...
    def newest_started(self) -> int: ...


LIMIT = 0.25
"""Seconds from the claim within which a job must have started."""


class Stale:
    """Tracks batches of claimed jobs until they have started. Used by the fetcher thread only."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._batches: deque[tuple[float, int]] = deque()
        self._started = 0

    def dispatched(self, newest: int) -> None:
        """Jobs up to sequence number *newest* have been handed over."""
        self._batches.append((time.monotonic(), newest))

    def overdue(self) -> bool:
        """Whether a job has waited longer than :data:`LIMIT`."""
        if not self._place.waiting:
            self._batches.clear()
            return False
        self._started = max(self._started, self._place.newest_started())
        while self._batches and self._batches[0][1] <= self._started:
            self._batches.popleft()
        return bool(self._batches) and time.monotonic() - self._batches[0][0] > LIMIT
