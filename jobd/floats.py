"""Floats as Ruby writes them.

Dashboards find a member of a set by its bytes, and Sidekiq writes a payload anew before it looks
for it. So the bytes must be those that Ruby would write: ``1.0e+15`` and ``1.0e-05``, where the
JSON encoder writes ``1000000000000000.0`` and ``0.00001``. In between both agree.
"""

from __future__ import annotations

from typing import Any

import msgspec

SMALL, LARGE = 1e-4, 1e15
"""Both writers agree on zero, and on magnitudes from *SMALL* to just below *LARGE*."""


def as_ruby(value: Any) -> Any:
    """*value*, plain JSON, with such floats as the encoder would write otherwise as ready bytes.

    Example:
        >>> msgspec.json.encode(as_ruby([1e16, {"n": 0.00001}, 1.5]))
        b'[1.0e+16,{"n":1.0e-05},1.5]'
    """
    kind = type(value)
    if kind is float:
        return value if value == 0.0 or SMALL <= abs(value) < LARGE else _spelled(value)
    if kind is list:
        return [as_ruby(item) for item in value]
    if kind is dict:
        return {key: as_ruby(item) for key, item in value.items()}
    return value


def _spelled(number: float) -> float | msgspec.Raw:
    mantissa, _, exponent = repr(number).partition("e")
    if not exponent:
        # Up to 1e16 Ruby looks for a fraction: 2510318718492553.5, but 2.510318718492553e+15.
        if not number.is_integer():
            return number
        sign, digits = "-" * (number < 0), mantissa.lstrip("-").removesuffix(".0")
        mantissa, exponent = f"{sign}{digits[0]}.{digits[1:].rstrip('0') or '0'}", "+15"
    elif "." not in mantissa:
        mantissa += ".0"
    return msgspec.Raw(f"{mantissa}e{exponent}".encode())
