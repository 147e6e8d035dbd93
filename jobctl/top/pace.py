"""How often to look: as often as wanted, where that is cheap."""

from __future__ import annotations

SHARE = 0.02
"""Of a CPU: looking and drawing take no more than that."""

LONGEST = 30.0
"""Seconds between two looks at most."""


def pause(wanted: float, used: float) -> float:
    """Seconds until the next look.

    Args:
        wanted: the interval that is wanted.
        used: seconds of CPU that the last look has taken, drawing included.

    >>> pause(2.0, 0.01), pause(2.0, 0.1), pause(2.0, 10.0)
    (2.0, 5.0, 30.0)
    """
    return max(wanted, min(LONGEST, used / SHARE))
