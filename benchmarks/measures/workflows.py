"""Workflows: steps one after another, the callback of a large chord, and the memory of many.

A chain of empty steps against a word that two processes move between two lists with ``BLMOVE``.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from types import SimpleNamespace

from benchmarks.load import stamps
from benchmarks.run.bench import FAILURES, Bench, wait
from benchmarks.run.contenders import JOBD
from benchmarks.run.plan import Plan, Result, Samples, medians, note, percentile, ratio
from jobd import App, chain, chord

_STEPS = 10_000
_CHORDS = 5
"""Chords of a round."""

_MANY, _OF = 1_000, 10


def measure(bench: Bench, plan: Plan) -> Result:
    """Steps a second; waits in ms; bytes."""
    samples: Samples = {}
    waits: list[float] = []
    sizes: list[float] = []
    failures: list[str] = []
    steps = _STEPS // 10 if plan.quick else _STEPS
    for number in range(plan.rounds):
        try:
            note(samples, "ping-pong", _ping_pong(bench, steps))
            note(samples, "chain", _chain(bench, steps))
            # With its callback it has as many steps.
            waits += [_chord(bench, steps - 1) for _ in range(1 if plan.quick else _CHORDS)]
            sizes.append(_memory(bench))
        except FAILURES as error:
            failures.append(f"round {number + 1}: {error}")
    return {
        "unit": "steps/s",
        "steps": steps,
        "samples": samples,
        "median": medians(samples),
        "ratio": ratio(samples, "chain", "ping-pong"),
        "callback, ms": _summary(waits) if waits else {},
        "bytes": round(percentile(sizes, 50)) if sizes else None,
        "failures": failures,
    }


def _summary(waits: list[float]) -> Result:
    return {f"p{each}": round(percentile(waits, each), 2) for each in (50, 95)}


def _ping_pong(bench: Bench, hops: int) -> float:
    each = [sys.executable, "-m", "benchmarks.load.ping_pong", bench.url]
    sides = [[*each, "ping", "pong", str(hops // 2)], [*each, "pong", "ping", str(hops // 2)]]
    bench.redis.delete("ping", "pong")
    with bench.processes(sides):
        wait(lambda: int(bench.redis.info("clients")["blocked_clients"]) == len(sides), bench)
        before, began = _hops(bench), time.monotonic()
        bench.redis.lpush("ping", "x")
        wait(lambda: _hops(bench) - before >= hops, bench)
        seconds = time.monotonic() - began
    return hops / seconds


def _hops(bench: Bench) -> int:
    found = bench.redis.info("commandstats").get("cmdstat_blmove", {})
    return int(found.get("calls", 0))


def _chain(bench: Bench, steps: int) -> float:
    bench.clear(JOBD)
    step = _jobs(bench).step
    flow = chain(step.si() for _ in range(steps))
    with bench.workers(JOBD, 1):
        _finish(bench, chain(step.si() for _ in range(100)).perform_async())
        began = time.monotonic()
        ref = flow.perform_async()
        pushed = time.monotonic()
        _finish(bench, ref)
        seconds = time.monotonic() - began
    assert pushed < began + seconds
    return steps / seconds


def _chord(bench: Bench, members: int) -> float:
    """How long after the end of the last member the callback starts (ms)."""
    bench.clear(JOBD)
    words, jobs, at = bench.stamps, _jobs(bench), stamps.FREE
    words[at] = words[at + 1] = 0
    with bench.workers(JOBD, 1):
        chord((jobs.member.si(at) for _ in range(members)), jobs.callback.s(at)).perform_async()
        wait(partial(stamps.is_set, words, at + 1), bench)
    return (words[at + 1] - words[at]) / 1e6


def _memory(bench: Bench) -> float:
    """What many small chords take that have just been pushed (bytes)."""
    bench.clear(JOBD)
    step = _jobs(bench).step
    before = int(bench.redis.info("memory")["used_memory"])
    for _ in range(_MANY):
        chord((step.si() for _ in range(_OF)), step.si()).perform_async()
    return int(bench.redis.info("memory")["used_memory"]) - before


def _jobs(bench: Bench) -> SimpleNamespace:
    """The jobs of :mod:`benchmarks.apps.jobd_features`, for pushes from here."""
    app = App()
    app.configure(bench.url)
    return SimpleNamespace(
        step=app.job(name="bench.step")(lambda: None),
        member=app.job(name="bench.member")(lambda _at: None),
        callback=app.job(name="bench.callback")(lambda _results, _at: None),
    )


def _finish(bench: Bench, ref: str | None) -> None:
    wait(lambda: bench.redis.hget(f"jobd:workflow:{ref}", "state") != b"running", bench)
