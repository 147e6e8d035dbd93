"""What to look out for in the next ticks: changes of the clocks, and ticks that come together."""

from __future__ import annotations

import datetime
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from jobd.schedules.line import Line, zone_of

_STEP = 1800


class Change(NamedTuple):
    """A change of the clocks of a zone: at *at*, by *seconds* (forward, or back if negative)."""

    at: float
    tz: str
    seconds: float


class Together(NamedTuple):
    """Schedules that are due at the same moment."""

    at: float
    names: tuple[str, ...]


def changes(tz: str, begin: float, end: float) -> list[Change]:
    """The changes of the clocks of a zone in that time."""
    zone = zone_of(tz)
    found = []
    at = begin - begin % _STEP
    last = _offset(at, zone)
    while (at := at + _STEP) < end:
        if (now := _offset(at, zone)) != last:
            found.append(Change(at, tz, now - last))
            last = now
    return found


def _offset(at: float, zone: datetime.tzinfo) -> float:
    offset = datetime.datetime.fromtimestamp(at, zone).utcoffset()
    return 0.0 if offset is None else offset.total_seconds()


def affected(line: Line, change: Change) -> str:
    """What a change does to a line; "" if nothing."""
    if line.every or line.tz != change.tz:
        return ""
    around = line.newest(change.at - 3700, change.at + 3700, 100)
    if change.seconds > 0 and change.at in around and not _at_that_time(line, change):
        return "skipped by the clocks, so it is due right after the gap"
    minute, hour = line.cron.split()[-5:-3]
    if change.seconds < 0 and not minute.startswith("*") and not hour.startswith("*"):
        repeated = [at for at in around if change.at + change.seconds <= at < change.at]
        return "comes twice, and is due the first time" if repeated else ""
    return ""


def _at_that_time(line: Line, change: Change) -> bool:
    """Whether the line is due at the end of the gap on other days, too."""
    week = change.at + 7 * 86400
    return any(abs(at - week) < 1 for at in line.newest(week - 60, week))


def together(ticks: Mapping[str, Iterable[float]], least: int = 2) -> list[Together]:
    """Where at least so many schedules are due at once, those with the most first."""
    by_time: dict[float, list[str]] = defaultdict(list)
    for name, times in ticks.items():
        for at in times:
            by_time[at].append(name)
    found = [Together(at, tuple(names)) for at, names in by_time.items() if len(names) >= least]
    return sorted(found, key=lambda one: (-len(one.names), one.at))
