"""How many workers are wanted, for autoscalers.

The arithmetic is Little's law (https://en.wikipedia.org/wiki/Little%27s_law): jobs that run =
jobs that end per second × seconds that one takes. What this daemon runs and ends in a minute tells
how long a job takes; what the fleet runs, how many it ends; by how much the queues grow, how many
come. See docs/health.md.
"""

from __future__ import annotations

import json
import math
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from itertools import pairwise

from jobd.api.processes import Process
from jobd.api.queues.queues import waits
from jobd.api.shared.figures import Figures
from jobd.runtime.ipc.messages import Serving
from jobd.settings.daemon import Config
from jobd.store.loops import Loop

WINDOW = 60.0
"""Seconds that the rates are an average of."""

EVERY = 5.0
"""Seconds between two looks at the queues, while somebody asks."""

ASKED = 300.0
"""Seconds without a question after which nothing is looked at any more."""

DRAIN = 60.0
"""Seconds within which what waits is to be worked off."""

UTILIZATION = 0.8
"""Share of the places that is to be busy: at 1, everything waits."""


@dataclass(frozen=True, slots=True)
class Load:
    """What was measured.

    Attributes:
        waiting: jobs in the queues.
        growth: jobs per second by which they grow; below zero when they shrink.
        running: jobs that run, in all workers that serve the queues.
        seconds: that a job takes; None where none has run.
        workers: processes that serve the queues and take jobs.
        places: jobs that one of them runs at most at a time.
    """

    waiting: int
    growth: float
    running: int
    seconds: float | None
    workers: int
    places: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted, and what it was made from; see :class:`Load`.

    Attributes:
        workers: processes, at least 1; as many as there are where nothing is known yet.
        daemons: the same, of daemons as large as this one.
        places: jobs at a time.
        known: whether it was calculated.
        arrival_rate, completion_rate: jobs per second; None where nothing is known.
        oldest: seconds that the oldest job has waited.
    """

    workers: int
    daemons: int
    places: float
    known: bool
    queues: tuple[str, ...]
    waiting: int
    oldest: float
    running: int
    arrival_rate: float | None
    completion_rate: float | None
    seconds_per_job: float | None
    workers_now: int
    places_per_worker: float
    workers_per_daemon: int
    drain_seconds: float = DRAIN
    utilization: float = UTILIZATION

    def json(self) -> str:
        """One object; the names are documented, and stay."""
        return json.dumps(asdict(self)) + "\n"


def places(load: Load) -> float | None:
    """Jobs that must run at a time to keep up and to work off what waits within :data:`DRAIN`
    seconds, at a utilization of :data:`UTILIZATION`; None where that is not known.

    >>> places(Load(waiting=0, growth=0.0, running=8, seconds=0.5, workers=1, places=10.0))
    10.0
    >>> places(Load(waiting=600, growth=2.0, running=8, seconds=0.5, workers=1, places=10.0))
    17.5
    """
    if load.seconds is None:
        return None if load.running or load.waiting else 0.0
    keep_up = max(0.0, load.running + load.growth * load.seconds)
    return (keep_up + load.waiting / DRAIN * load.seconds) / UTILIZATION


def wanted(load: Load, queues: tuple[str, ...], oldest: float, daemon: int) -> Wanted:
    """What is wanted; *daemon* is the number of workers of one daemon."""
    needed = places(load)
    known = needed is not None
    count = load.workers if needed is None else math.ceil(round(needed / load.places, 6))
    ends = load.running / load.seconds if load.seconds else None
    return Wanted(
        workers=max(1, count),
        daemons=max(1, math.ceil(count / daemon)),
        places=round(load.running if needed is None else needed, 3),
        known=known,
        queues=queues,
        waiting=load.waiting,
        oldest=round(oldest, 3),
        running=load.running,
        arrival_rate=None if ends is None else round(max(0.0, ends + load.growth), 3),
        completion_rate=None if ends is None else round(ends, 3),
        seconds_per_job=None if load.seconds is None else round(load.seconds, 6),
        workers_now=load.workers,
        places_per_worker=round(load.places, 3),
        workers_per_daemon=daemon,
    )


@dataclass(frozen=True, slots=True)
class _Seen:
    """The queues at one moment (monotonic s)."""

    at: float
    waiting: int
    oldest: float
    processes: tuple[Process, ...] = field(repr=False)


def _window() -> deque[_Seen]:
    return deque(maxlen=int(WINDOW / EVERY) + 1)


class Scale(Loop):
    """Looks at the queues while somebody asks."""

    def __init__(self, figures: Figures, config: Config) -> None:
        super().__init__("scale", figures.api.redis)
        self._figures = figures
        self._config = config
        self._queues = tuple(queue.name for queue in config.queues)
        self._told: deque[tuple[float, Serving]] = deque(maxlen=int(WINDOW))
        # Replaced rather than emptied: two threads look and read.
        self._seen: deque[_Seen] = _window()
        self._asked = -math.inf

    def heard(self, message: Serving) -> None:
        """The master has told what its workers do. Called by the main thread."""
        self._told.append((time.monotonic(), message))

    def answer(self) -> Wanted:
        """What is wanted now. Looks itself where nobody has asked lately.

        Raises:
            UnavailableError: the server does not answer.
        """
        now = time.monotonic()
        idle, self._asked = now - self._asked > ASKED, now
        self.wake()
        if idle or not self._seen or now - self._seen[-1].at > 2 * EVERY:
            self._look()
        seen = self._seen[-1]
        return wanted(self._load(), self._queues, seen.oldest, self._config.workers)

    def turn(self) -> float | None:
        if time.monotonic() - self._asked > ASKED:
            return None
        self._look()
        return EVERY

    def _look(self) -> None:
        api, now = self._figures.api, time.monotonic()
        paused = {queue.name for queue in self._figures.queues() if queue.paused}
        found = list(waits(api, [name for name in self._queues if name not in paused]))
        serve = tuple(
            one
            for one in self._figures.processes()
            if not one.stopping
            and not paused.issuperset(one.queues)
            and not set(self._queues).isdisjoint(one.queues)
        )
        sizes = sum(size for size, _ in found)
        oldest = max((latency for _, latency in found), default=0.0)
        window = self._seen
        if window and now - window[-1].at > WINDOW:
            window = _window()
        window.append(_Seen(now, sizes, oldest, serve))
        self._seen = window

    def _load(self) -> Load:
        seen = tuple(self._seen)
        first, last = seen[0], seen[-1]
        passed = last.at - first.at
        own = float(self._config.places)
        places = [one.concurrency for one in last.processes if one.concurrency > 0]
        return Load(
            waiting=last.waiting,
            growth=(last.waiting - first.waiting) / passed if passed > 0 else 0.0,
            running=sum(one.busy for one in last.processes),
            seconds=self._seconds(),
            workers=len(last.processes),
            places=sum(places) / len(places) if places else own,
        )

    def _seconds(self) -> float | None:
        """Seconds that a job takes: those that all have run in the window, by how many have ended
        in it; at least one is taken to have ended, so of longer jobs it is less than it is."""
        since = time.monotonic() - WINDOW
        # A copy: the main thread appends meanwhile.
        told = [each for each in tuple(self._told) if each[0] >= since]
        ran = ended = 0.0
        for (before, then), (at, now) in pairwise(told):
            if now.processed >= then.processed:  # else a worker was replaced
                ran += (at - before) * (then.running + now.running) / 2
                ended += now.processed - then.processed
        return ran / max(1.0, ended) if ran or ended else None
