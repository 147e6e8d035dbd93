"""What an application logs, made small and plain before anything else is done with it.

A value may be huge, contain itself, change while it is looked at, or raise at every touch. Here it
becomes text and numbers of bounded size; what comes after (escaping, JSON, masking) then takes a
bounded time, and cannot fail.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from collections.abc import MutableMapping
from itertools import islice
from typing import Any

import msgspec

from jobd.text import tracebacks
from jobd.text.printable import INTERRUPTIONS, cut, cut_end, text_of, valid

DEFAULT_MOST = 65_536
"""Characters of one value, unless a setting says otherwise."""

_IN_ALL = 4
"""Times as much as one value may have, one record has."""

_DUMP = 16
"""Times as much, the stacks of a process."""

_DEPTH = 10
_APIECE = 8  # characters that any value counts for at least
_NUMBERS = (int, float, bool, type(None))
_KNOWN_TO_JSON = (
    datetime.date,  # and datetime
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    enum.Enum,
    uuid.UUID,
)


Event = MutableMapping[str, Any]


class Reduced(msgspec.Struct, gc=False):
    """A record whose parts are plain and small. *text* says what happened."""

    text: str
    fields: Event
    traceback: str | None = None
    dump: str | None = None


def reduced(event: Event, most: int, *, for_json: bool) -> Reduced:
    """The record *event*, which is used up.

    Args:
        most: characters of one value; a record has four times as many.
        for_json: what JSON has a form of its own for is given that.
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


def _is_small(event: Event, most: int) -> bool:
    """Whether it is small and plain as it is; nearly all are, and there is one for each job."""
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
    """Text that stands for something else than text, and so gets no quotes."""

    def __repr__(self) -> str:
        return str.__str__(self)


class Room:
    """The room that there is in one record; arguments as of :func:`reduced`."""

    __slots__ = ("_for_json", "_left", "_most")

    def __init__(self, most: int, *, for_json: bool) -> None:
        self._most = most
        self._for_json = for_json
        self._left = _IN_ALL * most

    @property
    def full(self) -> bool:
        return self._left <= 0

    def text(self, value: object) -> str:
        """*value* as text: itself if it is some, else its ``repr()``."""
        if issubclass(type(value), str):  # isinstance() asks a lazy object for its class, too
            return self._taken(value)  # type: ignore[arg-type]
        return self._taken(text_of(value, self._limit, repr))

    def traceback(self, error: BaseException) -> str:
        return self._taken(tracebacks.formatted(error, self._limit))

    def value(self, value: object, depth: int = _DEPTH) -> object:
        """*value* as lists, dicts, text and numbers."""
        kind = type(value)
        if issubclass(kind, str):  # a member of a StrEnum as well
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
        except BaseException:  # noqa: BLE001 - of a class that is broken; its repr() may not be
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
        # A larger one is none for JSON, and its digits take a time that grows with their square.
        if type(value) is int and value.bit_length() >= 64:
            return Shown(text_of(value, self._limit, repr))
        return value

    def _bytes(self, value: bytes | bytearray) -> Shown:
        most = self._limit // 4  # what stands for one of them has up to four characters
        kept = repr(bytes(value[:most]))
        if len(value) > most:
            kept = f"{cut_end(kept[:-1])}… {len(value):,} bytes in all"
        return Shown(self._taken(kept))

    def _many(self, value: Any, depth: int) -> Any:
        # A copy, made in one step: another thread may change it.
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

    def _those_with_room(self, values: list[Any]) -> Any:
        for value in islice(values, self._left // _APIECE + 1):
            if self.full:
                return
            yield value
