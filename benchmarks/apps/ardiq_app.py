"""ardiq's jobs. Its results cannot be switched off, and are kept for as short as it allows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from ardiq import Ardiq

from benchmarks.apps import AT_ONCE, THREADS, URL, loop
from benchmarks.load import stamps, work

app = Ardiq(URL, "bench", concurrency=AT_ONCE, result_ttl_ms=1)

TASKS = {name: app.task(function, name=name) for name, function in work.WORKLOADS.items()}


@app.lifespan
async def _threads() -> AsyncIterator[None]:
    # Those of asyncio are as many as the machine has cores, and four more.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS))
    yield


STAMP = app.task(stamps.start, name="stamp")

_AT_ONCE = 1000


def push(workload: str, n: int) -> None:
    enqueue, arguments = TASKS[workload].enqueue, work.ARGUMENTS[workload]
    loop.run(loop.push(lambda: enqueue(*arguments), n))


def push_bulk(workload: str, n: int) -> None:
    prepare, arguments = TASKS[workload].prepare, work.ARGUMENTS[workload]
    for first in range(0, n, _AT_ONCE):
        some = [prepare(*arguments) for _ in range(min(_AT_ONCE, n - first))]
        loop.run(app.enqueue_many(some))


def push_stamp(at: int) -> None:
    loop.run(STAMP.enqueue(at))
