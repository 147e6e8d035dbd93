"""What all requests of one dashboard share."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from jobd.api import Api, JobMetrics, Process, QueueSummary, RedisInfo, Stats, Trouble
from jobd.errors import UnavailableError
from jobd.store.trouble import where
from jobd.web.shared.grouping import Grouping
from jobd.web.shared.histograms import Histograms
from jobd.web.shared.progress import Progress
from jobd.web.shared.queue_rates import Flows
from jobd.web.shared.snapshots import Snapshots
from jobd.web.shared.streams import Streams

FRESH = 1.5
"""Seconds for which the counters of all pages are the same."""

SHARED = 2.0
"""Seconds for which all pages show the same queues, processes and running jobs."""

PACE = 15
"""Commands a second for each of these, as long as any page is open: where there are many of them,
each of which costs a command or two, they are read less often."""

OLDEST = 30.0
"""Seconds after which they are read again, however many they are."""

VERSION = 60.0
"""Seconds for which the version of Redis is not asked for again."""

MOST_LOOKED_AT = 5_000
"""Queues, and processes, of which pages and totals know. Of more, any so many: whoever can push
jobs can make up names, and a hundred thousand would keep everybody waiting."""

RECENT = 300
"""Counters that are remembered, ten minutes of them, so that a chart need not start empty."""

CLASSES = 10.0
"""Seconds for which the metrics of all classes are fresh."""

MOST_BY_MINUTE = 4
"""Hours of which all classes are shown by minute; beyond, by ten minutes."""


@dataclass(frozen=True, slots=True)
class Live:
    """What every open page is told every other second.

    *at* is Unix time; the rest as in :class:`jobd.api.Stats`.
    """

    at: float
    processed: int
    failed: int
    busy: int
    enqueued: int
    retries: int
    scheduled: int
    dead: int
    processes: int
    latency: float


class Server:
    """Which Redis this is, for the footer of every page: two dashboards may look alike.

    Attributes:
        address, database, prefix: where the jobs are, without what is secret.
        version: of Redis, as soon as it is known.
    """

    def __init__(self, api: Api) -> None:
        self.address = where(api.redis)
        self.database = int(api.redis.get_connection_kwargs().get("db") or 0)
        self.prefix = api.keys.prefix
        self.version = ""


@dataclass(slots=True)
class State:
    """One dashboard: where its data is, and what it is called."""

    api: Api
    title: str
    back: str
    snapshots: Snapshots = field(default_factory=Snapshots)
    recent: deque[Live] = field(default_factory=lambda: deque(maxlen=RECENT))
    streams: Streams = field(default_factory=Streams)
    flows: Flows = field(default_factory=Flows)
    groupings: dict[str, Grouping] = field(
        default_factory=lambda: {"retry": Grouping(), "dead": Grouping()}
    )
    histograms: Histograms = field(default_factory=Histograms)
    progress: Progress = field(default_factory=Progress)
    server: Server = field(init=False)

    def __post_init__(self) -> None:
        self.server = Server(self.api)

    def changed(self) -> None:
        """Somebody has changed something, and wants to see it."""
        self.snapshots.changed()
        for grouping in self.groupings.values():
            grouping.changed()

    def counters(self) -> Live:
        """The counters, at most :data:`FRESH` seconds old."""
        counters = self.snapshots.get("counters", FRESH, self._read)
        if not self.recent or self.recent[-1].at < counters.at:
            self.recent.append(counters)
        return counters

    def look(self) -> None:
        """Read what every page shows around its content, where that is not fresh. What cannot be
        read stays as it was: the page itself says what is wrong."""
        with suppress(UnavailableError):
            self.counters()
            self.server.version = self.snapshots.get("version", VERSION, self.info).version

    def queues(self) -> list[QueueSummary]:
        """The queues, at most :data:`MOST_LOOKED_AT` of them; :data:`SHARED` seconds old or, where
        they are many, some more."""
        return self.snapshots.get(
            "queues",
            lambda found: lasts(2 * len(found)),
            lambda: self.api.queues(MOST_LOOKED_AT),
        )

    def known_queues(self) -> int:
        """How many queues there are."""
        looked_at = len(self.queues())
        if looked_at < MOST_LOOKED_AT:
            return looked_at
        count: Any = self.snapshots.get(
            "known queues", OLDEST, lambda: self.api.redis.scard(self.api.keys.queues)
        )
        return max(looked_at, int(count))

    def processes(self) -> list[Process]:
        """The processes, as many and as old as the queues."""
        return self.snapshots.get(
            "processes",
            lambda found: lasts(len(found)),
            lambda: self.api.processes.all(MOST_LOOKED_AT),
        )

    def served(self) -> frozenset[str] | None:
        """The queues from which some process takes jobs; None if there are more processes than
        are looked at."""
        processes = self.processes()
        if len(processes) >= MOST_LOOKED_AT:
            return None
        return self.snapshots.get(
            "served",
            SHARED,
            lambda: frozenset(
                name for process in processes if not process.stopping for name in process.queues
            ),
        )

    def classes(self, hours: int) -> list[JobMetrics]:
        """What each class did in so many hours, those that took most time first; some seconds old.

        By minute for some hours only: of fifty classes, eight hours of minutes are 72,000 numbers.
        """
        metrics = self.api.metrics

        def look() -> list[JobMetrics]:
            by_minute = hours <= MOST_BY_MINUTE
            return (
                metrics.top_jobs(minutes=60 * hours) if by_minute else metrics.top_jobs(hours=hours)
            )

        return self.snapshots.get(("classes", hours), CLASSES, look)

    def stats(self) -> Stats:
        """All counters, what is in flight as well; for those who ask seldom."""
        return self.snapshots.get(
            "stats",
            lambda found: lasts(len(found.queues) + 2 * found.processes_size),
            lambda: self.api.stats(MOST_LOOKED_AT),
        )

    def info(self) -> RedisInfo:
        """How Redis is, some seconds old."""
        return self.snapshots.get("info", 5.0, self.api.info)

    def troubles(self) -> list[Trouble]:
        """What is wrong with daemons, some seconds old."""
        return self.snapshots.get("troubles", 5.0, self.api.troubles)

    def _read(self) -> Live:
        now = self.api.counters()
        return Live(
            at=round(time.time(), 3),
            processed=now.processed,
            failed=now.failed,
            busy=sum(process.busy for process in self.processes()),
            enqueued=sum(queue.size for queue in self.queues()),
            retries=now.retry_size,
            scheduled=now.scheduled_size,
            dead=now.dead_size,
            processes=now.processes_size,
            latency=round(now.default_queue_latency, 3),
        )


def lasts(commands: int, pace: float = PACE) -> float:
    """Seconds for which something is fresh that so many commands have read.

    >>> lasts(10), lasts(150), lasts(100_000)
    (2.0, 10.0, 30.0)
    """
    return min(OLDEST, max(SHARED, commands / pace))
