"""Two versions of jobd, measured in turn: the rows, their ratios round by round, the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.report.tables import Table

LEAST = 0.97
"""A row fails where every round is below that."""

_OF_JOBD = "jobd/"

_CPU_STEP = 0.05
"""Per cent of a CPU: the kernel counts in steps of 10 ms, in a window of 20 s."""

Rows = dict[str, float | None]
"""By name, so that more is better: rates, and the reciprocals of what is paid. None has failed."""


def rows(name: str, result: Mapping[str, Any]) -> Rows:
    """Those of one round of measure *name*; none where it failed as a whole."""
    if "error" in result:
        return {}
    rates = {
        f"{name}: {each.removeprefix(_OF_JOBD)}": values[-1]
        for each, values in result.get("samples", {}).items()
    }
    return {**rates, **{f"{name}: {each}": 1 / cost for each, cost in _costs(name, result).items()}}


def _costs(name: str, result: Mapping[str, Any]) -> dict[str, float]:
    match name:
        case "latency":
            jobd = result["contenders"].get("jobd", {})
            return {each: jobd[each] for each in ("p50", "p99") if each in jobd}
        case "due":
            kinds = ("fresh on idle, ms", "fresh in the flood, ms")
            return {f"{kind}, {each}": result[kind][each] for kind in kinds for each in _MIDDLE}
        case "idle":
            jobd = result["contenders"]["jobd"]
            return {"commands": jobd["commands"], "CPU": max(_CPU_STEP, jobd["cpu"])}
        case "recovery":
            return {f"{kind}, {each}": result[kind][each] for kind in _KILLS for each in _MIDDLE}
        case "memory":
            sizes = result["after_each_batch"]
            return {"whole daemon, warm": sizes[0], "whole daemon, at last": sizes[-1]}
    return {}


_MIDDLE = ("p50", "p99")
_KILLS = ("beside", "alone")


@dataclass(frozen=True)
class Comparison:
    """One row.

    Attributes:
        ratios: new against old, by round, above 1 where new is better; None where one of the two
            failed.
        new_failed: whether the new one failed in a round in which the old one did not.
    """

    name: str
    ratios: Sequence[float | None]
    new_failed: bool = False

    @property
    def interval(self) -> tuple[float, float] | None:
        """The least and the greatest ratio.

        The true median lies outside of those of five rounds in one case of sixteen, whatever
        the noise looks like; below them in one of 32.
        """
        found = [ratio for ratio in self.ratios if ratio is not None]
        return (min(found), max(found)) if found else None

    @property
    def failed(self) -> bool:
        return self.new_failed or (self.interval is not None and self.interval[1] < LEAST)

    @property
    def verdict(self) -> str:
        if self.failed:
            return "FAILED" if self.new_failed else "FAIL"
        return "ok" if self.interval else "not measured"


def compare(new: Sequence[Rows], old: Sequence[Rows]) -> list[Comparison]:
    """Of all rounds; the same index is the same round."""
    names = dict.fromkeys(name for each in (*new, *old) for name in each)
    return [_compared(name, new, old) for name in names]


def _compared(name: str, new: Sequence[Rows], old: Sequence[Rows]) -> Comparison:
    pairs = [(a.get(name), b.get(name)) for a, b in zip(new, old, strict=True)]
    return Comparison(
        name,
        [a / b if a and b else None for a, b in pairs],
        new_failed=any(b and not a for a, b in pairs),
    )


def table(comparisons: Sequence[Comparison]) -> Table:
    """For people."""
    rounds = max((len(each.ratios) for each in comparisons), default=0)
    headings = ["new / old", *(f"round {n + 1}" for n in range(rounds)), "interval", ""]
    return Table(
        headings,
        [
            [each.name, *map(_cell, each.ratios), _interval(each.interval), each.verdict]
            for each in comparisons
        ],
    )


def _cell(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.3f}"


def _interval(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else " .. ".join(map(_cell, interval))
