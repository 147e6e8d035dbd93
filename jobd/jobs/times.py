"""Conversion of the times given to ``perform_in`` and ``perform_at``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from jobd.errors import ArgumentError

When = float | timedelta | datetime
Times = When | Sequence[When] | None
"""Times of many jobs: one for all, one for each, or none."""

EPOCH_FROM = 1_000_000_000
"""Numbers from here on are seconds since 1970; smaller ones are seconds from now. As in Sidekiq."""


def due_at(when: When, now: float) -> float | None:
    """Seconds since the epoch at which a job is due; None if that is not in the future.

    Raises:
        ArgumentError: *when* is not a time, or has no time zone.

    Example:
        >>> due_at(60, now=1_800_000_000.0), due_at(1_700_000_000, now=1_800_000_000.0)
        (1800000060.0, None)
    """
    if isinstance(when, datetime):
        if when.utcoffset() is None:
            raise ArgumentError(
                f"{when!r} has no time zone, so its meaning depends on the machine; pass an aware "
                "datetime, such as datetime.now(timezone.utc) + timedelta(hours=1) or "
                "when.astimezone()"
            )
        at = when.timestamp()
    elif isinstance(when, timedelta):
        at = now + when.total_seconds()
    elif isinstance(when, bool) or not isinstance(when, int | float) or not math.isfinite(when):
        raise ArgumentError(
            f"a time must be a number of seconds, a timedelta or an aware datetime, not {when!r}"
        )
    else:
        at = float(when) if when >= EPOCH_FROM else now + when
    return at if at > now else None
