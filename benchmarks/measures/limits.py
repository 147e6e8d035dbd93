"""What the server itself can do, to set the other numbers against."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.run.bench import Bench
from benchmarks.run.plan import Plan, Result, Samples, medians, note
from jobd.store.connection import connect
from jobd.store.pipeline import Wire
from jobd.store.protocol import pack

_PIPELINE = 100
_BYTES = 200


def measure(bench: Bench, plan: Plan) -> Result:
    """Pipelined ``LPUSH`` and ``RPOP`` a second; with redis-benchmark where there is one."""
    operations = 50_000 if plan.quick else 400_000
    program = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
    samples: Samples = {}
    for _ in range(plan.rounds):
        if program:
            _with(program, bench, operations, samples)
        else:
            _without(bench, operations, samples)
    bench.redis.unlink("mylist")
    by = f"pipelines of {_PIPELINE} from one thread of Python (no redis-benchmark on PATH)"
    if program:
        by = f"{Path(program).name} -P {_PIPELINE} -d {_BYTES}"
    return {"unit": "operations/s", "by": by, "samples": samples, "median": medians(samples)}


def _with(program: str, bench: Bench, operations: int, samples: Samples) -> None:
    parts = urlsplit(bench.url)
    where = ["-h", parts.hostname or "127.0.0.1", "-p", str(parts.port or 6379)]
    how = ["-t", "lpush,rpop", "-P", str(_PIPELINE), "-d", str(_BYTES), "-n", str(operations)]
    done = subprocess.run(
        [program, *where, *how, "--csv"], check=True, capture_output=True, text=True
    )
    for line in done.stdout.splitlines():
        name, rate, *_ = (field.strip('"') for field in line.split(","))
        if name in ("LPUSH", "RPOP"):
            note(samples, name, float(rate))


def _without(bench: Bench, operations: int, samples: Samples) -> None:
    wire = Wire(connect(bench.url))
    wire.connect()
    for name, command in (
        ("LPUSH", pack("LPUSH", "mylist", b"x" * _BYTES)),
        ("RPOP", pack("RPOP", "mylist")),
    ):
        batch = command * _PIPELINE
        began = time.monotonic()
        for _ in range(operations // _PIPELINE):
            wire.send(batch)
            for _ in range(_PIPELINE):
                wire.read()
        note(samples, name, operations / (time.monotonic() - began))
    wire.close()
