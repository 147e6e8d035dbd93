"""Charts of block characters: bars over time, and one bar in a line. Pure functions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_LEFT = " ▏▎▍▌▋▊▉█"


def columns(values: Sequence[float], width: int, height: int, top: float = 0.0) -> list[str]:
    """A chart of *height* lines, in which each value is a column; the newest, the last of *values*,
    is at the right.

    Args:
        top: what a full column stands for; the largest value by default.

    >>> columns([0, 4, 8, 2], 5, 2)
    ['   █ ', '  ██▄']
    """
    shown = list(values)[-width:] if width > 0 else []
    most = top or max(shown, default=0.0)
    # What is above zero is seen, however small it is.
    eighths = [
        max(1, round(8 * height * min(1.0, value / most))) if value > 0 and most > 0 else 0
        for value in shown
    ]
    lines = []
    for row in reversed(range(height)):
        parts = (_EIGHTHS[max(0, min(8, count - 8 * row))] for count in eighths)
        lines.append("".join(parts).rjust(width))
    return lines


def bar(value: float, most: float, width: int) -> str:
    """A bar in one line.

    >>> bar(5, 10, 4), bar(1, 64, 4), bar(0, 10, 4)
    ('██  ', '▏   ', '    ')
    """
    eighths = 0
    if value > 0 and most > 0:
        eighths = max(1, round(8 * width * min(1.0, value / most)))
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_LEFT[rest] if rest else "")).ljust(width)[:width]


def summed(values: Sequence[float], width: int) -> list[float]:
    """*values* as at most *width* sums of neighbours, all of the same number of them.

    >>> summed([1, 2, 3, 4, 5], 3)
    [1, 5, 9]
    """
    if len(values) <= width or width <= 0:
        return list(values)
    each = math.ceil(len(values) / width)
    first = len(values) % each or each
    bounds = [0, *range(first, len(values) + 1, each)]
    return [sum(values[begin:end]) for begin, end in itertools.pairwise(bounds)]


def short(value: float) -> str:
    """A number in at most five characters.

    >>> [short(each) for each in (0, 3, 0.25, 7.3, 73.4, 1234, 99_950, 12_345_678, 3e9)]
    ['0', '3', '0.2', '7.3', '73', '1.2k', '100k', '12.3M', '3.0G']
    """
    if value < 10:
        return f"{value:.0f}" if value == int(value) else f"{value:.1f}"
    if value < 1000:
        return f"{value:.0f}"
    for unit in "kMGT":
        value /= 1000
        if value < 999.5 or unit == "T":
            return f"{value:.0f}{unit}" if value >= 99.95 else f"{value:.1f}{unit}"
    raise AssertionError
