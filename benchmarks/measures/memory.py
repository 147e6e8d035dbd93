"""Whether a worker grows: its memory after a warm-up, and after a million jobs more."""

from __future__ import annotations

import psutil

from benchmarks.run.bench import Bench
from benchmarks.run.contenders import JOBD
from benchmarks.run.plan import Plan, Result

_BATCH = 100_000
_WARM_UP = 3


def measure(bench: Bench, plan: Plan) -> Result:
    """Resident memory in MB of the whole daemon, after each batch of jobs."""
    batches = 2 if plan.quick else 10
    bench.stock(JOBD, "empty", _BATCH)
    sizes: list[float] = []
    with bench.workers(JOBD, 1) as (master,):
        for _ in range(_WARM_UP + batches):
            bench.drain(JOBD, "empty", _BATCH)
            sizes.append(_size(master))
    return {
        "unit": "MB",
        "jobs": batches * _BATCH,
        "after_each_batch": [round(size, 2) for size in sizes],
        "growth": round(sizes[-1] - sizes[_WARM_UP - 1], 2),
    }


def _size(master: int) -> float:
    process = psutil.Process(master)
    family = [process, *process.children(recursive=True)]
    return sum(each.memory_info().rss for each in family) / 2**20
