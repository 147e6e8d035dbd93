"""Batches: their members against the same jobs without, and the callback after the last of them."""

from __future__ import annotations

from functools import partial

from benchmarks.load import stamps
from benchmarks.run.bench import FAILURES, Bench, wait
from benchmarks.run.contenders import JOBD
from benchmarks.run.plan import Plan, Result, Samples, medians, percentile, ratio
from benchmarks.run.push_run import push_and_run
from jobd import App, Batch

PLAIN, MEMBERS = "plain", "members of a batch"
_MEMBERS = 100_000
_HOW = {PLAIN: "push_numbered", MEMBERS: "push_members"}
"""Functions of :mod:`benchmarks.apps.jobd_features`."""

_WAITED_FOR = 10_000
"""Members of a batch whose callback is waited for."""

_WAITS = 5
"""Of these batches in a round."""


def measure(bench: Bench, plan: Plan) -> Result:
    """Jobs a second pushed and run; waits in ms."""
    samples: Samples = {}
    waits: list[float] = []
    failures: list[str] = []
    part = 10 if plan.quick else 1
    for number in range(plan.rounds):
        try:
            for kind in (PLAIN, MEMBERS):
                jobs, how = _MEMBERS // part, _HOW[kind]
                push_and_run(bench, samples, kind, jobs, workload=PLAIN, how=how)
            waits += [_callback(bench, _WAITED_FOR // part) for _ in range(_WAITS)]
        except FAILURES as error:
            failures.append(f"round {number + 1}: {error}")
    return {
        "unit": "jobs/s",
        "members": _WAITED_FOR // part,
        "samples": samples,
        "median": medians(samples),
        "ratio": {
            what: ratio(samples, f"jobd/{MEMBERS}, {what}", f"jobd/{PLAIN}, {what}")
            for what in ("pushed", "run")
        },
        "callback, ms": {
            f"p{each}": round(percentile(waits, each), 2) for each in (50, 95) if waits
        },
        "failures": failures,
    }


def _callback(bench: Bench, members: int) -> float:
    """How long after the start of the last member the callback starts (ms)."""
    bench.clear(JOBD)
    words, app, at = bench.stamps, App(), stamps.FREE
    words[at] = words[at + 1] = 0
    batch = Batch(client=app.configure(bench.url))
    batch.on_success(app.job(name="bench.stamp")(stamps.start), at + 1)
    with batch:
        app.job(name="bench.member")(stamps.start).perform_bulk([(at,)] * members)
    bench.redis.rename(JOBD.queue, "kept")
    with bench.workers(JOBD, 1):
        bench.redis.rename("kept", "ready")
        bench.appear(JOBD, "member", members)
        wait(partial(stamps.is_set, words, at + 1), bench)
    return (words[at + 1] - words[at]) / 1e6
