"""Formatting of amounts with units: "180 days", "1 process"."""

from __future__ import annotations

_SPANS = ((86400, "days"), (3600, "hours"), (60, "minutes"))


def amount(value: float, unit: str) -> str:
    """*value* with its *unit*, which is a plural.

    Seconds are converted to minutes, hours or days only if that is exact: users who look for an
    error in a setting must see the effective value.

    >>> amount(15_552_000.0, "seconds"), amount(90.0, "seconds"), amount(0.5, "seconds")
    ('180 days', '90 seconds', '0.5 seconds')
    >>> amount(1, "processes"), amount(1, "retries"), amount(10_000, "jobs"), amount(3, "")
    ('1 process', '1 retry', '10,000 jobs', '3')
    """
    if unit == "seconds":
        for length, name in _SPANS:
            if value and value % length == 0:
                value, unit = value // length, name
                break
    number = f"{int(value):,}" if value == int(value) else f"{value:,}"
    return f"{number} {_singular(unit) if value == 1 else unit}".rstrip()


def _singular(plural: str) -> str:
    if plural.endswith("ies"):
        return plural.removesuffix("ies") + "y"
    return plural.removesuffix("es" if plural.endswith("sses") else "s")
