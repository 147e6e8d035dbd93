"""How many jobs a second a program can push: one at a time, many at once, from four processes."""

from __future__ import annotations

from benchmarks.run.bench import FAILURES, Bench
from benchmarks.run.plan import Plan, Result, Samples, medians, note

WAYS = {"single": (1, "push"), "bulk": (1, "push_bulk"), "four": (4, "push")}

# Of each process: about a second of pushing, for the slow ones two; with four processes longer.
_SINGLE = {"jobd": 8_000, "bare": 10_000, "huey": 6_000, "sidekiq": 6_000, "dramatiq": 4_000}
_SINGLE_OF_OTHERS = 2_000
_BULK = {"jobd": 250_000, "bare": 1_000_000, "sidekiq": 100_000, "rq": 15_000}
_BULK_OF_OTHERS = 4_000


def measure(bench: Bench, plan: Plan) -> Result:
    """Jobs a second of each contender and way, with empty jobs."""
    samples: Samples = {}
    failures: list[str] = []
    for number, contender in plan.turns():
        for way, (processes, how) in WAYS.items():
            if plan.quick and way == "four":
                continue
            if way == "bulk":
                jobs = _BULK.get(contender.name, _BULK_OF_OTHERS)
            else:
                jobs = _SINGLE.get(contender.name, _SINGLE_OF_OTHERS)
            jobs //= 2 if plan.quick else 1
            try:
                seconds = bench.produce_in(processes, contender.name, "empty", jobs, how)
                note(samples, f"{contender.name}/{way}", processes * jobs / seconds)
            except FAILURES as error:
                note(samples, f"{contender.name}/{way}", None)
                failures.append(f"round {number + 1}, {contender.name}/{way}: {error}")
            bench.clear(contender)
    return {"unit": "jobs/s", "samples": samples, "median": medians(samples), "failures": failures}
