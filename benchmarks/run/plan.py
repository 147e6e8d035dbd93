"""What one run measures, and how much of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.run.contenders import CONTENDERS, Contender

Samples = dict[str, list[float | None]]
"""Measurements of the rounds, by name; the same index is the same round. None has failed."""

# Jobs of one drain with one process: about one and a half seconds of each one's work, so that the
# clock's resolution and the first and the last job count for nothing. *logged* are empty jobs at
# the default log level. One thread that works off its jobs one after the other says nothing about
# waiting or computing: the bare loop has neither.
_DRAINS = {
    "jobd": {"empty": 200_000, "sleep": 12_000, "cpu": 1_400, "payload": 30_000, "logged": 50_000},
    "bare": {"empty": 400_000, "payload": 40_000},
    "dramatiq": {"empty": 4_000, "sleep": 3_500, "cpu": 1_000, "payload": 4_000, "logged": 4_000},
    "huey": {"empty": 4_000, "sleep": 3_500, "cpu": 1_000, "payload": 4_000, "logged": 3_000},
    "taskiq": {"empty": 2_500, "sleep": 2_000, "cpu": 800, "payload": 2_500, "logged": 2_500},
    "celery": {"empty": 1_200, "sleep": 1_200, "cpu": 700, "payload": 1_200, "logged": 1_200},
    "rq": {"empty": 400, "sleep": 400, "cpu": 300, "payload": 400, "logged": 400},
    "sidekiq": {
        "empty": 15_000,
        "sleep": 8_000,
        "cpu": 1_200,
        "payload": 10_000,
        "logged": 7_000,
    },
}

# Two processes do more and get more, so that their drains do not become too short. Payloads are
# carried by the server, which a second process does not make faster.
_MORE = {"empty": 2.0, "sleep": 2.0, "cpu": 2.0, "payload": 1.5}


@dataclass(frozen=True)
class Plan:
    """Attributes:
    rounds: how often everything is measured; in each round all contenders take their turn.
    quick: less of everything, to see that it works and roughly where jobd stands.
    names: contenders to measure; all that are installed when empty.
    """

    rounds: int = 3
    quick: bool = False
    names: frozenset[str] = frozenset()

    def contenders(self) -> list[Contender]:
        return [
            each
            for each in CONTENDERS
            if not each.missing and (not self.names or each.name in self.names)
        ]

    def turns(self) -> Iterator[tuple[int, Contender]]:
        """A B C, A B C, A B C."""
        for number in range(self.rounds):
            for contender in self.contenders():
                yield number, contender

    def drains(self, contender: Contender, processes: int) -> dict[str, int]:
        """Jobs to drain, by workload. Only what this contender can do."""
        sizes = dict(_DRAINS[contender.name])
        if processes > 1:
            sizes = {each: int(jobs * _MORE[each]) for each, jobs in sizes.items() if each in _MORE}
        if self.quick:
            sizes = {each: sizes[each] // 3 for each in ("empty", "cpu", "logged") if each in sizes}
        return sizes


def note(samples: Samples, name: str, value: float | None) -> None:
    samples.setdefault(name, []).append(value)


def median_of(values: list[float | None]) -> float | None:
    """Of those that did not fail; None if all did."""
    found = [value for value in values if value is not None]
    return median(found) if found else None


def medians(samples: Samples) -> dict[str, float | None]:
    return {name: median_of(values) for name, values in samples.items()}


def ratio(samples: Samples, over: str, under: str) -> float | None:
    """The median of the rounds' ratios: what slows a whole round down cancels out."""
    pairs = zip(samples.get(over, ()), samples.get(under, ()), strict=False)
    return median_of([a / b if a and b else None for a, b in pairs])


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that is not below *percent* of all *values*."""
    ordered = sorted(values)
    rank = min(len(ordered) - 1, int(len(ordered) * percent / 100))
    return ordered[rank]


Result = dict[str, Any]
