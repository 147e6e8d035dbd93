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
from benchmarks.run.plan import Plan, Result, Samples, medians, note, percentile, ratio
from jobd import App, cancel
from jobd import Result as Kept
from jobd.api import Api

_JOBS = 20_000
_WAITS = 200
_SECONDS = 30.0
_AT = 8
"""The first of the stamps that are used here."""


def measure(bench: Bench, plan: Plan) -> Result:
    """Jobs a second pushed and run, by what hangs on them; waits in ms."""
    samples: Samples = {}
    failures: list[str] = []
    waits: dict[str, list[float]] = {}
    jobs, count = (_JOBS // 4, _WAITS // 4) if plan.quick else (_JOBS, _WAITS)
    for number in range(plan.rounds):
        try:
            for kind in NUMBERED:
                _run(bench, kind, jobs, samples)
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


def _run(bench: Bench, kind: str, jobs: int, samples: Samples) -> None:
    """Push while nobody works, then let warm workers find all of them. Nothing is copied: each
    job's lock is taken by its own push."""
    bench.clear(JOBD)
    note(samples, f"jobd/{kind}, pushed", jobs / bench.produce("jobd", kind, jobs, "push_numbered"))
    bench.redis.rename(JOBD.queue, "kept")
    with bench.workers(JOBD, 1):
        # Some were pushed before the clock started.
        there = int(bench.redis.llen("kept"))
        bench.redis.rename("kept", "ready")
        note(samples, f"jobd/{kind}, run", there / bench.run_out(JOBD, kind, there))


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
        for at in range(_AT, _AT + count):
            jid = ended.perform_async(at)
            assert jid is not None
            Kept(jid, client=client).get(timeout=_SECONDS)
            waits.setdefault("result, from the end", []).append(
                (time.monotonic_ns() - words[at]) / 1e6
            )
        for at in range(_AT, _AT + 2 * count, 2):
            words[at] = words[at + 1] = 0
            jid = client.push({"class": "bench.cancelled", "args": [at]})
            assert jid is not None
            wait(partial(_is_set, words, at), bench)
            began = time.monotonic_ns()
            cancel(jid, api=api)
            wait(partial(_is_set, words, at + 1), bench)
            waits.setdefault("cancel, until it is raised", []).append((words[at + 1] - began) / 1e6)


def _is_set(words: memoryview, at: int) -> bool:
    return bool(words[at])
