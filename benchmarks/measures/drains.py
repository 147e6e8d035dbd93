"""How many jobs a second: a queue becomes full at once, and warm workers empty it."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.contenders import Contender
from benchmarks.plan import Plan, Result, Samples, medians, note

# What ten threads can do in about a second, whatever the tool.
_MOST = {"sleep": 8_000, "cpu": 800, "payload": 15_000}

# One thread that works off its jobs one after the other says nothing about these.
_NOT_BARE = ("sleep", "cpu")


def jobs_of(contender: Contender, workload: str, processes: int, plan: Plan) -> int:
    jobs = min(contender.jobs, _MOST.get(workload, contender.jobs))
    if workload == "cpu":
        jobs *= processes
    return jobs // 3 if plan.quick else jobs


def name_of(contender: str, processes: int, workload: str, level: str = "warning") -> str:
    return f"{contender}/{processes}/{workload}/{level}"


def measure(bench: Bench, plan: Plan) -> Result:
    """Jobs a second of each contender, number of processes, workload and log level."""
    samples: Samples = {}
    failures: list[str] = []
    for number, contender in plan.turns():
        for processes in (1, 2):
            if plan.quick and processes == 2 and contender.name != "jobd":
                continue
            workloads = ["empty", "cpu"] if plan.quick else ["empty", "sleep", "cpu", "payload"]
            if contender.name == "bare":
                workloads = [each for each in workloads if each not in _NOT_BARE]
            try:
                _one(bench, plan, contender, processes, workloads, samples)
            except RuntimeError as error:
                failures.append(f"round {number + 1}: {error}")
        if contender.name != "bare":
            bench.quiet = False
            try:
                _one(bench, plan, contender, 1, ["empty"], samples)
            except RuntimeError as error:
                failures.append(f"round {number + 1}, default log level: {error}")
            finally:
                bench.quiet = True
    return {"unit": "jobs/s", "samples": samples, "median": medians(samples), "failures": failures}


def _one(
    bench: Bench,
    plan: Plan,
    contender: Contender,
    processes: int,
    workloads: list[str],
    samples: Samples,
) -> None:
    counts = {each: jobs_of(contender, each, processes, plan) for each in workloads}
    level = "warning" if bench.quiet else "default"
    for workload, jobs in counts.items():
        bench.stock(contender, workload, jobs)
    with bench.workers(contender, processes):
        for workload, jobs in counts.items():
            seconds = bench.drain(contender, workload, jobs)
            note(samples, name_of(contender.name, processes, workload, level), jobs / seconds)
