"""What one run measures, and how much of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.run.contenders import CONTENDERS, Contender

Samples = dict[str, list[float | None]]
"""Measurements of the rounds, by name; the same index is the same round. None has failed."""

# Workloads in the order of the rows below; none of those that a tool cannot run.
_KINDS = ("empty", "async", "sleep", "long", "cpu", "payload", "logged")

# Jobs of one drain with one process: about one and a half seconds of each one's work, so that the
# clock's resolution and the first and the last job count for nothing. *async* are empty coroutines,
# *long* those of a tenth of a second, *logged* empty jobs at the default log level. One thread that
# works off its jobs one after the other says nothing about waiting or computing: the bare loop has
# neither.
_DRAINS = {
    "jobd": (200_000, 100_000, 12_000, 150, 1_400, 30_000, 50_000),
    "bare": (400_000, 0, 0, 0, 0, 40_000, 0),
    "dramatiq": (4_000, 3_000, 3_500, 150, 1_000, 4_000, 4_000),
    "huey": (4_000, 0, 3_500, 150, 1_000, 4_000, 3_000),
    "taskiq": (2_500, 2_500, 2_000, 150, 800, 2_500, 2_500),
    "celery": (1_200, 0, 1_200, 150, 700, 1_200, 1_200),
    "rq": (400, 0, 400, 150, 300, 400, 400),
    "arq": (1_000, 1_000, 1_000, 40, 700, 1_000, 1_000),
    "saq": (1_500, 1_500, 1_500, 150, 700, 1_500, 1_500),
    "streaq": (1_500, 1_500, 1_500, 150, 700, 1_500, 1_500),
    "ardiq": (4_000, 8_000, 3_500, 150, 1_000, 4_000, 4_000),
    "sidekiq": (15_000, 0, 8_000, 150, 1_200, 10_000, 7_000),
}

# Two processes do more and get more, so that their drains do not become too short. Payloads are
# carried by the server, which a second process does not make faster.
_MORE = {"empty": 2.0, "async": 2.0, "sleep": 2.0, "long": 2.0, "cpu": 2.0, "payload": 1.5}


_QUICK = ("empty", "async", "cpu", "logged")


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
        rows = zip(_KINDS, _DRAINS[contender.name], strict=True)
        sizes = {kind: jobs for kind, jobs in rows if jobs}
        if processes > 1:
            sizes = {each: int(jobs * _MORE[each]) for each, jobs in sizes.items() if each in _MORE}
        if self.quick:
            sizes = {each: sizes[each] // 3 for each in _QUICK if each in sizes}
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
