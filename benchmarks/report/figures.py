"""The figures that jobd wants to reach, as ratios within one run, and whether it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.run.contenders import CONTENDERS
from benchmarks.run.plan import Samples, median_of, ratio

PEERS = [contender.name for contender in CONTENDERS if contender.peer]

EMPTY = "empty jobs, against the best Python peer"
ASYNC = "empty async jobs, against the best Python peer"
SIDEKIQ = "empty jobs, against Sidekiq"

Measured = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Figure:
    """Attributes:
    target: None where there is nothing to reach: it is told because people ask.
    reached: None where it was not measured.
    most: whether *target* is an upper bound.
    """

    name: str
    target: float | None
    reached: float | None
    unit: str = "×"
    most: bool = False
    against: str = ""

    @property
    def passed(self) -> bool | None:
        if self.reached is None or self.target is None:
            return None
        return self.reached <= self.target if self.most else self.reached >= self.target


def figures(measured: Measured) -> list[Figure]:
    """All of them, those that were not measured as well."""
    measured = {name: each for name, each in measured.items() if "error" not in each}
    drains = _samples(measured, "drains")
    enqueue = _samples(measured, "enqueue")
    empty, peer_empty = _best(drains, "{}/1/empty/warning")
    coroutine, peer_coroutine = _best(drains, "{}/1/async/warning")
    bulk, peer_bulk = _best(enqueue, "{}/bulk", "{}/single")
    latency = measured.get("latency", {})
    idle = measured.get("idle", {})
    network = measured.get("network", {}).get("ratio", {})
    default, peer_default = _best(drains, "{}/1/empty/default")
    return [
        Figure(
            EMPTY,
            15,
            ratio(drains, "jobd/1/empty/warning", empty),
            against=peer_empty,
        ),
        Figure(
            "the same, every tool at its default log level",
            15,
            ratio(drains, "jobd/1/empty/default", default),
            against=peer_default,
        ),
        Figure(
            ASYNC,
            None,
            ratio(drains, "jobd/1/async/warning", coroutine),
            against=peer_coroutine,
        ),
        Figure(
            SIDEKIQ,
            5,
            ratio(drains, "jobd/1/empty/warning", "sidekiq/1/empty/warning"),
        ),
        Figure(
            "empty jobs, against the bare loop",
            0.5,
            ratio(drains, "jobd/1/empty/warning", "bare/1/empty/warning"),
        ),
        Figure(
            "1 ms of CPU, 2 processes against 1",
            1.8,
            ratio(drains, "jobd/2/cpu/warning", "jobd/1/cpu/warning"),
        ),
        Figure("1 ms of network latency, against none", 0.7, network.get("1 ms")),
        Figure(
            "bulk enqueue, against the best Python peer",
            5,
            ratio(enqueue, "jobd/bulk", bulk),
            against=peer_bulk,
        ),
        Figure(
            "single enqueue, against redis-py's LPUSH",
            0.8,
            ratio(enqueue, "jobd/single", "bare/single"),
        ),
        Figure("latency on idle, p50, against BLMOVE", 1.5, latency.get("ratio"), most=True),
        *_attachments(measured.get("attachments", {})),
        *_batches(measured.get("batches", {})),
        *_workflows(measured.get("workflows", {})),
        Figure("depth 1 million against 10 thousand", 0.9, measured.get("depth", {}).get("ratio")),
        Figure(
            "a million due jobs, moved and run in a second",
            None,
            measured.get("due", {}).get("median", {}).get("ran"),
            unit="/s",
        ),
        Figure(
            "what fresh jobs wait meanwhile, p99",
            None,
            measured.get("due", {}).get("fresh in the flood, ms", {}).get("p99"),
            unit="ms",
            most=True,
        ),
        Figure(
            "idle: commands a second of a worker",
            2,
            idle.get("each worker"),
            unit="/s",
            most=True,
        ),
        Figure(
            "idle: CPU of the worker",
            0.5,
            idle.get("cpu_percent", {}).get("worker"),
            unit="%",
            most=True,
        ),
        Figure(
            "SIGKILL until the jobs run again, p99",
            1000,
            measured["recovery"]["beside"]["p99"] if "recovery" in measured else None,
            unit="ms",
            most=True,
        ),
        Figure(
            "growth of memory over a million jobs",
            5,
            measured.get("memory", {}).get("growth"),
            unit="MB",
            most=True,
        ),
        *_dashboard(measured.get("dashboard", {})),
        *_terminal(measured.get("terminal", {})),
    ]


def _attachments(result: Mapping[str, Any]) -> list[Figure]:
    """What hangs on a job, against the same without."""
    ratios, waits = result.get("ratio", {}), result.get("waits", {})
    woken, blmove = (
        waits.get(name, {}).get("p50") for name in ("result, from the end", "BLMOVE, from the push")
    )
    cancel = waits.get("cancel, until it is raised", {}).get("p95")
    return [
        Figure("jobs with a unique lock, against plain ones", 0.5, ratios.get("unique, run")),
        Figure("jobs with a kept result, against plain ones", 0.5, ratios.get("kept result, run")),
        Figure(
            "Result.get after the end, p50, against BLMOVE",
            2,
            woken / blmove if woken and blmove else None,
            most=True,
        ),
        Figure("cancel of a running job until it is raised, p95", 100, cancel, "ms", most=True),
    ]


def _batches(result: Mapping[str, Any]) -> list[Figure]:
    """Members against the same jobs without a batch; its callback."""
    ratios, callback = result.get("ratio", {}), result.get("callback, ms", {}).get("p50")
    return [
        Figure("members of a batch pushed, against plain jobs", 0.7, ratios.get("pushed")),
        Figure("members of a batch run, against plain jobs", 0.7, ratios.get("run")),
        Figure("callback of a batch after the last, p50", 10, callback, "ms", most=True),
    ]


def _workflows(result: Mapping[str, Any]) -> list[Figure]:
    """Steps one after the other, the callback of a large chord, the memory of many small ones."""
    callback, size = result.get("callback, ms", {}).get("p50"), result.get("bytes")
    return [
        Figure("chain of 10,000 empty steps, against BLMOVE", 0.5, result.get("ratio")),
        Figure("callback of 10,000 after the last, p50", 10, callback, "ms", most=True),
        Figure("1,000 chords of 10", 5, size / 1e6 if size else None, "MB", most=True),
    ]


def _dashboard(result: Mapping[str, Any]) -> list[Figure]:
    """Those of the dashboard; *against* says what was the worst."""
    pages, actions = result.get("pages", {}), result.get("actions", {})
    searches = {name: page for name, page in pages.items() if "search" in name}
    slowest, on = _worst(pages, "p95")
    first, of = _worst(searches, "p95")
    command, page = _worst(pages, "us")
    step, action = _worst(actions, "us")
    visit = result.get("first visit", {})
    return [
        Figure("dashboard: first byte of the slowest page, p95", 150, slowest, "ms", True, on),
        Figure("dashboard: first finds of a search, p95", 300, first, "ms", True, of),
        Figure("dashboard: slowest command of a page", 10, _per(command, 1e3), "ms", True, page),
        Figure("dashboard: slowest command of an action", 10, _per(step, 1e3), "ms", True, action),
        Figure(
            "dashboard: commands a second of 50 open pages",
            100,
            result.get("open pages", {}).get("commands"),
            "/s",
            True,
        ),
        Figure(
            "dashboard: first visit", 200, _per(sum(visit.values()) or None, 1024), "KB", most=True
        ),
    ]


def _terminal(result: Mapping[str, Any]) -> list[Figure]:
    """Those of ``jobctl``; *against* says what was the worst."""
    commands, pages = result.get("commands", {}), result.get("top", {})
    parts = (" ls", " show")
    # What finds nothing has no output before its end.
    lists = {
        name: one
        for name, one in commands.items()
        if any(part in name for part in parts) and "nothing" not in name
    }
    whys = {name: one for name, one in commands.items() if name.startswith("why: ")}
    whys.pop("why: nowhere", None)
    (listed, which), (why, of) = _worst(lists, "p50"), _worst(whys, "p50")
    (slow, command), (trips, on), (cpu, page) = (
        _worst(found, key) for found, key in ((commands, "us"), (pages, "trips"), (pages, "cpu"))
    )
    help_, word, name = (
        commands.get(each, {}).get("p50")
        for each in ("--help", "completion: option", "completion: name")
    )
    return [
        Figure("jobctl: first output of the slowest list, p50", 300, listed, "ms", True, which),
        Figure("jobctl why, p50", 200, why, "ms", True, of),
        Figure("jobctl: slowest command in Redis", 10, _per(slow, 1e3), "ms", True, command),
        Figure("jobctl --help, p50", 150, help_, "ms", True),
        Figure("completion of an option, p50", 100, word, "ms", True),
        Figure("completion of a name in Redis, p50", 300, name, "ms", True),
        Figure("jobctl top: round trips a second", 5, trips, "/s", True, on),
        Figure("jobctl top: CPU", 3, cpu, "%", True, page),
    ]


def _worst(found: Mapping[str, Any], key: str) -> tuple[float | None, str]:
    values = [(one[key], name) for name, one in found.items() if key in one]
    return max(values) if values else (None, "")


def _per(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _samples(measured: Measured, name: str) -> Samples:
    samples: Samples = measured.get(name, {}).get("samples", {})
    return samples


def _best(samples: Samples, *patterns: str) -> tuple[str, str]:
    """The key and the name of the fastest Python peer."""
    found = [
        (value, key, peer)
        for peer in PEERS
        for pattern in patterns
        if (value := median_of(samples.get(key := pattern.format(peer), [])))
    ]
    return max(found)[1:] if found else ("", "")
