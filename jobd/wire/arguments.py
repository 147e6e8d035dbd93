"""Validation of job arguments: only values that survive a round trip through JSON are accepted.

msgspec would silently write a set as a list, bytes as base64 and NaN as null, and the job would
receive a different value than was pushed. jobd refuses such values at the push.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jobd.errors import ArgumentError
from jobd.wire.pushed import LISTS, TEXTS, Jid
from jobd.wire.ruby_json import LARGE, SMALL

MAX_DEPTH = 97
"""Nesting of one argument: Ruby's parser stops at 100, and the payload itself takes three."""

_HUGE = 10**4300  # Python's own limit for converting integers to and from decimal

_ADVICE = {
    **dict.fromkeys(("set", "frozenset", "deque", "range", "generator", "map"), "pass a list"),
    **dict.fromkeys(("filter", "dict_keys", "dict_values", "dict_items"), "pass a list"),
    "tuple": "pass a list, which is what the job would receive",
    "bytes": "pass text, for example base64",
    "bytearray": "pass text, for example base64",
    "datetime": "pass .isoformat() or .timestamp()",
    "date": "pass .isoformat()",
    "time": "pass .isoformat()",
    "timedelta": "pass .total_seconds()",
    "Decimal": "pass str(value)",
    "UUID": "pass str(value)",
    "PurePath": "pass str(value)",
    "Enum": "pass .value",
    "__proxy__": "pass str(value)",  # a text of Django that is translated later
    "QuerySet": "pass a list of ids and let the job load the objects",
}
"""By the name of the type, or of one that it is derived from: what to pass instead."""


def check_arguments(
    args: Sequence[Any], kwargs: Mapping[str, object], names: Sequence[str] | None = None
) -> bool:
    """Refuse arguments that JSON would change.

    Accepts ``str``, ``int``, finite ``float``, ``bool``, ``None``, ``list`` and ``dict`` with
    ``str`` keys, but no subclasses of them, nested up to :data:`MAX_DEPTH`.

    Args:
        names: names of the positional parameters, for messages; without them, ``args[2]`` is used.

    Returns:
        Whether a float needs :func:`jobd.wire.ruby_json.as_ruby`.

    Raises:
        ArgumentError: names the argument and the place in it.

    Example:
        >>> check_arguments([[{"when": {1}}]], {}, ["items"])
        Traceback (most recent call last):
        ...
        jobd.errors.ArgumentError: argument items[0].when is of type set, which JSON cannot \
carry; pass a list
    """
    spelling = False
    for index, value in enumerate(args):
        kind = type(value)
        if kind is bool or value is None or (kind is str and value.isascii()):
            continue
        fault = _fault(value, MAX_DEPTH)
        if fault is _SPELLING:
            spelling = True
        elif fault:
            raise ArgumentError(f"argument {name_of(index, names)}{fault[0]} {fault[1]}")
    for key, value in kwargs.items():
        wrong_key = _key_fault(key)
        if wrong_key:
            raise ArgumentError(f"kwargs {wrong_key}")
        spelling = refuse_foreign(f"argument {key}", value) or spelling
    return spelling


def name_of(index: int, names: Sequence[str] | None) -> str:
    """The name of a positional argument in messages."""
    return names[index] if names and index < len(names) else f"args[{index}]"


def refuse_foreign(what: str, value: object) -> bool:
    """Raise ArgumentError if JSON cannot carry *value*; messages call it *what*.

    Returns:
        The same as :func:`check_arguments`.
    """
    fault = _fault(value, MAX_DEPTH)
    if fault and fault is not _SPELLING:
        raise ArgumentError(f"{what}{fault[0]} {fault[1]}")
    return fault is _SPELLING


# Not a fault: the value is valid, but a float needs Ruby's notation.
_SPELLING = ("", "")


def _fault(value: Any, depth: int) -> tuple[str, str] | None:
    """The first place in *value* that JSON cannot carry, and why; _SPELLING; or None."""
    kind = type(value)
    if kind is str:
        return None if value.isascii() or _is_text(value) else ("", _LONE_SURROGATE)
    if kind is int:
        return None if -_HUGE < value < _HUGE else ("", "is a number of more than 4,300 digits")
    if kind is float:
        if SMALL <= value < LARGE or SMALL <= -value < LARGE or value == 0.0:
            return None
        return _SPELLING if math.isfinite(value) else ("", f"is {value}, which JSON cannot carry")
    if kind is bool or value is None:
        return None
    if kind is Jid:
        return None
    if kind is not dict and kind not in LISTS:
        return "", _foreign(value)
    if depth <= 0:
        return "", f"is nested more than {MAX_DEPTH} levels deep"
    verdict = None
    if kind is not dict:
        for index, item in enumerate(value):
            fault = _fault(item, depth - 1)
            if fault is _SPELLING:
                verdict = fault
            elif fault:
                return f"[{index}]{fault[0]}", fault[1]
        return verdict
    for key, item in value.items():
        wrong_key = _key_fault(key)
        if wrong_key:
            return "", wrong_key
        fault = _fault(item, depth - 1)
        if fault is _SPELLING:
            verdict = fault
        elif fault:
            step = f".{key}" if key.isidentifier() else f"[{key!r}]"
            return step + fault[0], fault[1]
    return verdict


_LONE_SURROGATE = "holds a lone surrogate, which is not valid text"


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _key_fault(key: Any) -> str:
    if type(key) not in TEXTS:
        return f"has the key {key!r}, but JSON has only strings as keys; pass str(key)"
    return "" if key.isascii() or _is_text(key) else f"has a key that {_LONE_SURROGATE}"


def _foreign(value: object) -> str:
    kind = type(value)
    for base in (str, int, float, list, dict):
        if isinstance(value, base):
            return (
                f"is of type {kind.__name__}, which would come back as a plain {base.__name__}; "
                f"pass a plain {base.__name__}"
            )
    names = [base.__name__ for base in kind.__mro__]
    known = next((_ADVICE[name] for name in names if name in _ADVICE), None)
    advice = known or "pass an id and let the job load the object"
    return f"is of type {kind.__name__}, which JSON cannot carry; {advice}"
