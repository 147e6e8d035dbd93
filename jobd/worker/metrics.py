"""Metrics of jobs: executions, failures and durations, for the metrics pages.

After a job its thread only appends one number to a list. The numbers are aggregated once a second,
in C and in small chunks, so that no other thread waits. Every heartbeat sends the totals since the
last one, in the format of Sidekiq 8.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import repeat

import redis

from jobd.ambient import clock
from jobd.store.keys import Keys
from jobd.store.protocol import ask
from jobd.wire.histogram import BOUNDS, LONG, SHORT
from jobd.worker.starts import Starts

CHUNK = 2_000
"""Numbers aggregated at a time: this takes 0.3 ms, during which no other thread can run."""

_MOST_WAITING = 500_000
"""Most numbers waiting per job; further executions are not counted."""

_SEPARATOR = "|"
_SECONDS = [bound / 1000 for bound in BOUNDS]


@dataclass(slots=True)
class Tally:
    """The totals of one job; *buckets* holds counts by histogram bucket."""

    processed: int = 0
    failed: int = 0
    seconds: float = 0.0
    buckets: Counter[int] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add *other* to this one."""
        self.processed += other.processed
        self.failed += other.failed
        self.seconds += other.seconds
        self.buckets.update(other.buckets)


class Metrics:
    """Counts and durations of one worker's jobs. Job threads record, the main thread aggregates
    (:meth:`fold`), the heartbeat thread sends.

    Attributes:
        starts: counts starts in the same way; None where no queue has an objective.
    """

    def __init__(self, starts: Starts | None = None) -> None:
        self.starts = starts
        self._waiting: defaultdict[str, list[float]] = defaultdict(list)
        self._tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self._lock = threading.Lock()

    def done(self, name: str, seconds: float) -> None:
        """Record a successful execution of the registered job *name*."""
        self._waiting[name].append(seconds)

    def failed(self, name: str) -> None:
        """Record an execution of the registered job *name* that raised."""
        with self._lock:
            self._tallies[name].add(Tally(1, 1))

    def fold(self) -> None:
        """Aggregate the recorded durations."""
        for name in list(self._waiting):
            waiting = self._waiting[name]
            del waiting[_MOST_WAITING:]
            while waiting:
                with self._lock:
                    chunk = waiting[:CHUNK]
                    del waiting[: len(chunk)]
                    buckets = Counter(map(bisect_right, repeat(_SECONDS), chunk))
                    self._tallies[name].add(Tally(len(chunk), 0, sum(chunk), buckets))

    def send(self, client: redis.Redis, keys: Keys) -> None:
        """Add the new totals to the buckets of this minute and these ten minutes: one round trip,
        none if nothing is new.

        Raises:
            redis.RedisError: the next call sends them again; whatever Redis had stored before the
                failure is counted twice.
        """
        self.fold()
        with self._lock:
            tallies, self._tallies = self._tallies, defaultdict(Tally)
        # The separator would make the field names ambiguous.
        new = {name: tally for name, tally in tallies.items() if _SEPARATOR not in name}
        if not new:
            return
        try:
            _send(client, keys, new)
        except redis.RedisError:
            with self._lock:
                for name, tally in new.items():
                    self._tallies[name].add(tally)
            raise


def _send(client: redis.Redis, keys: Keys, tallies: dict[str, Tally]) -> None:
    moment = clock.now()
    buckets: tuple[tuple[Callable[[float], str], int], ...] = (
        (keys.metrics_minute, SHORT),
        (keys.metrics_ten_minutes, LONG),
    )
    with client.pipeline(transaction=False) as pipe:
        for spell, ttl in buckets:
            key = spell(moment)
            for name, tally in tallies.items():
                counts = (tally.processed, tally.failed, round(tally.seconds * 1000))
                for letter, count in zip(("p", "f", "ms"), counts, strict=True):
                    if count:
                        pipe.hincrby(key, f"{name}{_SEPARATOR}{letter}", count)
            pipe.expire(key, ttl)
        for name, tally in tallies.items():
            if tally.buckets:
                key = keys.metrics_histogram(name, moment)
                ask(pipe, "BITFIELD", key, *_increments(tally.buckets))
                pipe.expire(key, SHORT)
        pipe.execute()


def _increments(buckets: Counter[int]) -> list[str | int]:
    """Arguments of BITFIELD: 16-bit counters that saturate."""
    words: list[str | int] = ["OVERFLOW", "SAT"]
    for at, count in sorted(buckets.items()):
        words += ("INCRBY", "u16", f"#{at}", min(count, 65_535))
    return words
