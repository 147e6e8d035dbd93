"""The dashboard in front of a large installation (benchmarks/load/backlog.py), as its users see it.

``jobd web`` runs as a process of its own. Every page is asked for in turn, one after the other, so
that some find what another one has read a moment ago and others do not; then come the long actions,
through their forms, and fifty pages that stay open.
"""

from __future__ import annotations

import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from statistics import median
from typing import Any

import redis as redis_py

from benchmarks.load import backlog, sights
from benchmarks.load.backlog import QUEUE, Sizes
from benchmarks.load.visitor import Answer, OpenPage, Visitor, first_visit
from benchmarks.run import served
from benchmarks.run.bench import Bench
from benchmarks.run.plan import Plan, Result, percentile
from benchmarks.run.served import Slowest

PAGES_OPEN = 50

_PASSES = 40
"""Requests of a round for each page: of twenty, the 95th percentile would be the worst one."""

_PASS_SECONDS = 3.0
"""Least time between two requests for one page: longer than lists and counters are kept for."""

_SETTLE, _WINDOW, _WITHOUT = 6.0, 24.0, 10.0
"""Seconds that pages are open before their commands are counted, for which these are counted, and
for which those are that come without them."""

_START_SECONDS = 20.0


@dataclass
class _Round:
    """What one round showed, by page: ms to the first byte, and of the dashboard's CPU; slowest
    commands; seconds of whole searches; commands and refreshes a second of open pages."""

    first_bytes: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    pages: Slowest = field(default_factory=Slowest)
    actions: Slowest = field(default_factory=Slowest)
    searches: dict[str, float] = field(default_factory=dict)
    commands: float = 0.0
    refreshes: float = 0.0
    by_command: dict[str, float] = field(default_factory=dict)


def measure(bench: Bench, plan: Plan) -> Result:
    """ms, µs of commands, commands a second, bytes."""
    rounds = []
    with served.installation(bench.url, quick=plan.quick) as (redis, sizes):
        for _ in range(plan.rounds):
            backlog.lay_out(redis, sizes)
            with _dashboard(bench) as (root, pid):
                transferred = first_visit(root)
                rounds.append(_measured(redis, root, pid, sizes, plan))
    return {
        "unit": "ms",
        "queued": sizes.queued,
        "set": sizes.set,
        "processes": sizes.processes,
        "pages": _pages(rounds),
        "actions": served.summary([each.actions for each in rounds]),
        "searches": {
            name: round(median(each.searches[name] for each in rounds), 2)
            for name in rounds[0].searches
        },
        "open pages": {
            "pages": PAGES_OPEN,
            "commands": round(median(each.commands for each in rounds), 1),
            "refreshes": round(median(each.refreshes for each in rounds), 1),
            "by_command": rounds[-1].by_command,
        },
        "first visit": transferred,
    }


