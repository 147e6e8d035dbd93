"""The limit of enqueueing: redis-py's own ``LPUSH`` of a payload that is ready."""

from __future__ import annotations

import time

import redis

from benchmarks.apps import URL
from benchmarks.apps.waiter import QUEUE
from benchmarks.load import work
from benchmarks.load.payloads import payload

_redis = redis.Redis.from_url(URL)
_AT_ONCE = 1000


def _raw(workload: str) -> bytes:
    name, args = f"bench.{workload}", work.ARGUMENTS[workload]
    return payload(name, args, created=time.time(), queued=True)


def push(workload: str, n: int) -> None:
    raw = _raw(workload)
    for _ in range(n):
        _redis.lpush("queue:default", raw)


def push_bulk(workload: str, n: int) -> None:
    raw = _raw(workload)
    for first in range(0, n, _AT_ONCE):
        _redis.lpush("queue:default", *[raw] * min(_AT_ONCE, n - first))


def push_stamp(at: int) -> None:
    _redis.lpush(QUEUE, at)
