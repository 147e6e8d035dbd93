"""What all requests of one dashboard share."""

from __future__ import annotations

import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from jobd.api import Api, JobMetrics, Trouble
from jobd.api.shared.figures import MOST_LOOKED_AT, SHARED, Figures
from jobd.errors import UnavailableError
from jobd.store.trouble import where
from jobd.web.shared.batch_rates import BatchRates
from jobd.web.shared.grouping import Grouping
from jobd.web.shared.histograms import Histograms
from jobd.web.shared.progress import Progress
from jobd.web.shared.queue_rates import Flows
from jobd.web.shared.streams import Streams

FRESH = 1.5
"""Seconds for which the counters of all pages are the same."""

VERSION = 60.0
"""Seconds for which the version of Redis is not asked for again."""

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
class State(Figures):
    """One dashboard: where its data is, and what it is called."""

    title: str
    back: str
    recent: deque[Live] = field(default_factory=lambda: deque(maxlen=RECENT))
    streams: Streams = field(default_factory=Streams)
    flows: Flows = field(default_factory=Flows)
    batch_rates: BatchRates = field(default_factory=BatchRates)
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
