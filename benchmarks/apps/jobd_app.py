"""jobd's jobs."""

from __future__ import annotations

import os
import time

import jobd
from benchmarks.apps import URL
from benchmarks.load import stamps, work
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


STAMP = job(name="bench.stamp")(stamps.start)


def push_stamp(at: int) -> None:
    STAMP.perform_async(at)


@job(name="bench.hold")
def hold(at: int) -> None:
    """Note where and when it started, and run until the word after that is set."""
    words = stamps.here()
    words[at + 1] = time.monotonic_ns()
    words[at] = os.getpid()
    while not words[at + 2]:
        time.sleep(0.02)


if hasattr(jobd, "Batch"):  # commits that are older are measured, too: see `against`
    from benchmarks.apps.jobd_features import push_members, push_numbered

    __all__ = ["push_members", "push_numbered"]
