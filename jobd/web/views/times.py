"""Times that people type: how long from now, or a date and an hour."""

from __future__ import annotations

import datetime

from starlette.datastructures import FormData

from jobd.api.sets.steps import time_of
from jobd.errors import ArgumentError
from jobd.jobs.times import When
from jobd.text.translatable import Text

UNITS = {"minutes": 60, "hours": 3600, "days": 86400}
"""Seconds of each."""

UNIT_NAMES = {"minutes": Text("minutes"), "hours": Text("hours"), "days": Text("days")}
"""What people call them."""


def when_of(form: FormData) -> When:
    """The time that the fields of ``confirm.html`` say.

    Raises:
        ArgumentError: they say none, or one that no job can have.
    """
    if form.get("kind") == "at":
        when: When = _moment(str(form.get("at", "")), str(form.get("zone", "")))
    else:
        when = _delay(str(form.get("amount", "")), str(form.get("unit", "minutes")))
    time_of(when)
    return when


def _delay(amount: str, unit: str) -> datetime.timedelta:
    try:
        seconds = float(amount.replace(",", ".")) * UNITS[unit]
        if seconds >= 0:
            return datetime.timedelta(seconds=seconds)
    except OverflowError:
        return datetime.timedelta.max
    except (ValueError, KeyError):
        pass
    raise ArgumentError(Text("how long from now? It must be a number, such as 15, and a unit"))


def _moment(text: str, zone: str) -> datetime.datetime:
    """A field of type ``datetime-local``; *zone* is what the browser's clock is behind UTC, in
    minutes, and empty where nobody says that."""
    try:
        local = datetime.datetime.fromisoformat(text)
        behind = datetime.timedelta(minutes=int(zone or 0))
        return local.replace(tzinfo=datetime.timezone(-behind))
    except (ValueError, OverflowError):
        raise ArgumentError(Text("at what time? It must be a date and an hour")) from None
