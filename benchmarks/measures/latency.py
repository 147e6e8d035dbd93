"""From the push to the start of the job, on a daemon that has nothing to do.

Against the least that Redis allows: another process that waits in ``BLMOVE`` with redis-py, for a
payload that redis-py pushes. The two are measured in turn, push by push.
"""

from __future__ import annotations

import random
import sys
import time
from statistics import median

from benchmarks.bench import Bench
from benchmarks.contenders import JOBD
from benchmarks.plan import Plan, Result, percentile
from benchmarks.waiter import QUEUE
from jobd.client import Client

_PAUSE = (0.002, 0.008)
"""Seconds between pushes: long enough for both sides to be idle again."""


def measure(bench: Bench, plan: Plan) -> Result:
    """Percentiles in µs."""
    pushes = 300 if plan.quick else 500 * plan.rounds
    client = Client(bench.url)
    times: dict[str, list[float]] = {"jobd": [], "blmove": []}
    words = bench.stamps

    def wait(at: int) -> None:
        deadline = time.monotonic() + 5
        while not words[at]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"a job did not start within 5 s: {bench.output()}")
            time.sleep(0.0005)
        time.sleep(random.uniform(*_PAUSE))

    for at in range(len(words)):
        words[at] = 0
    waiter = [[sys.executable, "-m", "benchmarks.waiter"]]
    with bench.workers(JOBD, 1), bench.processes(waiter):
        for number in range(pushes):
            at = 2 * number
            began = time.monotonic_ns()
            client.push({"class": "bench.stamp", "args": [at]})
            wait(at)
            times["jobd"].append((words[at] - began) / 1000)
            at += 1
            began = time.monotonic_ns()
            bench.redis.lpush(QUEUE, at)
            wait(at)
            times["blmove"].append((words[at] - began) / 1000)
    result = {
        name: {
            "p50": round(median(values)),
            "p99": round(percentile(values, 99)),
            "p99.9": round(percentile(values, 99.9)),
        }
        for name, values in times.items()
    }
    return {"unit": "µs", "pushes": pushes, **result}
