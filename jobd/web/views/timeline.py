"""The timeline of periodic jobs: their last ticks with what became of them, and those of the next
day. Positions are shares of the whole width, so that it fits every screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jobd.api import PeriodicJob
from jobd.api.features.attached import when
from jobd.store.ticks import Record
from jobd.text.translatable import Text

PAST = 6 * 3600.0
"""Seconds before now that are shown."""

AHEAD = 24 * 3600.0
"""Seconds after it."""

MOST = 96
"""Ticks to come that are drawn one by one; more of them are a band."""

_EVERY = 6 * 3600
"""Seconds between two marks of the scale."""

OUTCOMES: Mapping[str, Text] = {
    "fired": Text("in time"),
    "late": Text("late"),
    "missed": Text("missed"),
    "skipped": Text("skipped: the one before had not ended"),
    "run": Text("pushed by a user"),
}
"""What became of a tick, in the order of the legend."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A tick, at *x* percent; *what* became of it, or ``due``."""

    x: float
    what: str
    when: str


@dataclass(frozen=True, slots=True)
class Lane:
    """A periodic job.

    Attributes:
        band: from where to where it is due so often that the ticks are not told apart, in percent.
    """

    job: PeriodicJob
    marks: Sequence[Mark]
    band: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Scale:
    """A line of the scale, at *x* percent; *hours* from now."""

    x: float
    hours: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """All of it."""

    lanes: Sequence[Lane]
    scale: Sequence[Scale]


def timeline(
    jobs: Sequence[PeriodicJob], ticks: Sequence[Sequence[Record]], now: float
) -> Timeline:
    """The timeline of *jobs* at *now*; *ticks* are the last ones of each."""
    lanes = [_lane(job, past, now) for job, past in zip(jobs, ticks, strict=True)]
    hours = range(-round(PAST), round(AHEAD) + 1, _EVERY)
    return Timeline(lanes, [Scale(_place(now + at, now), at // 3600) for at in hours])


def _lane(job: PeriodicJob, past: Sequence[Record], now: float) -> Lane:
    marks = [
        Mark(_place(one.tick, now), one.what if one.what in OUTCOMES else "", when(one.tick))
        for one in reversed(past)
        if now - PAST <= one.tick <= now + AHEAD
    ]
    if job.next is None:
        return Lane(job, marks)
    coming = job.between(max(job.next, now), now + AHEAD, MOST + 1)
    if len(coming) > MOST:
        return Lane(job, marks, (_place(coming[0], now), 100.0))
    return Lane(job, [*marks, *(Mark(_place(at, now), "due", when(at)) for at in coming)])


def _place(at: float, now: float) -> float:
    """
    >>> _place(0.0, 0.0), _place(AHEAD, 0.0)
    (20.0, 100.0)
    """
    return round(100 * (at - now + PAST) / (PAST + AHEAD), 3)
