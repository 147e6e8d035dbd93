"""RQ's jobs."""

from __future__ import annotations

import redis
import rq

from benchmarks.apps import URL
from benchmarks.load import stamps, work

_queue = rq.Queue("bench", connection=redis.Redis.from_url(URL))
_AT_ONCE = 1000


def push(workload: str, n: int) -> None:
    function, arguments = work.FUNCTIONS[workload], work.ARGUMENTS[workload]
    for _ in range(n):
        _queue.enqueue(function, *arguments, result_ttl=0)


def push_bulk(workload: str, n: int) -> None:
    function, arguments = work.FUNCTIONS[workload], work.ARGUMENTS[workload]
    for first in range(0, n, _AT_ONCE):
        jobs = [
            rq.Queue.prepare_data(function, args=arguments, result_ttl=0)
            for _ in range(min(_AT_ONCE, n - first))
        ]
        _queue.enqueue_many(jobs)


def push_stamp(at: int) -> None:
    _queue.enqueue(stamps.start, at, result_ttl=0)
