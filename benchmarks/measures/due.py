"""Whether a million jobs that are all due at once hold up the fresh ones, and how fast they move.

The daemon is warm and serves two queues in strict order: *fresh* first, then the one into which
the due jobs go. They appear in the schedule at once (a ``RENAME``). Before and meanwhile a client
pushes a fresh job every 20 ms; what counts is the time from its push to its start.
"""

from __future__ import annotations

import random
import time

from benchmarks.load.payloads import payload
from benchmarks.run.bench import Bench
from benchmarks.run.contenders import JOBD
from benchmarks.run.plan import Plan, Result, Samples, medians, note, percentile
from jobd import Client

_EVERY = 0.02
"""Seconds between fresh jobs."""

_IDLE_SECONDS = 5.0
_MOST_SECONDS = 150.0
_STASH = "stash:due"
_SET = "schedule"
_AT_ONCE = 1_000


def measure(bench: Bench, plan: Plan) -> Result:
    """Due jobs a second, and percentiles in ms of what fresh jobs waited."""
    jobs = 50_000 if plan.quick else 1_000_000
    samples: Samples = {}
    idle: list[float] = []
    flood: list[float] = []
    _prepare(bench, jobs)
    for _ in range(plan.rounds):
        with bench.workers(JOBD, 1, "", "-q", "fresh", "-q", "default"):
            idle += _fresh(bench, until=time.monotonic() + _IDLE_SECONDS).waits
            goal = bench.tally.total() + jobs
            bench.redis.copy(_STASH, "due", replace=True)
            bench.redis.rename("due", _SET)
            seen = _fresh(bench, until=time.monotonic() + _MOST_SECONDS, goal=goal)
        if not seen.moved or not seen.ran:
            raise RuntimeError(f"{jobs:,} due jobs took more than {_MOST_SECONDS:g} s")
        flood += seen.waits
        note(samples, "moved", jobs / seen.moved)
        note(samples, "ran", jobs / seen.ran)
    return {
        "unit": "jobs/s",
        "jobs": jobs,
        "samples": samples,
        "median": medians(samples),
        "fresh on idle, ms": _summary(idle),
        "fresh in the flood, ms": _summary(flood),
    }


class _Seen:
    """What one stretch of time showed: the waits, and after how long all had moved and run."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.moved = 0.0
        self.ran = 0.0


def _prepare(bench: Bench, jobs: int) -> None:
    """Jobs that became due within the last hour, as a push with a time leaves them."""
    now = time.time()
    pipeline = bench.redis.pipeline(transaction=False)
    for first in range(0, jobs, _AT_ONCE):
        members = {}
        for _ in range(min(_AT_ONCE, jobs - first)):
            raw = payload("bench.empty", [], created=now - 3600, queued=False)
            members[raw] = now - random.uniform(0, 3600)
        pipeline.zadd(_STASH, members)
        pipeline.execute()


def _fresh(bench: Bench, until: float, goal: int = 0) -> _Seen:
    """Push fresh jobs at an even pace until then, or until the tally is at *goal* and more."""
    client, words, seen = Client(bench.url), bench.stamps, _Seen()
    began = time.monotonic()
    pushed: list[int] = []
    for at in range(len(words)):
        words[at] = 0
    while time.monotonic() < until and not seen.ran:
        # The pace is that of the clock: a push that waits does not thin out the next ones.
        time.sleep(max(0.0, began + len(pushed) * _EVERY - time.monotonic()))
        pushed.append(time.monotonic_ns())
        client.push({"class": "bench.stamp", "queue": "fresh", "args": [len(pushed) - 1]})
        if goal and not seen.moved and not bench.redis.exists(_SET):
            seen.moved = time.monotonic() - began
        if goal and bench.tally.total() >= goal:
            seen.ran = time.monotonic() - began
    deadline = time.monotonic() + 10
    while not all(words[at] for at in range(len(pushed))):
        if time.monotonic() > deadline:
            raise RuntimeError(f"fresh jobs did not start within 10 s: {bench.output()}")
        time.sleep(0.01)
    seen.waits = [(words[at] - began) / 1e6 for at, began in enumerate(pushed)]
    return seen


def _summary(waits: list[float]) -> Result:
    return {
        "jobs": len(waits),
        "p50": round(percentile(waits, 50), 2),
        "p99": round(percentile(waits, 99), 2),
        "worst": round(max(waits), 2),
    }
