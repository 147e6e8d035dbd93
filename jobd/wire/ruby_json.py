"""Floats as Ruby writes them.

Sidekiq's dashboard finds a member of a set by its bytes, and rewrites a payload before it looks for
it. So the bytes must be those that Ruby's json writes from version 2.15 on: ``1e+15`` and
``0.000001``, where the JSON encoder writes ``1000000000000000.0`` and ``1e-6``.
"""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Any

import msgspec

SMALL, LARGE = 1e-5, 1e15
"""Both writers agree on zero, and on magnitudes from *SMALL* to just below *LARGE*."""

_EXACT = Context(prec=20, Emin=-400, Emax=400, clamp=0, traps=[])
"""Not that of the thread, which belongs to the application."""

_LEAST_PLAIN = -9
"""Power of ten of the smallest numbers that are written without one."""


def as_ruby(value: Any) -> Any:
    """*value*, plain JSON, with such floats as the encoder would write otherwise as ready bytes.

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
