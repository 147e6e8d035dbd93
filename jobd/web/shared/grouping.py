"""Failures grouped by what went wrong, for pages that must not wait for a hundred thousand jobs.

Each look goes a little further and shows what has been found; when all has been seen, that is shown
for a while, and longer while it is made again.
"""

from __future__ import annotations

import copy
import threading
import time
from dataclasses import dataclass

from jobd.api import FailureGroup, FailureGroups, JobSet

FRESH = 15.0
"""Seconds for which the groups of all jobs are shown before they are made again."""

_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Grouped:
    """The groups that are known.

    Attributes:
        groups: the largest first, at most 50.
        more: groups beyond those.
        scanned, size: jobs that have been looked at, and that there are.
        done: all have been.
    """

    groups: tuple[FailureGroup, ...] = ()
    more: int = 0
    scanned: int = 0
    size: int = 0
    done: bool = False


class Grouping:
    """The groups of one set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: FailureGroups | None = None
        self._size = 0
        self._shown = Grouped()
        self._made = 0.0

    def look(self, jobs: JobSet, seconds: float) -> Grouped:
        """Go on for about so many seconds; what is known then. Who comes while somebody else goes
        on gets what was known before."""
        if not self._lock.acquire(blocking=False):
            return self._shown
        try:
            if self._shown.done and time.monotonic() - self._made < FRESH:
                return self._shown
            if self._running is None:
                self._running, self._size = jobs.groups(), jobs.size
            found = self._running.run(seconds)
            done = self._running.done
            if done or not self._shown.done:
                self._shown = Grouped(
                    # The search goes on with its own, in another thread.
                    groups=copy.deepcopy(tuple(found[:_SHOWN])),
                    more=max(0, len(found) - _SHOWN),
                    scanned=min(self._running.scanned, self._size),
                    size=self._size,
                    done=done,
                )
            if done:
                self._running, self._made = None, time.monotonic()
            return self._shown
        finally:
            self._lock.release()

    def changed(self) -> None:
        """Somebody has changed the set, and wants to see it."""
        with self._lock:
            self._running, self._shown = None, Grouped()