@contextmanager
def _dashboard(bench: Bench) -> Iterator[tuple[str, int]]:
    """The address and the process id of a dashboard that serves."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "jobd", "web", "-p", str(port), "--log-level", "warning"]
    with bench.processes([command]) as (pid,):
        root, deadline = f"http://127.0.0.1:{port}/", time.monotonic() + _START_SECONDS
        while True:
            try:
                with Visitor(root) as visitor:
                    visitor.get("healthz")
            except OSError:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"jobd web does not answer: {bench.output()}") from None
                time.sleep(0.05)
            else:
                break
        yield root, pid


def _measured(redis: redis_py.Redis, root: str, pid: int, sizes: Sizes, plan: Plan) -> _Round:
    seen = _Round()
    with Visitor(root) as visitor:
        pages = sights.addresses(visitor, sizes)
        for number in range(4 if plan.quick else _PASSES + 1):
            began = time.monotonic()
            # The first pass warms up templates and connections.
            _pass(redis, visitor, pages, pid, seen if number else _Round())
            time.sleep(max(0.0, began + _PASS_SECONDS - time.monotonic()))
        _search_on(redis, visitor, pages, seen)
        live = [address for name, address in pages.items() if sights.stays_open(name)]
        _stay_open(redis, root, live, seen, quick=plan.quick)
        _act(redis, visitor, sizes, seen)
    return seen


def _pass(
    redis: redis_py.Redis, visitor: Visitor, pages: dict[str, str], pid: int, seen: _Round
) -> None:
    """Every page once."""
    for name, address in pages.items():
        redis.slowlog_reset()
        before = served.cpu(pid)
        answer = visitor.get(address)
        cpu = served.cpu(pid) - before
        if answer.status not in (200, 303) and not (answer.status == 404 and "find" in name):
            raise RuntimeError(f"{name} ({address}) was answered with {answer.status}")
        seen.pages.note(name, served.slowest(redis))
        seen.first_bytes.setdefault(name, []).append(1000 * answer.first_byte)
        seen.cpu.setdefault(name, []).append(cpu)


# --- what takes long ----------------------------------------------------------------------------


def _search_on(
    redis: redis_py.Redis, visitor: Visitor, pages: dict[str, str], seen: _Round
) -> None:
    """Searches that find nothing, to their ends."""
    for name in ("queue", "retries", "dead"):
        occasion = f"{name}, search without finds"
        redis.slowlog_reset()
        began = time.monotonic()
        answer: Answer | None = visitor.get(pages[occasion])
        while answer is not None:
            answer = visitor.follow(answer)
        seen.searches[name] = time.monotonic() - began
        seen.actions.note(f"search to the end: {name}", served.slowest(redis))


def _act(redis: redis_py.Redis, visitor: Visitor, sizes: Sizes, seen: _Round) -> None:
    """Long actions, through their forms."""
    middle = f"queue?name={QUEUE}&start={sizes.large // 2}"
    everything = ("all", "1")
    steps: list[tuple[str, str, str, tuple[tuple[str, str], ...]]] = [
        ("delete from the middle of the queue", middle, "queue/act", (("action", "delete"),)),
        ("restore it", "trash", "/undo", ()),
        (
            "kill all retries of one class",
            "retries?q=class:shop.mail.send_invoice",
            "retries/act",
            (("action", "kill"), everything),
        ),
        ("restore them", "trash", "/undo", ()),
        (
            "delete all dead that match",
            "dead?q=Timeout",
            "dead/act",
            (("action", "delete"), everything),
        ),
        ("restore the dead", "trash", "/undo", ()),
        (
            "reschedule all scheduled",
            "scheduled",
            "scheduled/act",
            (("action", "reschedule"), everything),
        ),
        ("retry all", "retries", "retries/act", (("action", "retry"), everything)),
        ("clear the queue", "queues", "queues/act", (("action", "clear"), ("name", QUEUE))),
        ("restore the queue", "trash", "/undo", ()),
    ]
    for name, page, action, choices in steps:
        if "middle" in name:
            keys = re.findall(r'name="key" value="([^"]+)"', visitor.get(page).text)
            choices += tuple(("key", unescape(key)) for key in keys)
        redis.slowlog_reset()
        visitor.act(page, action, *choices)
        seen.actions.note(name, served.slowest(redis))


def _stay_open(
    redis: redis_py.Redis, root: str, live: list[str], seen: _Round, *, quick: bool
) -> None:
    """Pages that stay open, and what they cost."""
    part = 0.4 if quick else 1.0
    time.sleep(_SETTLE * part)
    without = served.rates(redis, _WITHOUT * part)
    pages = [OpenPage(root, live[at % len(live)]) for at in range(PAGES_OPEN)]
    for page in pages:
        page.start()
        # People do not all come at once.
        time.sleep(_SETTLE * part / PAGES_OPEN)
    redis.slowlog_reset()
    refreshed = sum(page.refreshes for page in pages)
    rates = served.rates(redis, _WINDOW * part)
    refreshed = sum(page.refreshes for page in pages) - refreshed
    seen.pages.note(f"{PAGES_OPEN} open pages", served.slowest(redis))
    for page in pages:
        page.stop()
    for page in pages:
        page.join()
        if page.failure or not page.events:
            raise RuntimeError(page.failure or "an open page was told nothing")
    added = {name: rate - without.get(name, 0.0) for name, rate in rates.items()}
    seen.commands = sum(added.values())
    seen.refreshes = refreshed / (_WINDOW * part)
    seen.by_command = {name: round(rate, 1) for name, rate in added.items() if rate >= 0.05}


# --- summaries ----------------------------------------------------------------------------------


def _pages(rounds: list[_Round]) -> dict[str, Any]:
    commands = served.summary([each.pages for each in rounds])
    made: dict[str, Any] = {}
    for name, command in commands.items():
        times = [each.first_bytes[name] for each in rounds if name in each.first_bytes]
        shares = {
            f"p{share}": round(median(percentile(each, share) for each in times), 1)
            for share in (50, 95)
            if times
        }
        used = [percentile(each.cpu[name], 95) for each in rounds if name in each.cpu]
        made[name] = {**shares, **({"cpu": round(median(used), 1)} if used else {}), **command}
    return made
