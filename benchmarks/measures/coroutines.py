"""Ten thousand coroutines that sleep for ten seconds, in one process that is allowed as many at the
same time as the tool can do.

The least is ten seconds. Where each coroutine keeps a thread waiting (dramatiq) or a connection
(SAQ), a thousand may run at the same time, so that ten thousand take ten turns. This is
measured once, not once a round: it takes minutes.
"""

from __future__ import annotations

from bisect import bisect_right

from benchmarks.load import work
from benchmarks.run.bench import FAILURES, Bench
from benchmarks.run.contenders import MANY, Contender
from benchmarks.run.footprint import Watch
from benchmarks.run.plan import Plan, Result

_PATIENCE = 200.0


def measure(bench: Bench, plan: Plan) -> Result:
    """Seconds until all have slept, how many slept at the same time, and memory in MB."""
    contenders: Result = {}
    failures: list[str] = []
    jobs = MANY // 10 if plan.quick else MANY
    for contender in plan.contenders():
        if not contender.coroutines:
            continue
        found: Result = dict.fromkeys(("seconds", "asleep", "memory"))
        try:
            found = _one(bench, contender, jobs)
        except FAILURES as error:
            failures.append(f"{contender.name}: {error}")
            bench.clear(contender)
        contenders[contender.name] = {"allowed": contender.coroutines, **found}
    return {"jobs": jobs, "nap": work.NAP, "contenders": contenders, "failures": failures}


def _one(bench: Bench, contender: Contender, jobs: int) -> Result:
    bench.stock(contender, "nap", jobs)
    with (
        bench.workers(contender, 1, at_once=contender.coroutines) as pids,
        Watch(pids) as memory,
    ):
        seconds = bench.drain(contender, "nap", jobs, _PATIENCE)
    return {
        "seconds": round(seconds, 1),
        "asleep": asleep(bench.trace, work.NAP),
        "memory": round(memory.most, 1),
    }


def asleep(trace: list[tuple[float, int]], nap: float) -> int:
    """The most that slept at the same time, from how many had slept after so many seconds.

    What wakes up within the length of a sleep was asleep at its beginning.
    """
    times = [at for at, _ in trace]
    return max(trace[bisect_right(times, at + nap) - 1][1] - woken for at, woken in trace)
