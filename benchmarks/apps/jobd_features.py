"""jobd's jobs on which something hangs: locks, results, cancellations, batches, workflows.

Apart from those in jobd_app.py, which run with commits that had none of this.
"""

from __future__ import annotations

import os
import time

from benchmarks.load import stamps, work
from jobd import Batch, JobCancelled, job

NUMBERED = {
    "plain": job(name="bench.plain")(work.numbered),
    "unique": job(name="bench.unique", unique=True, unique_for=3600)(work.numbered),
    "kept result": job(name="bench.kept", keep_result=3600)(work.numbered),
}
"""The same job, with and without something that hangs on it."""


def push_numbered(kind: str, n: int) -> None:
    first = time.monotonic_ns()  # no two calls are the same
    NUMBERED[kind].perform_bulk([(first + number,) for number in range(n)])


def push_members(kind: str, n: int) -> None:
    with Batch():
        push_numbered(kind, n)


@job(name="bench.cancelled")
def cancelled(at: int) -> None:
    """Note that it runs, and when it is cancelled."""
    words = stamps.here()
    words[at] = os.getpid()
    try:
        while True:
            time.sleep(0.002)
    except JobCancelled:
        words[at + 1] = time.monotonic_ns()
        raise


@job(name="bench.member")
def member(at: int) -> None:
    stamps.here()[at] = time.monotonic_ns()


@job(name="bench.callback")
def callback(_results: list[None], at: int) -> None:
    stamps.here()[at + 1] = time.monotonic_ns()


@job(name="bench.step")
def step() -> None:
    """A step of a workflow that has nothing to do."""
