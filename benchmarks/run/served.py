"""What the server has done for others: its slowest command, its calls; and the CPU of a process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import redis as redis_py

from benchmarks.load import backlog, beats
from benchmarks.load.backlog import CLIENT, SMALL, Sizes
from benchmarks.run.plan import percentile
from jobd.store import scripts

SLOW_US = 200
"""Commands that took longer are asked for."""


@dataclass
class Slowest:
    """By what happened, the slowest command each time that it did: µs, and what it was."""

    found: dict[str, list[tuple[int, str]]] = field(default_factory=dict)

    def note(self, occasion: str, took: tuple[int, str]) -> None:
        self.found.setdefault(occasion, []).append(took)


@contextmanager
def installation(url: str, *, quick: bool) -> Iterator[tuple[redis_py.Redis, Sizes]]:
    """A large one, whose processes beat, on a server that notes slow commands."""
    sizes = SMALL if quick else Sizes()
    redis = backlog.connect(url)
    redis.config_set("slowlog-log-slower-than", SLOW_US)
    redis.config_set("slowlog-max-len", 4096)
    backlog.build(redis, url, sizes)
    with beats.heartbeats(url, sizes):
        yield redis, sizes


def slowest(redis: redis_py.Redis) -> tuple[int, str]:
    """The slowest command since ``slowlog_reset`` that was not ours: µs, and its name."""
    found: Any = redis.slowlog_get(4096)
    theirs = [each for each in found if each.get("client_name") != CLIENT.encode()]
    slow = max(theirs, key=lambda each: each["duration"], default=None)
    if slow is None:
        return 0, f"none over {SLOW_US} µs"
    words = bytes(slow["command"]).decode(errors="replace").split(" ")
    if words[0] == "EVALSHA":
        words[1] = f"{scripts.name_of(words[1]) or words[1]}.lua"
    return int(slow["duration"]), " ".join(words[:2])[:60]


def _calls(redis: redis_py.Redis) -> dict[str, int]:
    stats: Any = redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}


def rates(redis: redis_py.Redis, seconds: float) -> dict[str, float]:
    """Commands a second, by name, in so many seconds from now."""
    before, began = _calls(redis), time.monotonic()
    time.sleep(seconds)
    after, took = _calls(redis), time.monotonic() - began
    return {name: (count - before.get(name, 0)) / took for name, count in after.items()}


def cpu(pid: int) -> float:
    """ms for which the threads of a process have run. The kernel's own unit for it, ns, is exact
    enough for one request; that of most tools is 10 ms."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text(encoding="ascii").split()[0]) for task in tasks) / 1e6


def summary(found: list[Slowest]) -> dict[str, Any]:
    """Of each occasion the 95th percentile (median of the rounds) and the worst, µs, and what that
    was. Where something happens once a round, the percentile is that one."""
    made = {}
    for occasion in found[0].found:
        times = [[us for us, _ in each.found[occasion]] for each in found]
        worst, command = max(each for one in found for each in one.found[occasion])
        typical = median(percentile([float(us) for us in each], 95) for each in times)
        made[occasion] = {"us": round(typical), "worst": worst, "command": command}
    return made
