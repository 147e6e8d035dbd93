"""From the push to the start of the job, on workers that have nothing to do.

Against the least that Redis allows: another process that waits in ``BLMOVE`` with redis-py, for a
number that redis-py pushes. jobd and that limit are measured at the same time, in turn, in blocks,
so that a noisy moment hits both; then the others, each in the same way alone.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from json import loads

from benchmarks.run.bench import FAILURES, Bench
from benchmarks.run.contenders import BY_NAME, JOBD
from benchmarks.run.plan import Plan, Result, Samples, median_of, note, percentile

_BLOCK = 50
_BLOCKS = 20
"""Blocks of a round, for jobd and for the limit."""

_OTHERS = 500
_OTHERS_SECONDS = 6.0
"""Most pushes of a round for one of the others, and the time that it gets for them."""

_FOR_THE_LAST = 1000
"""Measurements without which nobody can say what one in a thousand takes."""


def measure(bench: Bench, plan: Plan) -> Result:
    """Percentiles in µs."""
    waits: dict[str, list[float]] = {}
    ratios: Samples = {}
    failures: list[str] = []
    for number in range(plan.rounds):
        try:
            _pair(bench, 4 if plan.quick else _BLOCKS, waits, ratios)
        except FAILURES as error:
            failures.append(f"round {number + 1}, jobd: {error}")
        for contender in plan.contenders():
            if contender.name in ("jobd", "bare"):
                continue
            try:
                with bench.workers(contender, 1), pacer(bench, contender.name) as pushing:
                    found = ask(pushing, _OTHERS, 1.0 if plan.quick else _OTHERS_SECONDS)
            except FAILURES as error:
                failures.append(f"round {number + 1}, {contender.name}: {error}")
            else:
                waits.setdefault(contender.name, []).extend(found)
    return {
        "unit": "µs",
        "contenders": {name: _summary(found) for name, found in waits.items()},
        "ratio": median_of(ratios.get("p50", [])),
        "failures": failures,
    }


def _pair(bench: Bench, blocks: int, waits: dict[str, list[float]], ratios: Samples) -> None:
    waiter = [[sys.executable, "-m", "benchmarks.apps.waiter"]]
    with (
        bench.workers(JOBD, 1),
        bench.processes(waiter),
        pacer(bench, "jobd") as jobd,
        pacer(bench, "bare") as bare,
    ):
        for _ in range(blocks):
            middle = []
            for name, pushing in (("jobd", jobd), ("blmove", bare)):
                found = ask(pushing, _BLOCK, _OTHERS_SECONDS)
                waits.setdefault(name, []).extend(found)
                middle.append(percentile(found, 50))
            note(ratios, "p50", middle[0] / middle[1])


@contextmanager
def pacer(bench: Bench, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that pushes with one contender's client; see :mod:`benchmarks.load.pace`."""
    process = subprocess.Popen(
        [BY_NAME[name].python, "-m", "benchmarks.load.pace", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=bench.environment(),
        cwd=bench.directory,
    )
    with process:
        try:
            _answer(process)
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[bytes], count: int, seconds: float) -> list[float]:
    """Have it push *count* jobs, within *seconds*; returns what each took to start, in µs."""
    assert process.stdin is not None
    process.stdin.write(f"{count} {seconds}\n".encode())
    process.stdin.flush()
    waits: list[float] = loads(_answer(process))
    return waits


def _answer(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    if not (line := process.stdout.readline()):
        raise RuntimeError("the process that pushes has ended")
    return line


def _summary(waits: list[float]) -> Result:
    enough = len(waits) >= _FOR_THE_LAST
    return {
        "pushes": len(waits),
        "p50": round(percentile(waits, 50)),
        "p99": round(percentile(waits, 99)),
        "p99.9": round(percentile(waits, 99.9)) if enough else None,
    }
