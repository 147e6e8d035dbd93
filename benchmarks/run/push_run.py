"""What is measured of jobs on which something hangs: how fast they are pushed, and how fast run."""

from __future__ import annotations

from benchmarks.run.bench import Bench
from benchmarks.run.contenders import JOBD
from benchmarks.run.plan import Samples, note


def push_and_run(
    bench: Bench, samples: Samples, kind: str, jobs: int, *, workload: str, how: str
) -> None:
    """Push while nobody works, then let warm workers find all of them. Nothing is copied: each
    job's lock is taken by its own push.

    Args:
        kind: names them in *samples*, in jobs a second.
        workload, how: as for :meth:`Bench.produce`.
    """
    bench.clear(JOBD)
    note(samples, f"jobd/{kind}, pushed", jobs / bench.produce("jobd", workload, jobs, how))
    bench.redis.rename(JOBD.queue, "kept")
    with bench.workers(JOBD, 1):
        # Some were pushed before the clock started.
        there = int(bench.redis.llen("kept"))
        bench.redis.rename("kept", "ready")
        note(samples, f"jobd/{kind}, run", there / bench.run_out(JOBD, workload, there))
