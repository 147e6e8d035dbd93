"""Reduction of logged values to small, plain ones.

A value may be huge, contain itself, change while it is read, or raise on every access. It is
converted to text and numbers of bounded size, so that the following steps (escaping, JSON, masking)
take bounded time and cannot fail.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeVar

import msgspec
from structlog.typing import EventDict

from jobd.text import tracebacks
from jobd.text.printable import INTERRUPTIONS, cut, cut_end, text_of, valid

DEFAULT_MOST = 65_536
"""Default maximum length of a value in characters."""

_IN_ALL = 4
"""Maximum length of a record, in multiples of that of a value."""

_DUMP = 16
"""Maximum length of the stacks of a process, in the same multiples."""

_DEPTH = 10
_APIECE = 8  # every value counts as at least that many characters
_NUMBERS = (int, float, bool, type(None))
_KNOWN_TO_JSON = (
    datetime.date,  # and datetime
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    enum.Enum,
    uuid.UUID,
)

T = TypeVar("T")


class Reduced(msgspec.Struct, gc=False):
    """A record whose parts are plain and small. *text* is the message."""

    text: str
    fields: EventDict
    traceback: str | None = None
    dump: str | None = None


def reduced(event: EventDict, most: int, *, for_json: bool) -> Reduced:
    """The record *event*, which is consumed.

    Args:
        most: maximum length of a value in characters; four times that for a record.
        for_json: use JSON's own representation for types that have one.
    """
    error = event.pop("exc_info", None)
    if error is None and _is_small(event, most):
        return Reduced(event.pop("event", ""), event)
    room = Room(most, for_json=for_json)
    text = room.text(event.pop("event", ""))
    traceback = None if error is None else room.traceback(error)
    stack = event.pop("stack", None)
    dump = None if stack is None else text_of(stack, _DUMP * most)
    fields: dict[str, object] = {}
    for at, (name, value) in enumerate(event.items()):
        if room.full:
            fields["fields_left_out"] = len(event) - at
            break
        fields[room.text(name)] = room.value(value)
    return Reduced(text, fields, traceback, dump)


def _is_small(event: EventDict, most: int) -> bool:
    """Whether it is small and plain already; most records are, and there is one for each job."""
    room = most
    for name, value in event.items():
        kind = type(value)
        if type(name) is not str or name == "stack":
            return False
        if kind is str:
            room -= len(value)
        elif kind is not float and (kind is not int or value.bit_length() >= 64):
            return False
        room -= len(name)
    return room >= 0 and type(event.get("event", "")) is str


class Shown(str):
    """Text that represents a value of another type, so that it is shown without quotes."""

    def __repr__(self) -> str:
        return str.__str__(self)


class Room:
    """The remaining room in a record; arguments as for :func:`reduced`."""

    __slots__ = ("_for_json", "_left", "_most")

    def __init__(self, most: int, *, for_json: bool) -> None:
        self._most = most
        self._for_json = for_json
        self._left = _IN_ALL * most

    @property
    def full(self) -> bool:
        return self._left <= 0

    def text(self, value: object) -> str:
        """*value* itself if it is text, else its ``repr()``."""
        if issubclass(type(value), str):  # isinstance() would evaluate lazy objects
            return self._taken(value)  # type: ignore[arg-type]
        return self._taken(text_of(value, self._limit, repr))

    def traceback(self, error: BaseException) -> str:
        return self._taken(tracebacks.formatted(error, self._limit))

    def value(self, value: object, depth: int = _DEPTH) -> object:
        """*value* as lists, dicts, text and numbers."""
        kind = type(value)
        if issubclass(kind, str):  # includes members of a StrEnum
            return self._taken(value)  # type: ignore[arg-type]
        if kind in _NUMBERS:
            return self._number(value)
        if kind in (list, tuple, dict, set, frozenset):
            return self._many(value, depth) if depth and not self.full else Shown("…")
        if kind in (bytes, bytearray):
            return self._bytes(value)  # type: ignore[arg-type]
        if self._for_json and issubclass(kind, _KNOWN_TO_JSON):
            value = self._as_json(value)
            if type(value) in (str, *_NUMBERS):
                return self.value(value)
        return Shown(self._taken(text_of(value, self._limit, repr)))

    @staticmethod
    def _as_json(value: object) -> object:
        try:
            return msgspec.to_builtins(value)
        except INTERRUPTIONS:
            raise
        except BaseException:  # noqa: BLE001 - its class is broken, but repr() may work
            return value

    @property
    def _limit(self) -> int:
        return max(0, min(self._most, self._left))

    def _taken(self, text: str) -> str:
        kept = text if type(text) is str and len(text) <= self._limit else cut(text, self._limit)
        self._left -= len(kept) + _APIECE
        return valid(kept)

    def _number(self, value: object) -> object:
        self._left -= _APIECE
        # JSON has no larger ones, and their conversion to decimal takes quadratic time.
        if type(value) is int and value.bit_length() >= 64:
            return Shown(text_of(value, self._limit, repr))
        return value

    def _bytes(self, value: bytes | bytearray) -> Shown:
        most = self._limit // 4  # each byte takes up to four characters
        kept = repr(bytes(value[:most]))
        if len(value) > most:
            kept = f"{cut_end(kept[:-1])}… {len(value):,} bytes in all"
        return Shown(self._taken(kept))

    def _many(self, value: Any, depth: int) -> object:
        # An atomic copy: another thread may change it.
        if type(value) is dict:
            found = {
                self.text(key): self.value(one, depth - 1)
                for key, one in self._those_with_room(list(value.items()))
            }
            if len(found) < len(value):
                found["…"] = Shown(f"{len(value):,} in all")
            return found
        items = [self.value(one, depth - 1) for one in self._those_with_room(list(value))]
        if len(items) < len(value):
            items.append(Shown(f"… {len(value):,} in all"))
        return tuple(items) if type(value) is tuple else items

    def _those_with_room(self, values: list[T]) -> Iterator[T]:
        for value in islice(values, self._left // _APIECE + 1):
            if self.full:
                return
            yield value
