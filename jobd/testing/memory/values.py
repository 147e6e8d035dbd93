"""The types of values, the words of commands, and what is answered when they are wrong."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from decimal import Decimal
from typing import TypeAlias

Reply: TypeAlias = "int | bytes | Sequence[Reply] | None"
"""None, an int, bytes, a :class:`Status`, or a list of these."""

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
SYNTAX = "ERR syntax error"
NOT_INTEGER = "ERR value is not an integer or out of range"
NOT_FLOAT = "ERR value is not a valid float"
NO_KEY = "ERR no such key"


class Refused(Exception):
    """An error reply; its text is that of Redis."""


class Status(bytes):
    """A status reply, such as ``OK``; a script sees that it is one."""


OK = Status(b"OK")


class List(deque[bytes]):
    """A list."""


class Members(dict[bytes, None]):
    """A set; it keeps the order of insertion, so that a run can be repeated."""


class Hash(dict[bytes, bytes]):
    """A hash."""


class SortedSet:
    """A sorted set: its members by score, then by their bytes."""

    def __init__(self) -> None:
        self.scores: dict[bytes, float] = {}
        self.order: list[tuple[float, bytes]] = []

    def __len__(self) -> int:
        return len(self.scores)

    def put(self, member: bytes, score: float) -> None:
        self.remove(member)
        self.scores[member] = score
        insort(self.order, (score, member))

    def remove(self, member: bytes) -> bool:
        score = self.scores.pop(member, None)
        if score is None:
            return False
        del self.order[bisect_left(self.order, (score, member))]
        return True


class Stream:
    """A stream: its entries by id, which are never used again."""

    def __init__(self) -> None:
        self.entries: dict[tuple[int, int], list[bytes]] = {}
        self.last = (0, 0)

    def __len__(self) -> int:
        # A stream without entries is there all the same.
        return max(1, len(self.entries))


NAMES: dict[type, bytes] = {
    bytes: b"string",
    List: b"list",
    Members: b"set",
    Hash: b"hash",
    SortedSet: b"zset",
    Stream: b"stream",
}

_INTEGER = re.compile(rb"0|-?[1-9][0-9]*")
_FLOAT = re.compile(rb"[+-]?(inf(inity)?|([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?)")


def integer(word: bytes, refusal: str = NOT_INTEGER) -> int:
    """A word that is a whole number of 64 bits."""
    if not _INTEGER.fullmatch(word) or not -(2**63) <= (value := int(word)) < 2**63:
        raise Refused(refusal)
    return value


def floating(word: bytes, refusal: str = NOT_FLOAT) -> float:
    """A word that is a number, perhaps infinite."""
    if not _FLOAT.fullmatch(word.lower()):
        raise Refused(refusal)
    return float(word)


def written(value: float) -> bytes:
    """A number as Redis writes it.

    >>> written(3.0), written(1764489600.123456), written(1e20), written(float("-inf"))
    (b'3', b'1764489600.123456', b'1e+20', b'-inf')
    """
    if not math.isfinite(value):
        return b"nan" if value != value else b"inf" if value > 0 else b"-inf"
    if value == int(value) and abs(value) < 2**63:
        return b"%d" % int(value)
    sign, digits, power = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(power, int)
    text, size = "".join(map(str, digits)), abs(power + len(digits) - 1)
    if power >= 0 and size < len(digits) + 7:
        text += "0" * power
    elif power < 0 and (power > -7 or size < 4):
        whole = len(digits) + power
        text = f"{text[:whole]}.{text[whole:]}" if whole > 0 else f"0.{'0' * -whole}{text}"
    else:
        mantissa = f"{text[0]}.{text[1:]}" if len(text) > 1 else text
        text = f"{mantissa}e{'+' if power + len(digits) > 0 else '-'}{size}"
    return (b"-" if sign else b"") + text.encode()


def pairs(words: list[bytes]) -> zip[tuple[bytes, bytes]]:
    """Words two by two."""
    return zip(words[::2], words[1::2], strict=True)


def bounds(first: int, last: int, size: int) -> tuple[int, int]:
    """The places from *first* to *last*, which may be counted from the end, as a slice."""
    first = min(max(0, first + size if first < 0 else first), size)
    last = last + size if last < 0 else last
    return first, max(first, min(last + 1, size))
