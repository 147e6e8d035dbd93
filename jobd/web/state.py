"""What all requests of one dashboard share."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from starlette.requests import Request

from jobd.api import Api, Stats
from jobd.web.flow import Flows
from jobd.web.gate import user_of
from jobd.web.grouping import Grouping
from jobd.web.snapshots import Snapshots
from jobd.web.streams import Streams

FRESH = 1.5
"""Seconds for which the counters of all pages are the same."""

MOST_COMMANDS = 30
"""Commands a second for what is in :class:`jobd.api.Stats`, as long as any page is open."""

RECENT = 300
"""Counters that are remembered, ten minutes of them, so that a chart need not begin anew."""


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
    _stretch: float = FRESH

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

    def stats(self) -> Stats:
        """All counters. Where there are many queues and processes they are older, for each costs a
        command or two: together no more than :data:`MOST_COMMANDS` a second."""
        return self.snapshots.get("stats", self._stretch, self._read_stats)

    def _read_stats(self) -> Stats:
        stats = self.api.stats()
        commands = 10 + len(stats.queues) + 2 * stats.processes_size
        self._stretch = max(FRESH, commands / MOST_COMMANDS)
        return stats

    def _read(self) -> Live:
        stats, now = self.stats(), self.api.counters()
        return Live(
            at=round(time.time(), 3),
            processed=now.processed,
            failed=now.failed,
            busy=stats.workers_size,
            enqueued=stats.enqueued,
            retries=now.retry_size,
            scheduled=now.scheduled_size,
            dead=now.dead_size,
            processes=now.processes_size,
            latency=round(now.default_queue_latency, 3),
        )


def state_of(request: Request) -> State:
    """The dashboard that this request is for."""
    state = request.scope["jobd.state"]
    assert isinstance(state, State)
    return state


def acting(request: Request) -> Api:
    """The data API on behalf of who asks: what he does is in the audit log, and can be undone."""
    return state_of(request).api.acting_as(user_of(request).name)
