"""From the SIGKILL of a worker until every job that it ran is running again elsewhere."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from statistics import median

from benchmarks.run.bench import Bench, wait
from benchmarks.run.contenders import JOBD
from benchmarks.run.plan import Plan, Result, percentile
from jobd import Client

_WORKERS = 4
_JOBS = 6


def measure(bench: Bench, plan: Plan) -> Result:
    """Percentiles in ms: with other workers beside the killed one, and without."""
    daemons = 2 if plan.quick else 8 * plan.rounds
    beside, alone = [], []
    for _ in range(daemons):
        # A slot is filled at once after its first crash and waits a little after the next, so
        # that no daemon suffers more kills than it has workers.
        beside += _kills(bench, _WORKERS, _WORKERS)
        alone += _kills(bench, 1, 1)
    return {"unit": "ms", "beside": _summary(beside), "alone": _summary(alone)}


def _summary(times: list[float]) -> Result:
    return {
        "kills": len(times),
        "p50": round(median(times)),
        "p99": round(percentile(times, 99)),
        "worst": round(max(times)),
    }


def _kills(bench: Bench, workers: int, kills: int) -> list[float]:
    client, words = Client(bench.url), bench.stamps
    times: list[float] = []
    for at in range(len(words)):
        words[at] = 0
    with bench.workers(JOBD, workers):
        for kill in range(kills):
            held = [4 * (kill * _JOBS + number) for number in range(_JOBS)]
            for at in held:
                client.push({"class": "bench.hold", "args": [at]})
            wait(partial(_all_run, words, held, 0), bench)
            victim = words[held[0]]
            mine = [at for at in held if words[at] == victim]
            began = time.monotonic_ns()
            os.kill(victim, signal.SIGKILL)
            wait(partial(_all_run, words, mine, victim), bench)
            times.append((max(words[at + 1] for at in mine) - began) / 1e6)
            for at in held:
                words[at + 2] = 1
    return times


def _all_run(words: memoryview, cells: list[int], unless: int) -> bool:
    return all(words[at] != unless for at in cells)
