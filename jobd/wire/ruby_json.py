"""Floats in Ruby's notation.

Sidekiq's dashboard finds a member of a set by its bytes, and re-encodes the payload before the
lookup. So the bytes must match those of Ruby's json 2.15 and later: ``1e+15`` and ``0.000001``,
where msgspec writes ``1000000000000000.0`` and ``1e-6``.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Any

import msgspec

SMALL, LARGE = 1e-5, 1e15
"""Both encoders agree on zero, and on magnitudes from *SMALL* to just below *LARGE*."""

_EXACT = Context(prec=20, Emin=-400, Emax=400, clamp=0, traps=[])
"""Used instead of the thread's context, which belongs to the application."""

_LEAST_PLAIN = -9
"""Exponent of the smallest numbers that Ruby writes without an exponent."""


def as_ruby(value: Any) -> Any:
    """*value*, in JSON types, with floats that msgspec writes differently replaced by raw bytes.

    Example:
        >>> msgspec.json.encode(as_ruby([1e16, {"n": 0.000001}, 1.5]))
        b'[1e+16,{"n":0.000001},1.5]'
    """
    kind = type(value)
    if kind is float:
        return value if value == 0.0 or SMALL <= abs(value) < LARGE else _spelled(value)
    if kind is list:
        return [as_ruby(item) for item in value]
    if kind is dict:
        return {key: as_ruby(item) for key, item in value.items()}
    return value


def _spelled(number: float) -> msgspec.Raw:
    exact = _EXACT.normalize(Decimal(repr(number)))
    has_fraction = not number.is_integer()
    form = "f" if has_fraction and exact.adjusted() >= _LEAST_PLAIN else "e"
    return msgspec.Raw(f"{exact:{form}}".encode())
