"""What workers without work cost: commands to Redis, CPU, and memory.

What one worker of jobd costs Redis is the difference between a daemon of two and one of one: the
keeper's part cancels out. Commands that scripts run inside the server are counted, too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import psutil

from benchmarks.run.bench import FAILURES, Bench
from benchmarks.run.contenders import JOBD, Contender
from benchmarks.run.footprint import families, pss
from benchmarks.run.plan import Plan, Result

_SETTLE = 8.0
"""Seconds until a daemon has come to rest."""

_WINDOW = 20.0
"""Seconds; two heartbeats of jobd."""

_WINDOW_OF_OTHERS = 10.0


@dataclass(frozen=True)
class _Window:
    """What was used in a second: calls by command, and per cent of a CPU by process; and at its
    end the MB of a process that runs jobs, and of all processes."""

    commands: dict[str, float]
    cpu: dict[str, float]
    worker: float
    whole: float

    @property
    def rate(self) -> float:
        return sum(self.commands.values())


def measure(bench: Bench, plan: Plan) -> Result:
    """Commands a second, per cent of a CPU, and MB; of jobd the CPU also by process."""
    one, two = (_rest(bench, JOBD, workers, plan.rounds, _WINDOW) for workers in (1, 2))
    each_worker = median(b.rate - a.rate for a, b in zip(one, two, strict=True))
    contenders: Result = {}
    failures: list[str] = []
    for contender in plan.contenders():
        if contender.name == "bare":
            continue
        try:
            windows = one if contender is JOBD else _rest(bench, contender, 1, 1, _WINDOW_OF_OTHERS)
        except FAILURES as error:
            failures.append(f"{contender.name}: {error}")
            continue
        contenders[contender.name] = {
            "commands": round(median(window.rate for window in windows), 2),
            "cpu": round(median(sum(window.cpu.values()) for window in windows), 2),
            "worker": round(windows[-1].worker, 1),
            "whole": round(windows[-1].whole, 1),
        }
    return {
        "windows": len(one),
        "each worker": round(each_worker, 2),
        "keeper and rest": round(median(window.rate for window in one) - each_worker, 2),
        "by_command": {name: round(rate, 2) for name, rate in one[-1].commands.items()},
        "cpu_percent": {
            role: round(median(window.cpu[role] for window in one), 3) for role in one[0].cpu
        },
        "contenders": contenders,
        "failures": failures,
    }


def _rest(
    bench: Bench, contender: Contender, processes: int, windows: int, seconds: float
) -> list[_Window]:
    found = []
    before = bench.tally.processes()
    with bench.workers(contender, processes) as pids:
        running = bench.tally.processes() - before
        time.sleep(_SETTLE)
        for _ in range(windows):
            used, calls = _cpu(pids), _calls(bench)
            began = time.monotonic()
            time.sleep(seconds)
            elapsed = time.monotonic() - began
            after, now = _calls(bench), _cpu(pids)
            commands = {
                name: (count - calls.get(name, 0)) / elapsed
                for name, count in after.items()
                if count != calls.get(name, 0) and not name.startswith("info")
            }
            cpu = {role: 100 * (now[role] - used.get(role, 0.0)) / elapsed for role in now}
            if not (sizes := [size for size in map(pss, running) if size]):
                raise RuntimeError("what ran jobs has ended without work")
            found.append(_Window(commands, cpu, median(sizes), sum(map(pss, families(pids)))))
    return found


def _calls(bench: Bench) -> dict[str, int]:
    stats = bench.redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}


def _cpu(pids: list[int]) -> dict[str, float]:
    """CPU seconds by role; jobd's are known by the titles of its processes."""
    times: dict[str, float] = {}
    for pid in pids:
        process = psutil.Process(pid)
        family = {"master": process}
        for child in process.children(recursive=True):
            title = " ".join(child.cmdline())
            known = (role for role in ("keeper", "worker") if f"jobd {role}" in title)
            family[next(known, f"pid {child.pid}")] = child
        for role, each in family.items():
            used = each.cpu_times()
            times[role] = times.get(role, 0.0) + used.user + used.system
    return times
