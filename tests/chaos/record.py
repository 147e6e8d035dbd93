"""What was done to the processes of a chaos run, for the verdict."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.chaos.plan import Kind


@dataclass(slots=True)
class Injury:
    """What was done to a process: *kind*, from *began* to *ended* (monotonic s; a kill has no
    end)."""

    kind: Kind
    began: float
    ended: float = float("inf")


@dataclass(slots=True)
class Record:
    """Everything that was done.

    Attributes:
        faults: how often each kind happened.
        killed: processes that got a SIGKILL, by what they were.
        injuries: by process id.
        ticks: when each tick of the clock in the data was surely over (monotonic s).
        gave_up: starts that failed, because too much was killed for a minute.
    """

    faults: Counter[Kind] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    injuries: dict[int, list[Injury]] = field(default_factory=dict)
    ticks: list[tuple[int, float]] = field(default_factory=list)
    gave_up: int = 0
