"""When a periodic job is due: a line of cron in a time zone, or an interval.

cronsim reads the lines, and its rule for daylight saving holds: a fixed time that a change of the
clocks skips is due once, right after the gap; one that it repeats is due once, the first time.
Where the hour or the minute is ``*``, the line follows real time through the change. Lines with
seconds, which cronsim leaves out of that rule, follow it too.

Times are seconds since 1970.
"""

from __future__ import annotations

import datetime
import functools
import itertools
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

from jobd.ambient import clock
from jobd.errors import ArgumentError
from jobd.text.spelling import LOOSE, meant

YEARS = 5
"""A line that is not due within so many years is refused."""

LONGEST = 366 * 86400
"""Seconds of the longest interval."""

SHORTEST = 1.0
"""Seconds of the shortest."""

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}

_EVERY = re.compile(r"@every\s+(\d+(?:\.\d+)?)\s*([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SLACK = 2.0
"""Seconds before a moment from which lines with seconds are searched: no leap is shorter."""


class Line(NamedTuple):
    """When a job is due: *cron* in the zone *tz*, or *every* so many seconds."""

    cron: str = ""
    tz: str = "UTC"
    every: float = 0.0

    def after(self, at: float) -> float:
        """The first time after *at* at which it is due.

        Raises:
            ArgumentError: it is never due again.
        """
        for due in self.follow(at):
            return due
        raise ArgumentError(f"{self} is never due")

    def follow(self, at: float) -> Iterator[float]:
        """The times after *at* at which it is due, in their order.

        Raises:
            ArgumentError: it is malformed, or *at* is no time; not where :func:`read` has read it.
        """
        if self.every:
            if not SHORTEST <= self.every <= LONGEST:
                raise ArgumentError(f"{self.every!r} seconds are not an interval")
            return self._slots(at)
        return self._cron(at)

    def newest(self, low: float, high: float, most: int = 1) -> list[float]:
        """The newest times after *low* up to *high* at which it is due, at most *most*, the oldest
        first. It searches back from *high*, however long ago *low* is."""
        window = 60.0
        while True:
            start = max(low, high - window)
            found = []
            for due in self.follow(start):
                if due > high:
                    break
                found.append(due)
            if len(found) >= most or start <= low:
                return found[-most:]
            window *= 4

    def _slots(self, at: float) -> Iterator[float]:
        number = math.floor(at / self.every)
        while True:
            number += 1
            due = round(number * self.every, 6)
            if due > at:
                yield due

    def _cron(self, at: float) -> Iterator[float]:
        from cronsim import CronSim, CronSimError  # most applications need none

        zone = zone_of(self.tz)
        parts = self.cron.split()
        try:
            if len(parts) == 6 and not parts[1].startswith("*") and not parts[2].startswith("*"):
                times = self._with_seconds(at, zone, parts)
            else:
                times = CronSim(self.cron, datetime.datetime.fromtimestamp(math.floor(at), zone))
        except (CronSimError, OverflowError, ValueError, OSError) as error:
            raise ArgumentError(f"{self} after {at!r}: {_lower(error)}") from None
        last = at
        for moment in times:
            due = moment.timestamp()
            # In the hour that the clocks repeat, the library begins in the first one.
            if due > last:
                yield due
                last = due

    def _with_seconds(
        self, at: float, zone: datetime.tzinfo, parts: list[str]
    ) -> Iterator[datetime.datetime]:
        """Fixed times with seconds: those of the line without, which keeps the rule, and each
        second after them."""
        from cronsim import CronSim

        begin = datetime.datetime.fromtimestamp(math.floor(at) - 60 - _SLACK, zone)
        seconds = sorted(CronSim(self.cron, begin).seconds)
        minutes = CronSim(" ".join(parts[1:]), begin)
        return (
            minute + datetime.timedelta(seconds=second)
            for minute, _ in itertools.groupby(minutes)  # several times in one gap are one
            for second in seconds
        )

    def __str__(self) -> str:
        if self.every:
            return f"every {self.every:g} s"
        return self.cron if self.tz == "UTC" else f"{self.cron} ({self.tz})"


def read(cron: str | None, every: float | None, tz: str | None, now: float | None = None) -> Line:
    """A line as a user has written it.

    Raises:
        ArgumentError: it is malformed or never due, the interval is out of bounds, or there is no
            such zone; the text says which and what to write.

    >>> read("*/5  * * * *", None, None), read("@every 90s", None, None)
    (Line(cron='*/5 * * * *', tz='UTC', every=0.0), Line(cron='', tz='UTC', every=90.0))
    """
    if cron is not None and every is not None:
        raise ArgumentError("give either cron or every, not both")
    if cron is None and every is None:
        raise ArgumentError("when is it due? Give cron or every")
    if cron is not None and type(cron) is not str:
        raise ArgumentError(f'cron must be text such as "0 6 * * *", not {cron!r}')
    text = " ".join((cron or "").split())
    if found := _EVERY.fullmatch(text):
        every, text = float(found[1]) * _UNITS[found[2]], ""
    elif text.startswith("@"):
        if (name := text.lower()) not in ALIASES:
            raise ArgumentError(
                f"cron {cron!r} is none of {', '.join(ALIASES)} and not of the form '@every 30s'"
            )
        text = ALIASES[name]
    if every is not None:
        if tz is not None:
            raise ArgumentError("tz has no effect with every, whose slots are those of UTC")
        return Line("", "UTC", _interval(every))
    zone = tz if tz is not None else "UTC"
    zone_of(zone)
    line = Line(text, zone)
    _check(line, cron, clock.now() if now is None else now)
    return line


def _interval(every: object) -> float:
    if isinstance(every, datetime.timedelta):
        every = every.total_seconds()
    if type(every) not in (int, float) or not SHORTEST <= every <= LONGEST:  # type: ignore[operator]
        raise ArgumentError(
            f"every must be a number of seconds from {SHORTEST:g} to {LONGEST:,}, not {every!r}"
        )
    return float(every)  # type: ignore[arg-type]


def _check(line: Line, given: object, now: float) -> None:
    from cronsim import CronSim, CronSimError

    if not line.cron.isascii():
        raise ArgumentError(f"cron {given!r} holds something that is not ASCII")
    begin = datetime.datetime.fromtimestamp(now, datetime.UTC)
    try:
        first = next(CronSim(line.cron, begin))
    except CronSimError as error:
        hint = ""
        if str(error) == "Wrong number of fields":
            hint = (
                ": there are 5, minute, hour, day of the month, month and day of the week, or 6 "
                "with the second in front"
            )
        raise ArgumentError(f"cron {given!r} is malformed: {_lower(error)}{hint}") from None
    except StopIteration:
        first = None
    if first is None or first.timestamp() > now + YEARS * 366 * 86400:
        raise ArgumentError(f"cron {given!r} is not due within {YEARS} years; is there such a day?")


def _lower(error: Exception) -> str:
    text = str(error)
    return text[:1].lower() + text[1:]


@functools.cache
def zone_of(name: str) -> datetime.tzinfo:
    """The time zone of that name.

    Raises:
        ArgumentError: there is none.
    """
    if type(name) is not str:
        raise ArgumentError(f"tz must be the name of a time zone, not {name!r}")
    if name == "UTC":
        return datetime.UTC
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    known = sorted(zoneinfo.available_timezones())
    if not known:
        raise ArgumentError(
            f"tz {name!r}: this host knows no time zones; pip install tzdata"
        ) from None
    close = meant(name, known, LOOSE) if name else None
    guess = f"; did you mean {close!r}?" if close else ""
    raise ArgumentError(f"tz {name!r} is not a time zone, such as 'Europe/Berlin'{guess}") from None
