"""Objectives of queues: within how many seconds their jobs are to start, and how many start later.

Workers count (:mod:`jobd.worker.starts`), for the queues that the setting ``slo`` names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jobd.ambient import clock
from jobd.api.reading import hashes, integer, text
from jobd.api.session import Session

KEPT = 86_400.0
"""Seconds for which an objective stands that no worker has any more: when all of them are gone, its
alert must not go with them."""

COMMANDS = 43
"""Commands of one look, where there are objectives."""

_FIVE, _TENS = 5, 36


@dataclass(frozen=True, slots=True)
class Slo:
    """The objective of a queue, and how it is kept.

    Attributes:
        objective: seconds within which jobs are to start.
        started: jobs that started since it is counted.
        late: those of them that started later than that.
        burn_5m, burn_1h, burn_6h: the share of them in the last 5 minutes, hour and 6 hours (of
            which the beginning is exact to 1 or 10 minutes), 0.0 to 1.0; None where none started.
    """

    objective: float
    started: int
    late: int
    burn_5m: float | None
    burn_1h: float | None
    burn_6h: float | None


def objectives(session: Session) -> dict[str, Slo]:
    """By queue. Cost: a script; where there are objectives, one more for some 40 small hashes."""
    now, keys = clock.now(), session.keys
    [totals] = hashes(session.redis, [keys.slo])
    fields = {text(name): value for name, value in totals.items()}
    limits = {
        queue: limit
        for queue, limit, at in (
            (name[:-2], _number(value), _number(fields.get(f"{name[:-2]}|at", b"0")))
            for name, value in fields.items()
            if name.endswith("|t")
        )
        if limit > 0 and now - at < KEPT
    }
    if not limits:
        return {}
    minutes = [keys.slo_minute(now - 60 * back) for back in range(_FIVE)]
    tens = [keys.slo_ten_minutes(now - 600 * back) for back in range(_TENS)]
    found = list(hashes(session.redis, [*minutes, *tens]))
    windows = (found[:_FIVE], found[_FIVE : _FIVE + 6], found[_FIVE:])
    return {
        queue: Slo(
            limit,
            integer(totals.get(f"{queue}|s".encode())),
            integer(totals.get(f"{queue}|l".encode())),
            *(_burn(window, queue) for window in windows),
        )
        for queue, limit in limits.items()
    }


def _burn(window: list[dict[bytes, bytes]], queue: str) -> float | None:
    started, late = (
        sum(integer(part.get(f"{queue}|{letter}".encode())) for part in window) for letter in "sl"
    )
    return min(1.0, late / started) if started > 0 else None


def _number(raw: bytes) -> float:
    try:
        value = float(raw)
    except ValueError:
        return 0.0
    return value if math.isfinite(value) else 0.0
