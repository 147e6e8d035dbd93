"""What hangs on a job, against the same job alone: a lock, a kept result, a cancellation."""

from __future__ import annotations

import sys
import time
from functools import partial

from benchmarks.apps.jobd_features import NUMBERED
from benchmarks.load import stamps
from benchmarks.measures.latency import ask, pacer
from benchmarks.run.bench import FAILURES, Bench, wait
from benchmarks.run.contenders import JOBD
from benchmarks.run.plan import Plan, Result, Samples, medians, percentile, ratio
from benchmarks.run.push_run import push_and_run
from jobd import App, cancel
from jobd import Result as Kept
from jobd.api import Api

_JOBS = 20_000
_WAITS = 200
_SECONDS = 30.0


def measure(bench: Bench, plan: Plan) -> Result:
    """Jobs a second pushed and run, by what hangs on them; waits in ms."""
    samples: Samples = {}
    failures: list[str] = []
    waits: dict[str, list[float]] = {}
    jobs, count = (_JOBS // 4, _WAITS // 4) if plan.quick else (_JOBS, _WAITS)
    for number in range(plan.rounds):
        try:
            for kind in NUMBERED:
                push_and_run(bench, samples, kind, jobs, workload=kind, how="push_numbered")
            _wait_for(bench, count, waits)
        except FAILURES as error:
            failures.append(f"round {number + 1}: {error}")
    return {
        "unit": "jobs/s",
        "samples": samples,
        "median": medians(samples),
        "ratio": {
            f"{kind}, {what}": ratio(samples, f"jobd/{kind}, {what}", f"jobd/plain, {what}")
            for kind in NUMBERED
            for what in ("pushed", "run")
        },
        "waits": {name: _summary(found) for name, found in waits.items()},
        "failures": failures,
    }


def _summary(times: list[float]) -> Result:
    return {
        "times": len(times),
        **{f"p{percent}": round(percentile(times, percent), 2) for percent in (50, 95, 99)},
    }


def _wait_for(bench: Bench, count: int, waits: dict[str, list[float]]) -> None:
    """How long after its end a waiting thread has a result; after a cancellation, a job has it."""
    app = App()
    client = app.configure(bench.url)
    ended = app.job(name="bench.stamp", keep_result=60)(stamps.start)
    words, api = bench.stamps, Api(bench.url)
    waiter = [[sys.executable, "-m", "benchmarks.apps.waiter"]]
    with bench.workers(JOBD, 1), bench.processes(waiter), pacer(bench, "bare") as bare:
        waits.setdefault("BLMOVE, from the push", []).extend(
            each / 1000 for each in ask(bare, count, _SECONDS)
        )
        for at in range(stamps.FREE, stamps.FREE + count):
            jid = ended.perform_async(at)
            assert jid is not None
            Kept(jid, client=client).get(timeout=_SECONDS)
            waits.setdefault("result, from the end", []).append(
                (time.monotonic_ns() - words[at]) / 1e6
            )
        for at in range(stamps.FREE, stamps.FREE + 2 * count, 2):
            words[at] = words[at + 1] = 0
            jid = client.push({"class": "bench.cancelled", "args": [at]})
            assert jid is not None
            wait(partial(stamps.is_set, words, at), bench)
            began = time.monotonic_ns()
            cancel(jid, api=api)
            wait(partial(stamps.is_set, words, at + 1), bench)
            waits.setdefault("cancel, until it is raised", []).append((words[at + 1] - began) / 1e6)
