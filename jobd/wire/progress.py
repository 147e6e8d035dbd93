"""How far a running job says that it has come, as workers write it and dashboards read it."""

from __future__ import annotations

import math

import msgspec

from jobd.errors import ArgumentError
from jobd.text.printable import shortened, valid
from jobd.wire.json_value import UNREADABLE

MOST_AMOUNT = 1e15
MOST_NOTE = 200
"""Characters of a note."""


class Progress(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a job has reported last.

    Attributes:
        jid: its id.
        attempt: the attempt that reported it, from 1.
        done: how much is done, in the job's own unit.
        at: when that was reported (seconds since 1970).
        total: how much there is to do; None if that is unknown.
        note: a text of the job, at most 200 characters.
        first_done, first_at: the first report of this attempt, by which the rate is measured.

    Example:
        >>> seen = Progress("ab", 1, 30, 20.0, total=90, first_done=10, first_at=10.0)
        >>> seen.rate, round(seen.fraction, 2), seen.left(20.0)
        (2.0, 0.33, 30.0)
    """

    jid: str
    attempt: int
    done: float
    at: float
    total: float | None = None
    note: str = ""
    first_done: float = 0
    first_at: float = 0.0

    @property
    def fraction(self) -> float | None:
        """How much is done, from 0 to 1; None if the total is unknown."""
        if self.total is None:
            return None
        return min(1.0, self.done / self.total) if self.total > 0 else 1.0

    @property
    def rate(self) -> float | None:
        """How much is done in a second, since the first report; None before the second one, and if
        it went backward."""
        seconds, done = self.at - self.first_at, self.done - self.first_done
        return done / seconds if seconds > 0 and done > 0 else None

    def left(self, now: float) -> float | None:
        """Seconds from *now* until it is done, if it goes on as it has so far; None if that is not
        known."""
        rate = self.rate
        if rate is None or self.total is None:
            return None
        return max(0.0, (self.total - self.done) / rate - max(0.0, now - self.at))


_decode = msgspec.json.Decoder(Progress).decode


def read(raw: bytes) -> Progress | None:
    """The progress in *raw*; None if it is none."""
    try:
        found = _decode(raw)
    except UNREADABLE:
        return None
    numbers = (found.done, found.at, found.first_done, found.first_at, found.total or 0)
    sane = all(0 <= number <= MOST_AMOUNT for number in numbers)
    return found if sane else None


def amount(name: str, value: object) -> float:
    """*value*, if it can be an amount of work.

    Raises:
        ArgumentError: it is no number, negative, or not finite.

    >>> amount("done", 3)
    3
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST_AMOUNT:
        # Subclasses may have any text in JSON.
        return value if type(value) in (int, float) else float(value)
    finite = not isinstance(value, float) or math.isfinite(value)
    what = f"a number from 0 to {MOST_AMOUNT:.0e}" if finite else "a finite number"
    raise ArgumentError(f"progress: {name} must be {what}, not {value!r}")


def note_of(note: object) -> str:
    """*note*, cut to its length.

    Raises:
        ArgumentError: it is no text.
    """
    if not isinstance(note, str):
        raise ArgumentError(f"progress: note must be a string, not {note!r}")
    return shortened(valid(note), MOST_NOTE) if note else ""
