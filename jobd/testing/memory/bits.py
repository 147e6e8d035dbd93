"""Commands on the bits and bytes of strings."""

from __future__ import annotations

import re

from jobd.testing.memory.space import Space, command
from jobd.testing.memory.values import SYNTAX, Refused, Reply, integer

_TYPE = re.compile(rb"u([1-9]|[1-5][0-9]|6[0-3])")
_PLACE = re.compile(rb"0|[1-9][0-9]{0,18}")
_OFFSET = "ERR bit offset is not an integer or out of range"


@command("STRLEN", 1)
def length(space: Space, words: list[bytes]) -> Reply:
    return len(space.read(words[0], bytes) or b"")


@command("GETRANGE", 3)
def get_range(space: Space, words: list[bytes]) -> Reply:
    first, last = integer(words[1]), integer(words[2])
    value = space.read(words[0], bytes) or b""
    size = len(value)
    if first < 0 and last < 0 and first > last:
        return b""
    first, last = (max(0, each + size) if each < 0 else each for each in (first, last))
    return value[first : min(last, size - 1) + 1]


@command("SETRANGE", 3)
def set_range(space: Space, words: list[bytes]) -> Reply:
    key, first, part = words[0], integer(words[1]), words[2]
    if first < 0:
        raise Refused("ERR offset is out of range")
    before = space.read(key, bytes)
    if part:
        value = (before or b"").ljust(first, b"\0")
        space.put(key, value[:first] + part + value[first + len(part) :], keeps_end=True)
    return len(space.read(key, bytes) or b"")


@command("BITFIELD", 1, -1)
def bit_field(space: Space, words: list[bytes]) -> Reply:
    """GET and SET of unsigned numbers, which is what jobd uses."""
    key, *rest = words
    steps: list[tuple[int, int, int | None]] = []
    while rest:
        name = rest.pop(0).upper()
        if name not in (b"GET", b"SET") or len(rest) < (2 if name == b"GET" else 3):
            raise Refused(SYNTAX)
        if not (kind := _TYPE.fullmatch(rest.pop(0))):
            raise Refused(
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not "
                "supported but i64 is."
            )
        width = int(kind[1])
        place = _offset(rest.pop(0), width)
        steps.append((width, place, integer(rest.pop(0)) if name == b"SET" else None))
    value = bytearray(space.read(key, bytes) or b"")
    found: list[Reply] = []
    for width, place, number in steps:
        found.append(_bits(value, place, width))
        if number is not None:
            _set_bits(value, place, width, number)
    if any(number is not None for *_, number in steps):
        space.put(key, bytes(value), keeps_end=True)
    return found


def _offset(word: bytes, width: int) -> int:
    """A place in bits, or with ``#`` in numbers of that width."""
    by_number = word[:1] == b"#"
    if not _PLACE.fullmatch(number := word[by_number:]):
        raise Refused(_OFFSET)
    place = int(number) * (width if by_number else 1)
    if place >= 2**32:
        raise Refused(_OFFSET)
    return place


def _bits(value: bytearray, place: int, width: int) -> int:
    first, last = place // 8, (place + width - 1) // 8
    part = bytes(value[first : last + 1]).ljust(last - first + 1, b"\0")
    below = 8 * (last + 1) - place - width
    return (int.from_bytes(part) >> below) & ((1 << width) - 1)


def _set_bits(value: bytearray, place: int, width: int, number: int) -> None:
    first, last = place // 8, (place + width - 1) // 8
    value.extend(bytes(max(0, last + 1 - len(value))))
    below = 8 * (last + 1) - place - width
    mask = ((1 << width) - 1) << below
    part = int.from_bytes(value[first : last + 1])
    part = (part & ~mask) | ((number << below) & mask)
    value[first : last + 1] = part.to_bytes(last - first + 1)
