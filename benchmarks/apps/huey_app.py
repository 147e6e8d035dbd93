"""huey's jobs. It has no bulk push."""

from __future__ import annotations

from huey import RedisHuey

from benchmarks.apps import URL
from benchmarks.load import stamps, work

huey = RedisHuey("bench", url=URL)

TASKS = {name: huey.task()(function) for name, function in work.FUNCTIONS.items()}

STAMP = huey.task()(stamps.start)


def push(workload: str, n: int) -> None:
    task, arguments = TASKS[workload], work.ARGUMENTS[workload]
    for _ in range(n):
        task(*arguments)


push_bulk = push


def push_stamp(at: int) -> None:
    STAMP(at)
