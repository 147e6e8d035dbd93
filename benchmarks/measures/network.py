"""What a slow network costs: empty jobs in one process, through a relay that delays answers.

The base is the same relay without a delay. How far that is from no relay at all says how much of
the machine the relay takes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from benchmarks.run.bench import Bench
from benchmarks.run.contenders import JOBD
from benchmarks.run.plan import Plan, Result, Samples, medians, note, ratio

DELAYS = (0, 1, 5, 50)
"""Milliseconds added to each round trip."""

DIRECT = "direct"


def measure(bench: Bench, plan: Plan) -> Result:
    """Jobs a second by delay."""
    jobs = 50_000 if plan.quick else 150_000
    delays = DELAYS[:2] if plan.quick else DELAYS
    samples: Samples = {}
    bench.stock(JOBD, "empty", jobs)
    for _ in range(plan.rounds):
        with bench.workers(JOBD, 1):
            note(samples, DIRECT, jobs / bench.drain(JOBD, "empty", jobs))
        for delay in delays:
            with _relay(bench, delay) as url, bench.workers(JOBD, 1, url):
                note(samples, f"{delay} ms", jobs / bench.drain(JOBD, "empty", jobs))
    return {
        "unit": "jobs/s",
        "samples": samples,
        "median": medians(samples),
        "ratio": {f"{delay} ms": ratio(samples, f"{delay} ms", "0 ms") for delay in delays[1:]},
        "relay against none": ratio(samples, "0 ms", DIRECT),
    }


@contextmanager
def _relay(bench: Bench, milliseconds: int) -> Iterator[str]:
    parts = urlsplit(bench.url)
    where = [parts.hostname or "127.0.0.1", str(parts.port or 6379), str(milliseconds)]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load.proxy", *where],
        stdout=subprocess.PIPE,
        env=bench.environment(),
        cwd=bench.directory,
    )
    try:
        assert process.stdout is not None
        yield f"redis://127.0.0.1:{int(process.stdout.readline())}{parts.path}"
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
