"""Histograms of classes over hours, of which only the last minutes are read again.

Eight hours of one class are 480 histograms. Those of minutes that are over do not change any more,
so they are kept.
"""

from __future__ import annotations

import threading
import time

from jobd.api import Histogram
from jobd.api.metrics import MOST_MINUTES, Metrics

SETTLED = 2
"""Minutes after which one does not change any more; workers write every ten seconds."""

_MOST = 50
"""Classes that are remembered."""


class Histograms:
    """What one process of the dashboard knows of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By class, those that were asked for last at the end; the counts by their minutes, which
        # follow one another.
        self._known: dict[str, dict[float, tuple[int, ...]]] = {}

    def look(self, metrics: Metrics, name: str, minutes: int) -> Histogram:
        """How long one job took in the last so many minutes; as :meth:`Metrics.histogram`.

        Cost: a command for each minute that is not known yet, and for the last three.

        Raises:
            UnavailableError: the server does not answer.
        """
        with self._lock:
            known = self._known.get(name, {})
        this = time.time() // 60 * 60
        # One more: when they are read, the clock may be a minute further.
        missing = max(1, int(this - max(known, default=0.0)) // 60 + 1)
        if missing > minutes or min(known) > this - 60 * (minutes - 1):
            known, missing = {}, minutes
        read = metrics.histogram(name, minutes=missing).series
        counts = known | dict(read)
        last = read[-1][0]
        found = tuple((at, counts[at]) for at in _minutes(last, minutes) if at in counts)
        settled = {at: counts[at] for at in _minutes(last, MOST_MINUTES) if at in counts}
        for at in _minutes(last, SETTLED):
            settled.pop(at, None)
        with self._lock:
            self._known.pop(name, None)
            self._known[name] = settled
            while len(self._known) > _MOST:
                del self._known[next(iter(self._known))]
        return Histogram(tuple(map(sum, zip(*(each for _, each in found), strict=True))), found)


def _minutes(last: float, count: int) -> list[float]:
    """The beginnings of so many minutes, oldest first."""
    return [last - 60 * back for back in reversed(range(count))]
