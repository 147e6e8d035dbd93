"""What everybody asks for first, read once for all who ask within seconds: the dashboard's pages,
its API, and Prometheus.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from jobd.api.entry import Api
from jobd.api.info import RedisInfo
from jobd.api.processes import Process
from jobd.api.queues.queues import QueueSummary
from jobd.api.queues.slo import COMMANDS
from jobd.api.shared.snapshots import Snapshots
from jobd.api.stats import Stats

SHARED = 2.0
"""Seconds for which all see the same queues, processes and running jobs."""

PACE = 15
"""Commands a second for each of these, as long as anybody asks: where there are many of them, each
of which costs a command or two, they are read less often."""

OLDEST = 30.0
"""Seconds after which they are read again, however many they are."""

MOST_LOOKED_AT = 5_000
"""Queues, and processes, of which pages and totals know. Of more, any so many: whoever can push
jobs can make up names, and a hundred thousand would keep everybody waiting."""

_INFO = 5.0


@dataclass(slots=True)
class Figures:
    """The figures of one installation."""

    api: Api
    snapshots: Snapshots = field(default_factory=Snapshots, kw_only=True)

    def queues(self) -> list[QueueSummary]:
        """The queues, at most :data:`MOST_LOOKED_AT` of them; :data:`SHARED` seconds old or, where
        they are many, some more."""
        return self.snapshots.get(
            "queues",
            lambda found: lasts(2 * len(found) + (COMMANDS if _any_slo(found) else 0)),
            lambda: self.api.queues(MOST_LOOKED_AT),
        )

    def known_queues(self) -> int:
        """How many queues there are."""
        looked_at = len(self.queues())
        if looked_at < MOST_LOOKED_AT:
            return looked_at
        count = self.snapshots.get(
            "known queues", OLDEST, lambda: int(self.api.redis.scard(self.api.keys.queues))
        )
        return max(looked_at, count)

    def processes(self) -> list[Process]:
        """The processes, as many and as old as the queues."""
        return self.snapshots.get(
            "processes",
            lambda found: lasts(len(found)),
            lambda: self.api.processes.all(MOST_LOOKED_AT),
        )

    def stats(self) -> Stats:
        """All counters, what is in flight as well; for those who ask seldom."""
        return self.snapshots.get(
            "stats",
            lambda found: lasts(len(found.queues) + 2 * found.processes_size),
            lambda: self.api.stats(MOST_LOOKED_AT),
        )

    def info(self) -> RedisInfo:
        """How Redis is, some seconds old."""
        return self.snapshots.get("info", _INFO, self.api.info)


def _any_slo(queues: list[QueueSummary]) -> bool:
    return any(queue.slo is not None for queue in queues)


def lasts(commands: int, pace: float = PACE) -> float:
    """Seconds for which something is fresh that so many commands have read.

    >>> lasts(10), lasts(150), lasts(100_000)
    (2.0, 10.0, 30.0)
    """
    return min(OLDEST, max(SHARED, commands / pace))
