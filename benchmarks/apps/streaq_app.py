"""streaq's jobs, without results."""

from __future__ import annotations

from functools import cache

from streaq import Worker

from benchmarks.apps import AT_ONCE, QUIET, URL, loop
from benchmarks.load import stamps, work

worker = Worker(URL, concurrency=AT_ONCE, queue_name="bench")

TASKS = {
    name: worker.task(name=name, ttl=0, silent=QUIET)(function)
    for name, function in work.WORKLOADS.items()
}

STAMP = worker.task(name="stamp", ttl=0, silent=QUIET)(stamps.start)

_AT_ONCE = 1000


@cache
def _connect() -> None:
    loop.run(worker.__aenter__())


def push(workload: str, n: int) -> None:
    _connect()
    enqueue, arguments = TASKS[workload].enqueue, work.ARGUMENTS[workload]
    loop.run(loop.push(lambda: enqueue(*arguments), n))


def push_bulk(workload: str, n: int) -> None:
    _connect()
    enqueue, arguments = TASKS[workload].enqueue, work.ARGUMENTS[workload]
    for first in range(0, n, _AT_ONCE):
        some = [enqueue(*arguments) for _ in range(min(_AT_ONCE, n - first))]
        loop.run(worker.enqueue_many(some))


def push_stamp(at: int) -> None:
    _connect()
    loop.run(_send(at))


async def _send(at: int) -> None:
    await STAMP.enqueue(at)
