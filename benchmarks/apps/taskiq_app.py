"""taskiq's jobs, on its fastest Redis broker (a list; without acknowledgements).

Its fastest way to enqueue is many kicks at once in one event loop.
"""

from __future__ import annotations

import asyncio
from functools import cache

from taskiq_redis import ListQueueBroker

from benchmarks.apps import URL
from benchmarks.load import stamps, work

broker = ListQueueBroker(URL, queue_name="bench")

TASKS = {
    name: broker.task(task_name=f"bench:{name}")(function)
    for name, function in work.WORKLOADS.items()
}

STAMP = broker.task(task_name="bench:stamp")(stamps.start)

_AT_ONCE = 50


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One loop for all pushes: the broker's connections belong to it."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(broker.startup())
    return loop


def push(workload: str, n: int) -> None:
    _loop().run_until_complete(_push(workload, n, 1))


def push_bulk(workload: str, n: int) -> None:
    _loop().run_until_complete(_push(workload, n, _AT_ONCE))


def push_stamp(at: int) -> None:
    _loop().run_until_complete(STAMP.kiq(at))


async def _push(workload: str, n: int, at_once: int) -> None:
    task, arguments = TASKS[workload], work.ARGUMENTS[workload]

    async def some(count: int) -> None:
        for _ in range(count):
            await task.kiq(*arguments)

    counts = [n // at_once + (i < n % at_once) for i in range(at_once)]
    await asyncio.gather(*map(some, counts))
