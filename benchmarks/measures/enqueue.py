"""How many jobs a second a program can push: one at a time, many at once, from four processes."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.plan import Plan, Result, Samples, medians, note

WAYS = {"single": (1, "push"), "bulk": (1, "push_bulk"), "four": (4, "push")}

# The slow ones push fewer, and take a second or two as well.
_SINGLE = 5_000
_BULK = {"jobd": 50_000, "bare": 200_000, "sidekiq": 20_000}
_BULK_OF_OTHERS = 5_000


def measure(bench: Bench, plan: Plan) -> Result:
    """Jobs a second of each contender and way, with empty jobs."""
    samples: Samples = {}
    failures: list[str] = []
    for number, contender in plan.turns():
        for way, (processes, how) in WAYS.items():
            if plan.quick and way == "four":
                continue
            jobs = _BULK.get(contender.name, _BULK_OF_OTHERS) if way == "bulk" else _SINGLE
            jobs //= 2 if plan.quick else 1
            try:
                seconds = bench.produce_in(processes, contender.name, "empty", jobs, how)
            except RuntimeError as error:
                failures.append(f"round {number + 1}: {error}")
            else:
                note(samples, f"{contender.name}/{way}", processes * jobs / seconds)
            bench.redis.unlink(contender.queue)
            for pattern in contender.beside:
                if keys := bench.keys(pattern):
                    bench.redis.unlink(*keys)
    return {"unit": "jobs/s", "samples": samples, "median": medians(samples), "failures": failures}
