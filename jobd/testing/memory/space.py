"""The key space: values by key, some of which expire; and the table of commands on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from jobd.testing.memory.values import WRONG_TYPE, Refused, Reply

V = TypeVar("V")


class Space:
    """All keys; to iterate over it yields those that have not expired.

    Args:
        clock: the time, in microseconds since 1970.

    Attributes:
        messages: what has been published and nobody has heard yet, with its channel.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.messages: list[tuple[bytes, bytes]] = []
        self._values: dict[bytes, object] = {}
        self._ends: dict[bytes, int] = {}

    def find(self, key: bytes) -> object:
        """The value of a key; None if it is not there."""
        end = self._ends.get(key)
        if end is not None and end * 1000 <= self.clock():
            self.drop(key)
        return self._values.get(key)

    def read(self, key: bytes, kind: type[V]) -> V | None:
        """The value of a key, which must be of that kind."""
        value = self.find(key)
        if value is not None and type(value) is not kind:
            raise Refused(WRONG_TYPE)
        return value

    def make(self, key: bytes, kind: type[V]) -> V:
        """The same; a new value if the key is not there."""
        value = self.read(key, kind)
        if value is None:
            value = self._values[key] = kind()
        return value

    def put(self, key: bytes, value: object, *, keeps_end: bool = False) -> None:
        """Replace the value of a key; unless *keeps_end*, it no longer expires."""
        self._values[key] = value
        if not keeps_end:
            self._ends.pop(key, None)

    def settle(self, key: bytes, value: object) -> None:
        """Remove a key whose *value* has become empty."""
        if not value:
            self.drop(key)

    def drop(self, key: bytes) -> bool:
        """Remove a key; returns whether it was there."""
        self._ends.pop(key, None)
        return self._values.pop(key, None) is not None

    def end(self, key: bytes) -> int | None:
        """When a key expires (ms since 1970)."""
        return self._ends.get(key)

    def set_end(self, key: bytes, end: int | None) -> None:
        """Have a key expire then; None: not at all."""
        if end is None:
            self._ends.pop(key, None)
        elif end * 1000 <= self.clock():
            self.drop(key)
        else:
            self._ends[key] = end

    def __iter__(self) -> Iterator[bytes]:
        return (key for key in list(self._values) if self.find(key) is not None)

    def clear(self) -> None:
        """Remove all keys."""
        self._values.clear()
        self._ends.clear()


class Command(NamedTuple):
    """What runs a command, and how many words may follow its name; -1 for any number."""

    run: Callable[[Space, list[bytes]], Reply]
    least: int
    most: int


COMMANDS: dict[bytes, Command] = {}
"""Those that work on the key space, by name."""

Run = Callable[[Space, list[bytes]], Reply]
R = TypeVar("R", bound=Run)


def command(name: str, least: int, most: int | None = None) -> Callable[[R], R]:
    """Add a function as the command *name*, which takes so many words; just *least* by default, and
    with -1 any number from there."""

    def add(run: R) -> R:
        COMMANDS[name.encode()] = Command(run, least, least if most is None else most)
        return run

    return add
