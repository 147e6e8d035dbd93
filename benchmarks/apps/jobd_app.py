"""jobd's jobs."""

from __future__ import annotations

from benchmarks import work
from benchmarks.apps import URL
from jobd import configure, job

configure(URL)

JOBS = {name: job(name=f"bench.{name}")(function) for name, function in work.WORKLOADS.items()}


def push(workload: str, n: int) -> None:
    perform, arguments = JOBS[workload].perform_async, work.ARGUMENTS[workload]
    for _ in range(n):
        perform(*arguments)


def push_bulk(workload: str, n: int) -> None:
    arguments = work.ARGUMENTS[workload]
    JOBS[workload].perform_bulk([arguments] * n)
