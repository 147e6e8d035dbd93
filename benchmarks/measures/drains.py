"""How many jobs a second: a queue becomes full at once, and warm workers empty it."""

from __future__ import annotations

from benchmarks.run.bench import FAILURES, Bench, NotReadyError
from benchmarks.run.contenders import Contender
from benchmarks.run.plan import Plan, Result, Samples, medians, note


def name_of(contender: str, processes: int, workload: str) -> str:
    """
    >>> name_of("jobd", 1, "logged")
    'jobd/1/empty/default'
    """
    workload, level = ("empty", "default") if workload == "logged" else (workload, "warning")
    return f"{contender}/{processes}/{workload}/{level}"


def measure(bench: Bench, plan: Plan) -> Result:
    """Jobs a second of each contender, number of processes, workload and log level."""
    samples: Samples = {}
    failures: list[str] = []
    for contender in plan.contenders():
        # Once, as many as the largest drain takes, and not between the measurements.
        most = {**plan.drains(contender, 1), **plan.drains(contender, 2)}
        most.pop("logged", None)
        for workload, jobs in most.items():
            bench.stock(contender, workload, jobs)
    for number, contender in plan.turns():
        round_failures: list[str] = []
        for processes in (1, 2):
            if plan.quick and processes == 2 and contender.name != "jobd":
                continue
            sizes = plan.drains(contender, processes)
            logged = {name: sizes.pop(name) for name in ("logged",) if name in sizes}
            _one(bench, contender, processes, sizes, samples, round_failures)
            bench.quiet = False
            _one(bench, contender, processes, logged, samples, round_failures)
            bench.quiet = True
        failures += [f"round {number + 1}: {each}" for each in round_failures]
    return {"unit": "jobs/s", "samples": samples, "median": medians(samples), "failures": failures}


def _one(
    bench: Bench,
    contender: Contender,
    processes: int,
    counts: dict[str, int],
    samples: Samples,
    failures: list[str],
) -> None:
    """All of *counts* with the same workers; after a failure the rest with new ones."""
    left = list(counts)
    while left:
        try:
            with bench.workers(contender, processes):
                while left:
                    jobs = counts[left[0]]
                    workload = "empty" if left[0] == "logged" else left[0]
                    rate = jobs / bench.drain(contender, workload, jobs)
                    note(samples, name_of(contender.name, processes, left.pop(0)), rate)
        except FAILURES as error:
            # Workers that do not start once would not start for the others either.
            lost = left if isinstance(error, NotReadyError) else left[:1]
            for workload in lost:
                name = name_of(contender.name, processes, workload)
                note(samples, name, None)
                failures.append(f"{name}: {error}")
            left = left[len(lost) :]
            bench.clear(contender)
