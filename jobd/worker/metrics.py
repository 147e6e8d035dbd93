"""How often each job has run, how often it failed, and how long it took, for the metrics pages.

A job thread only adds to counters of its own: no lock, no allocation, no call to Redis. Every
heartbeat sends what has been added since the last one, in the form of Sidekiq 8. The counters only
grow, so nothing is lost between two looks; what Redis did not take is sent with the next beat.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from typing import Any

import redis

from jobd.redis.keys import Keys
from jobd.redis.metrics import BOUNDS, LONG, SHORT

_PROCESSED, _FAILED, _MS, _BUCKETS = 0, 1, 2, 3
_WIDTH = _BUCKETS + len(BOUNDS) + 1
_NONE = [0] * _WIDTH
_SEPARATOR = "|"


class Metrics:
    """See the module. Job threads record, the heartbeat's thread sends."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._all: list[dict[str, list[int]]] = []
        self._sent: dict[str, list[int]] = {}

    def record(self, name: str, seconds: float | None) -> None:
        """An execution of the registered job *name* has ended.

        Args:
            seconds: how long it took; None for one that failed.
        """
        try:
            counters: dict[str, list[int]] = self._own.counters
        except AttributeError:
            counters = self._own.counters = {}
            self._all.append(counters)
        counts = counters.get(name)
        if counts is None:
            counts = counters[name] = [0] * _WIDTH
        if seconds is None:
            counts[_FAILED] += 1
        else:
            ms = int(seconds * 1000)
            counts[_MS] += ms
            counts[_BUCKETS + bisect_right(BOUNDS, ms)] += 1
        counts[_PROCESSED] += 1

    def send(self, client: redis.Redis, keys: Keys) -> None:
        """Add what is new to the buckets of this minute and these ten minutes; one round trip, and
        none if there is nothing.

        Raises:
            redis.RedisError: it was not taken; the next call sends it.
        """
        now = self._sums()
        new = {
            name: [a - b for a, b in zip(counts, self._sent.get(name, _NONE), strict=True)]
            for name, counts in now.items()
        }
        new = {name: counts for name, counts in new.items() if any(counts)}
        if not new:
            return
        moment = time.time()
        minute, ten_minutes = keys.metrics_minute(moment), keys.metrics_ten_minutes(moment)
        pipe: Any
        with client.pipeline(transaction=False) as pipe:
            for key, ttl in ((minute, SHORT), (ten_minutes, LONG)):
                for name, counts in new.items():
                    for at, letter in ((_PROCESSED, "p"), (_FAILED, "f"), (_MS, "ms")):
                        if counts[at]:
                            pipe.hincrby(key, f"{name}{_SEPARATOR}{letter}", counts[at])
                pipe.expire(key, ttl)
            for name, counts in new.items():
                if any(counts[_BUCKETS:]):
                    key = keys.metrics_histogram(name, moment)
                    pipe.execute_command("BITFIELD", key, *_increments(counts[_BUCKETS:]))
                    pipe.expire(key, SHORT)
            pipe.execute()
        self._sent = now

    def _sums(self) -> dict[str, list[int]]:
        """What has been counted in all threads since the start."""
        sums: dict[str, list[int]] = {}
        for counters in list(self._all):
            for name, counts in counters.copy().items():
                if _SEPARATOR not in name:  # it would break the fields of the hashes
                    sums[name] = [a + b for a, b in zip(sums.get(name, _NONE), counts, strict=True)]
        return sums


def _increments(buckets: list[int]) -> list[Any]:
    """Arguments of BITFIELD: 16 bits each, which stay full when they are full."""
    words: list[Any] = ["OVERFLOW", "SAT"]
    for at, count in enumerate(buckets):
        if count:
            words += ("INCRBY", "u16", f"#{at}", min(count, 65_535))
    return words
