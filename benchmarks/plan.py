"""What one run measures, and how much of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.contenders import CONTENDERS, Contender

Samples = dict[str, list[float]]
"""Measurements of the rounds, by name; the same index is the same round."""


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


def note(samples: Samples, name: str, value: float) -> None:
    samples.setdefault(name, []).append(value)


def medians(samples: Samples) -> dict[str, float]:
    return {name: median(values) for name, values in samples.items()}


def ratio(samples: Samples, over: str, under: str) -> float | None:
    """The median of the rounds' ratios: what slows a whole round down cancels out."""
    pairs = list(zip(samples.get(over, ()), samples.get(under, ()), strict=False))
    return median(a / b for a, b in pairs) if pairs else None


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that is not below *percent* of all *values*."""
    ordered = sorted(values)
    rank = min(len(ordered) - 1, int(len(ordered) * percent / 100))
    return ordered[rank]


Result = dict[str, Any]
