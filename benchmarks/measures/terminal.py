"""``jobctl`` in front of a large installation (benchmarks/load/backlog.py), as an operator sees it.

Every command is a process of its own, as at a prompt: what counts is the time from its start to its
first output, and the slowest command that Redis ran for it until it ended.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import redis as redis_py

from benchmarks.load.backlog import KEYS, NEEDLE, QUEUE
from benchmarks.run import served
from benchmarks.run.bench import Bench
from benchmarks.run.plan import Plan, Result, percentile
from benchmarks.run.served import Slowest

_TIMES = 15
"""Runs of each command in a round."""

_LONG = 3
"""Runs of those that read a whole queue or set."""

_PATIENCE = 120.0

_NEXT = 10_000
"""The place of a job among the next of its queue, up to which ``why`` is to be quick."""

_SETTLE, _WINDOW = 4.0, 10.0
"""Seconds until a page of ``top`` has come to rest, and for which it is watched."""

_PAGES = {
    "1": "home",
    "2": "busy",
    "3": "processes",
    "4": "queues",
    "5": "retries",
    "7": "dead",
    "8": "groups",
    "9": "metrics",
}

_HELP, _TAB = "--help", "completion"

_BASH = """
source "$1"
COMP_LINE="jobctl $2" COMP_POINT=$((${#2} + 7))
began=$EPOCHREALTIME
_jobctl jobctl
ended=$EPOCHREALTIME
echo "$(( ${ended/./} - ${began/./} ))" "${COMPREPLY[@]}"
"""
"""The microseconds that completion took in bash, and the words that were offered."""


@dataclass
class _Round:
    """By command: ms to the first output and to the end; and what ``top`` cost, by page: round
    trips a second, per cent of a CPU."""

    first: dict[str, list[float]] = field(default_factory=dict)
    whole: dict[str, list[float]] = field(default_factory=dict)
    commands: Slowest = field(default_factory=Slowest)
    trips: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)


def measure(bench: Bench, plan: Plan) -> Result:
    """ms, µs of commands, round trips a second, per cent of a CPU."""
    rounds = []
    with served.installation(bench.url, quick=plan.quick) as (redis, sizes):
        for _ in range(plan.rounds):
            rounds.append(seen := _Round())
            _lists(bench, redis, plan, seen)
            _completion(bench, plan, seen)
            _top(bench, redis, plan, seen)
    return {
        "unit": "ms",
        "queued": sizes.queued,
        "set": sizes.set,
        "processes": sizes.processes,
        "commands": _commands(rounds),
        "top": {
            page: {
                "trips": round(median(each.trips[page] for each in rounds), 2),
                "cpu": round(median(each.cpu[page] for each in rounds), 2),
            }
            for page in rounds[0].trips
        },
    }


# --- commands -----------------------------------------------------------------------------------


def _lists(bench: Bench, redis: redis_py.Redis, plan: Plan, seen: _Round) -> None:
    quick, long = _occasions(redis)
    for commands, times in ((quick, _TIMES), (long, _LONG)):
        for number in range(2 if plan.quick else times + 1):
            for name, arguments in commands.items():
                redis.slowlog_reset()
                first, whole = _run(bench, *arguments)
                if number:  # The first time compiles modules, and loads scripts.
                    seen.first.setdefault(name, []).append(first)
                    seen.whole.setdefault(name, []).append(whole)
                    seen.commands.note(name, served.slowest(redis))


def _occasions(redis: redis_py.Redis) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The commands by name: those that are to be quick, and those that read everything."""
    sets = ("retries", "scheduled", "dead")
    quick = {
        _HELP: ["--help"],
        "stats": ["stats"],
        "queues ls": ["queues", "ls"],
        "queues show": ["queues", "show", QUEUE],
        **{f"{name} ls": [name, "ls"] for name in sets},
        **{f"{name} ls --class": [name, "ls", "--class", _a_class(redis, name)] for name in sets},
        "processes ls": ["processes", "ls"],
        "audit": ["audit"],
        "trash ls": ["trash", "ls"],
        "cron ls": ["cron", "ls"],
        "batch ls": ["batch", "ls"],
        "workflow ls": ["workflow", "ls"],
        **{f"why: {place}": ["why", jid] for place, jid in _jobs(redis).items()},
    }
    long = {
        "groups": ["groups"],
        "jobs find": ["jobs", "find", "--arg", NEEDLE],
        "jobs find: nothing": ["jobs", "find", "--arg", "nothinglikethis"],
        "dead ls: nothing": ["dead", "ls", "--arg", "nothinglikethis"],
        "retries delete --dry-run": ["retries", "delete", "--error", "Timeout", "--dry-run"],
        "why: nowhere": ["why", "f" * 24],
        "doctor": ["doctor"],
        "redis": ["redis", "--seconds", "1"],
    }
    return quick, long


_KEYS = {"retries": "retry", "scheduled": "schedule", "dead": "dead"}


def _a_class(redis: redis_py.Redis, name: str) -> str:
    raw: Any = redis.zrange(_KEYS[name], 0, 0)
    return str(json.loads(raw[0])["class"])


def _jobs(redis: redis_py.Redis) -> dict[str, str]:
    """A job of each place, where it takes longest to find it there."""
    one: Any = redis.srandmember(KEYS.processes)
    works: Any = redis.hvals(KEYS.work(one.decode()))
    found = {
        "running": json.loads(works[0])["payload"],
        f"{_NEXT}th of its queue": redis.lindex(KEYS.queue(QUEUE), -_NEXT),
    }
    for name, key in _KEYS.items():
        members: Any = redis.zrange(key, redis.zcard(key) // 2, redis.zcard(key) // 2)
        found[name] = members[0]
    return {name: str(json.loads(raw)["jid"]) for name, raw in found.items()}


def _run(bench: Bench, *arguments: str) -> tuple[float, float]:
    """ms until the first output, and until the end."""
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "jobctl", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=bench.directory,
        env=bench.environment(),
    ) as process:
        assert process.stdout is not None
        text = process.stdout.read(1)
        first = time.monotonic() - began
        text += process.stdout.read()
        code = process.wait(_PATIENCE)
    if b"Traceback" in text or code not in (0, 1, 7, 9):
        raise RuntimeError(f"jobctl {' '.join(arguments)} ended with {code}: {text[-300:]!r}")
    return 1000 * first, 1000 * (time.monotonic() - began)


def _completion(bench: Bench, plan: Plan, seen: _Round) -> None:
    """What a Tab takes in bash: a command, an option, the name of a queue."""
    program = bench.directory / "bin" / "jobctl"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m jobctl "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
    environment = {**bench.environment(), "PATH": path}
    script = bench.directory / "jobctl.bash"
    with script.open("wb") as file:
        subprocess.run(
            [str(program), "completion", "bash"], env=environment, stdout=file, check=True
        )
    for name, words, offer in (
        ("command", "ret", "retries"),
        ("option", "retries ls --cl", "--class"),
        ("name", "queues show mail-", "mail-00"),
    ):
        for _ in range(2 if plan.quick else _TIMES):
            done = subprocess.run(
                ["bash", "--norc", "-c", _BASH, "bash", str(script), words],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
                timeout=_PATIENCE,
            )
            took, *offered = done.stdout.split()
            if offer not in offered:
                raise RuntimeError(f"{words!r} is completed by {offered}: {done.stderr}")
            seen.first.setdefault(f"{_TAB}: {name}", []).append(int(took) / 1000)


# --- top ----------------------------------------------------------------------------------------


def _top(bench: Bench, redis: redis_py.Redis, plan: Plan, seen: _Round) -> None:
    """Every page of ``jobctl top`` in a terminal of 80×24."""
    part = 0.3 if plan.quick else 1.0
    _, without = _turn(redis, 0, _WINDOW * part)
    with _terminal(bench) as (pid, keyboard):
        for key, page in _PAGES.items():
            os.write(keyboard, key.encode())
            time.sleep(_SETTLE * part)
            redis.slowlog_reset()
            used, trips = _turn(redis, pid, _WINDOW * part)
            seen.commands.note(f"top: {page}", served.slowest(redis))
            seen.trips[page], seen.cpu[page] = trips - without, used


def _turn(redis: redis_py.Redis, pid: int, seconds: float) -> tuple[float, float]:
    """Per cent of a CPU that a process uses, and what the server reads a second: one read is the
    commands that came at once."""
    before, cpu, began = _reads(redis), served.cpu(pid), time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    return (served.cpu(pid) - cpu) / took / 10, (_reads(redis) - before) / took


def _reads(redis: redis_py.Redis) -> int:
    about: Any = redis.info("stats")
    return int(about["total_reads_processed"])


@contextmanager
def _terminal(bench: Bench) -> Iterator[tuple[int, int]]:
    """``jobctl top`` in a terminal that somebody reads; its process id, and the keyboard."""
    pid, screen = pty.fork()
    if not pid:
        environment = {**bench.environment(), "TERM": "xterm-256color"}
        os.execve(sys.executable, [sys.executable, "-m", "jobctl", "top"], environment)
    fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    shown = bytearray()
    reader = threading.Thread(target=_read, args=(screen, shown), daemon=True)
    reader.start()
    try:
        deadline = time.monotonic() + _PATIENCE
        while not re.search(rb"queued", shown):
            if time.monotonic() > deadline:
                raise RuntimeError(f"jobctl top does not start: {bytes(shown[-300:])!r}")
            time.sleep(0.05)
        yield pid, screen
        os.write(screen, b"q")
        os.waitpid(pid, 0)
    finally:
        reader.join()
        os.close(screen)


def _read(screen: int, shown: bytearray) -> None:
    """Everything until the terminal is left: a program that nobody reads stops to write."""
    with suppress(OSError):
        while piece := os.read(screen, 65536):
            shown += piece


# --- summaries ----------------------------------------------------------------------------------


def _commands(rounds: list[_Round]) -> dict[str, Any]:
    slow = served.summary([each.commands for each in rounds])
    made: dict[str, Any] = {}
    for name in dict.fromkeys([*rounds[0].first, *slow]):
        times = [each.first[name] for each in rounds if name in each.first]
        whole = [one for each in rounds for one in each.whole.get(name, [])]
        made[name] = {
            **{
                f"p{share}": round(median(percentile(each, share) for each in times), 1)
                for share in (50, 95)
                if times
            },
            **({"whole": round(median(whole), 1)} if whole else {}),
            **slow.get(name, {}),
        }
    return made
