"""Celery's jobs, without a result backend. Its groups enqueue one by one."""

from __future__ import annotations

from celery import Celery, group

from benchmarks.apps import URL
from benchmarks.load import stamps, work

app = Celery("bench", broker=URL)
app.conf.task_ignore_result = True
app.conf.task_default_queue = "bench"

TASKS = {
    name: app.task(function, name=f"bench.{name}") for name, function in work.FUNCTIONS.items()
}

STAMP = app.task(stamps.start, name="bench.stamp")


def push(workload: str, n: int) -> None:
    delay, arguments = TASKS[workload].delay, work.ARGUMENTS[workload]
    for _ in range(n):
        delay(*arguments)


def push_bulk(workload: str, n: int) -> None:
    arguments = work.ARGUMENTS[workload]
    group(TASKS[workload].s(*arguments) for _ in range(n)).apply_async()


def push_stamp(at: int) -> None:
    STAMP.delay(at)
