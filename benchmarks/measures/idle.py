"""What a daemon without work costs: commands to Redis, and CPU.

What one worker costs Redis is the difference between a daemon of two and one of one: the keeper's
part cancels out. Commands that scripts run inside the server are counted, too.
"""

from __future__ import annotations

import time

import psutil

from benchmarks.bench import Bench
from benchmarks.contenders import JOBD
from benchmarks.plan import Plan, Result

_SETTLE = 8.0
"""Seconds until a daemon has come to rest."""


def measure(bench: Bench, plan: Plan) -> Result:
    """Commands a second, and per cent of a CPU by process."""
    seconds = 10.0 if plan.quick else 30.0
    rates: dict[int, float] = {}
    cpu: dict[str, float] = {}
    detail: dict[str, float] = {}
    for workers in (1, 2):
        with bench.workers(JOBD, workers) as (master,):
            time.sleep(_SETTLE)
            used, calls = _cpu(master), _calls(bench)
            began = time.monotonic()
            time.sleep(seconds)
            elapsed = time.monotonic() - began
            after = _calls(bench)
            now = _cpu(master)
        by_command = {
            name: round((count - calls.get(name, 0)) / elapsed, 2)
            for name, count in after.items()
            if count != calls.get(name, 0) and not name.startswith("info")
        }
        rates[workers] = sum(by_command.values())
        if workers == 1:
            detail = by_command
            cpu = {role: round(100 * (now[role] - used[role]) / elapsed, 3) for role in used}
    return {
        "seconds": seconds,
        "commands_per_second": {
            "daemon with 1 worker": round(rates[1], 2),
            "each worker": round(rates[2] - rates[1], 2),
            "keeper and rest": round(2 * rates[1] - rates[2], 2),
        },
        "by_command": detail,
        "cpu_percent": cpu,
    }


def _calls(bench: Bench) -> dict[str, int]:
    stats = bench.redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}


def _cpu(master: int) -> dict[str, float]:
    """CPU seconds by role. Roles are known where setproctitle is installed."""
    process = psutil.Process(master)
    used = {"master": process}
    for child in process.children():
        title = " ".join(child.cmdline())
        role = next((role for role in ("keeper", "worker") if role in title), f"pid {child.pid}")
        used[role] = child
    times = {role: each.cpu_times() for role, each in used.items()}
    return {role: each.user + each.system for role, each in times.items()}
