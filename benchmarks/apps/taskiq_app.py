"""taskiq's jobs, on its fastest Redis broker (a list; without acknowledgements).

Its fastest way to enqueue is many kicks at once in one event loop.
"""

from __future__ import annotations

from functools import cache, partial

from taskiq_redis import ListQueueBroker

from benchmarks.apps import URL, loop
from benchmarks.load import stamps, work

# Without a time limit: redis-py 8 has one of five seconds, at which an idle worker would end, as it
# waits longer than that for a job.
broker = ListQueueBroker(URL, queue_name="bench", socket_timeout=None)

TASKS = {
    name: broker.task(task_name=f"bench:{name}")(function)
    for name, function in work.WORKLOADS.items()
}

STAMP = broker.task(task_name="bench:stamp")(stamps.start)

_AT_ONCE = 50


@cache
def _connect() -> None:
    loop.run(broker.startup())


def push(workload: str, n: int, at_once: int = 1) -> None:
    _connect()
    loop.run(loop.push(partial(TASKS[workload].kiq, *work.ARGUMENTS[workload]), n, at_once))


def push_bulk(workload: str, n: int) -> None:
    push(workload, n, _AT_ONCE)


def push_stamp(at: int) -> None:
    _connect()
    loop.run(STAMP.kiq(at))
