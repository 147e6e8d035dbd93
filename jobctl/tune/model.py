"""What other numbers of workers and threads would do, with the arithmetic.

A job takes C seconds of CPU and W seconds in all (measured). With n threads, a worker of Python can
end at most n / W jobs a second, and at most 1 / C, since one thread computes at a time (the GIL);
all workers together at most cores / C. The least of them is the bound of operational analysis
(Denning and Buzen, The Operational Analysis of Queueing Network Models, ACM Computing Surveys 10,
1978).

W is to be without the time in which jobs only wait for each other. Where a worker's GIL is used up,
it is held all the time, for H = seconds / jobs by each job, and with b threads busy a job waits for
b - 1 others: what is left is W - (b - 1) H, and at least H. Where it is not, what threads have
waited for a CPU is subtracted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median

from jobctl.tune.measure import Measurement
from jobd.text.counting import counted

COMPUTES, WAITS = 0.7, 0.3
"""Shares of CPU in the time of a job, from which on, and up to which, it computes or waits."""

FULL = 0.85
"""Share of a CPU from which on the GIL of a worker is used up, and of all CPUs for the host."""

IDLE = 0.5
"""Share of the threads: if fewer run jobs, there are not enough jobs to speak of."""

LONG = 0.005
"""Seconds; the switch interval of Python, after which a thread must give up the GIL."""

LEAST = 20
"""Jobs that must have ended for a rate to mean something."""


@dataclass(frozen=True, slots=True)
class Option:
    """Numbers of workers and threads, and the jobs a second that they could end at most."""

    workers: int
    threads: int
    rate: float
    limit: str


@dataclass(frozen=True, slots=True)
class Advice:
    """What was found.

    Attributes:
        kind: ``waits``, ``computes``, ``mixed``, ``idle`` (too few jobs run) or ``async``.
        share: CPU in the time of a job that waits for no other, 0 to 1; None if none ran.
        worker_cpu: CPUs that a worker uses.
        host_cpu: share of all CPUs that the workers use.
        utilization: share of the threads that ran jobs.
        rate: jobs a second.
        cpu_per_job, time_per_job: C, and W as it was measured, seconds; None if too few jobs ended.
        time_alone: W without the time in which jobs waited for each other.
        gil_wait: median of the waits for the GIL, seconds; None if none was seen.
        gil_used_up: whether the threads of a worker are in each other's way.
        cpu_wait: share of the time of jobs in which a thread had no CPU.
        options: the present numbers first.
    """

    kind: str
    share: float | None
    worker_cpu: float
    host_cpu: float
    utilization: float
    rate: float
    cpu_per_job: float | None
    time_per_job: float | None
    time_alone: float | None
    gil_wait: float | None
    gil_used_up: bool
    cpu_wait: float
    options: list[Option]
    text: str


def advise(found: Measurement) -> Advice:
    """Calculate it."""
    workers = found.workers
    count, seconds = max(1, len(workers)), found.seconds
    cpu, busy = sum(one.cpu for one in workers), sum(one.busy for one in workers)
    coroutines = sum(one.coroutines for one in workers)
    jobs = sum(one.jobs for one in workers)
    waits = [wait for one in workers for wait in one.gil_waits]
    enough = jobs >= LEAST and busy > 0
    per_cpu = cpu / jobs if enough else None
    per_time = busy / jobs if enough else None
    utilization = busy / (found.threads * count * seconds) if found.threads else 0.0
    worker_cpu = cpu / count / seconds
    host_cpu = cpu / seconds / found.cores
    gil_wait = median(waits) if waits else None
    cpu_wait = min(busy, sum(one.cpu_wait for one in workers))
    # On a busy host a thread that has no CPU keeps the GIL; that counts only if it is so all along.
    wanted = worker_cpu + cpu_wait / count / seconds
    used_up = worker_cpu >= FULL or ((gil_wait or 0.0) > LONG and wanted >= FULL)
    share, alone = _share(cpu, busy, cpu_wait, count * seconds, used_up=used_up)
    # Where the GIL is used up, threads are idle because jobs are not fetched in time.
    kind = _kind(share, 1.0 if used_up else utilization, coroutines, busy)
    options: list[Option] = []
    if per_cpu and kind not in ("idle", "async"):
        options = _options(found, count, per_cpu, alone / jobs, used_up=used_up)
    return Advice(
        kind=kind,
        share=share,
        worker_cpu=worker_cpu,
        host_cpu=host_cpu,
        utilization=utilization,
        rate=jobs / seconds,
        cpu_per_job=per_cpu,
        time_per_job=per_time,
        time_alone=alone / jobs if enough else None,
        gil_wait=gil_wait,
        gil_used_up=used_up,
        cpu_wait=cpu_wait / busy if busy > 0 else 0.0,
        options=options,
        text=_text(kind, host_cpu, options, used_up=used_up),
    )


def _kind(share: float | None, utilization: float, coroutines: float, busy: float) -> str:
    if coroutines > busy:
        return "async"
    if share is None or utilization < IDLE:
        return "idle"
    return "computes" if share >= COMPUTES else "waits" if share <= WAITS else "mixed"


def _share(
    cpu: float, busy: float, cpu_wait: float, seconds: float, *, used_up: bool
) -> tuple[float | None, float]:
    """The share of CPU in the time of jobs without what they have waited for each other, and that
    time.

    Args:
        seconds: of all workers together.
    """
    if busy <= 0:
        return None, 0.0
    if used_up:
        held = min(busy, seconds)
        threads = max(1.0, busy / seconds)
        alone = max(held, busy - (threads - 1) * held)
        return held / alone, alone
    alone = max(cpu, busy - cpu_wait)
    return min(1.0, cpu / alone) if alone > 0 else 0.0, alone


def _options(
    found: Measurement, workers: int, per_cpu: float, alone: float, *, used_up: bool
) -> list[Option]:
    # The threads that keep one CPU busy: while one computes, the others wait.
    fitting = min(100, max(1, math.ceil(alone / per_cpu)))
    threads = found.threads if used_up else max(found.threads, fitting)
    wanted = [
        (workers, found.threads),
        (workers, min(threads, 2 * found.threads)),
        (workers, threads),
        (found.cores, found.threads),
        (found.cores, threads),
        (2 * workers, found.threads),
    ]
    return [
        _option(count, each, found.cores, per_cpu, alone) for count, each in dict.fromkeys(wanted)
    ]


def _option(workers: int, threads: int, cores: int, per_cpu: float, per_time: float) -> Option:
    bounds = {
        "threads": workers * threads / per_time,
        "GIL": workers / per_cpu,
        "CPUs": cores / per_cpu,
    }
    limit = min(bounds, key=lambda name: bounds[name])
    return Option(workers, threads, bounds[limit], limit)


def _text(kind: str, host_cpu: float, options: list[Option], *, used_up: bool) -> str:
    if kind == "idle":
        return (
            "Most threads wait for jobs: more of them, or more workers, would change nothing. "
            "Measure while jobs wait in the queues."
        )
    if kind == "async":
        return (
            "Most jobs are async: `async_concurrency` sets how many run at a time, and one CPU for "
            "each worker is the limit."
        )
    said = {
        "computes": "The jobs compute: threads share one CPU in each worker, workers do not.",
        "waits": "The jobs wait: more threads run more of them at a time.",
        "mixed": "The jobs compute and wait.",
    }[kind]
    if used_up:
        said += " The GIL of the workers is used up, so more threads in them change nothing."
    if not options:
        return f"{said} Too few have ended to say more: measure for longer, with --seconds."
    now, best = options[0], max(options, key=lambda each: (each.rate, -each.workers * each.threads))
    if host_cpu >= FULL:
        return f"{said} All CPUs of this host are used up: only more hosts help."
    if best.rate <= 1.1 * now.rate:
        return f"{said} The present numbers are about as good as any."
    workers = counted(best.workers, "worker")
    served = ", if what they wait for keeps up" if kind != "computes" else ""
    return (
        f"{said} {workers} with {best.threads} threads could end up to "
        f"{best.rate / now.rate:.1f} times as many{served}."
    )
