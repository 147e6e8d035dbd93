"""Times that people type: how long from now, or a date and an hour."""

from __future__ import annotations

import datetime
import math

from starlette.datastructures import FormData

from jobd.errors import ArgumentError
from jobd.jobs.times import When
from jobd.text.translatable import Text

UNITS = {"minutes": 60, "hours": 3600, "days": 86400}
"""Seconds of each."""

UNIT_NAMES = {"minutes": Text("minutes"), "hours": Text("hours"), "days": Text("days")}
"""What people call them."""

FARTHEST = 100 * 365 * 86400
"""Seconds; beyond that somebody has mistyped."""


def when_of(form: FormData) -> When:
    """The time that the fields of ``confirm.html`` say.

    Raises:
        ArgumentError: they say none.
    """
    if form.get("kind") == "at":
        return _moment(str(form.get("at", "")), str(form.get("zone", "")))
    try:
        amount = float(str(form.get("amount", "")).replace(",", "."))
        unit = UNITS[str(form.get("unit", "minutes"))]
    except (ValueError, KeyError):
        amount, unit = math.nan, 1
    if not 0 <= amount * unit <= FARTHEST:
        raise ArgumentError(Text("how long from now? It must be a number, such as 15, and a unit"))
    return datetime.timedelta(seconds=amount * unit)


def _moment(text: str, zone: str) -> datetime.datetime:
    """A field of type ``datetime-local``; *zone* is what the browser's clock is behind UTC, in
    minutes, and empty where nobody says that."""
    try:
        local = datetime.datetime.fromisoformat(text)
        behind = datetime.timedelta(minutes=int(zone or 0))
        return local.replace(tzinfo=datetime.timezone(-behind))
    except (ValueError, OverflowError):
        raise ArgumentError(Text("at what time? It must be a date and an hour")) from None
