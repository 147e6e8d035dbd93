"""Whether a long queue is slower than a short one, with empty jobs in one process."""

from __future__ import annotations

from statistics import median

from benchmarks.run.bench import Bench
from benchmarks.run.contenders import JOBD
from benchmarks.run.plan import Plan, Result, Samples, medians, note, ratio

_BURSTS = {1_000: 10, 10_000: 10, 100_000: 3}
"""Shorter queues are drained so often in a round; the median counts."""


def measure(bench: Bench, plan: Plan) -> Result:
    """Jobs a second by depth; of the deepest also its first and its last tenth."""
    deepest = 200_000 if plan.quick else 1_000_000
    samples: Samples = {}
    bench.stock(JOBD, "empty", deepest)
    with bench.workers(JOBD, 1):
        for _ in range(plan.rounds):
            for depth, times in _BURSTS.items():
                bursts = [depth / bench.drain(JOBD, "empty", depth) for _ in range(times)]
                note(samples, str(depth), median(bursts))
            seconds = bench.drain(JOBD, "empty", deepest)
            note(samples, str(deepest), deepest / seconds)
            tenth = deepest // 10
            first = next(at for at, done in bench.trace if done >= tenth)
            last = next(at for at, done in bench.trace if done >= deepest - tenth)
            note(samples, "first tenth", tenth / first)
            note(samples, "last tenth", tenth / (seconds - last))
    return {
        "unit": "jobs/s",
        "deepest": deepest,
        "samples": samples,
        "median": medians(samples),
        "ratio": ratio(samples, str(deepest), "10000"),
    }
