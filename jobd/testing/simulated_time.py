"""The time of a world, which moves only when the test says so, and its random numbers."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import datetime, timedelta

from jobd.ambient import chance, clock
from jobd.errors import ArgumentError


class Time:
    """A clock in the place of that of jobd, and a seeded source in that of its random numbers.

    Args:
        now: seconds since 1970.
        follow: called with the time at first and whenever it has moved.

    Attributes:
        micros: the time in microseconds, as the server has it.
    """

    def __init__(self, now: float, seed: int, follow: Callable[[float], object] | None) -> None:
        self.micros = round(now * 1e6)
        self._start = self.micros
        self._random = random.Random(seed)
        self._follow = follow

    def now(self) -> float:
        """Seconds since 1970."""
        return self.micros / 1e6

    def _monotonic(self) -> float:
        return 1000.0 + (self.micros - self._start) / 1e6

    def at(self, moment: float) -> int:
        """The first microsecond at which the time is not before *moment*."""
        micros = math.floor(moment * 1e6)
        while micros / 1e6 < moment:
            micros += 1
        return micros

    def move(self, micros: int) -> None:
        """Go on to that time."""
        self.micros = max(self.micros, micros)
        self._tell()

    def _tell(self) -> None:
        if self._follow is not None:
            self._follow(self.now())

    def begin(self) -> None:
        """Take the place of jobd's clock and of its random numbers."""
        self._clock = clock.now, clock.monotonic
        self._chance = chance.token, chance.below, chance.share
        clock.now, clock.monotonic = self.now, self._monotonic
        chance.token, chance.below, chance.share = self._token, self._below, self._random.random
        self._tell()

    def end(self) -> None:
        """Give the place back."""
        clock.now, clock.monotonic = self._clock
        chance.token, chance.below, chance.share = self._chance

    def _token(self, size: int) -> str:
        return self._random.randbytes(size).hex()

    def _below(self, end: int) -> int:
        return self._random.randrange(end)


def seconds_of(span: float | timedelta | None, parts: dict[str, float]) -> float:
    """The length of time that the arguments of ``advance`` describe.

    >>> seconds_of(None, {"hours": 2}), seconds_of(timedelta(minutes=1), {}), seconds_of(3, {})
    (7200.0, 60.0, 3.0)
    """
    if (span is None) == (not parts):
        raise ArgumentError("advance() needs a number of seconds, a timedelta, or hours=3 and such")
    if span is None:
        span = timedelta(**parts)
    seconds = span.total_seconds() if isinstance(span, timedelta) else span
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise ArgumentError(f"advance() needs a length of time that is not negative, not {span!r}")
    return float(seconds)


def moment_of(when: float | datetime) -> float:
    """A point in time, in seconds since 1970."""
    if isinstance(when, datetime):
        if when.utcoffset() is None:
            raise ArgumentError(f"{when!r} has no time zone; use an aware datetime")
        return when.timestamp()
    return float(when)
