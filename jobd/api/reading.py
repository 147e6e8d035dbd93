"""Reading what may be anything: bounded pages, and values that somebody else has written.

No command may keep the server busy for long, and none may bring more than fits: pages are bounded
by number, and readers that go through everything also by bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec
import redis as redis_py
from redis.client import Pipeline

from jobd.errors import ArgumentError
from jobd.store import scripts
from jobd.store.protocol import Argument, Reply
from jobd.store.trouble import unavailable
from jobd.wire.json_value import UNREADABLE, JsonValue

T = TypeVar("T")

MOST = 1_000
"""Entries of one page, or of one step through everything."""

BYTES = 4 * 1024 * 1024
"""About what one page has, or one step of an action. No command tells the size of a job before it
is read, so each draught is as large as the one before it promises."""

MOST_HELD = 64 * 1024 * 1024
"""Bytes that are held at once where all of something is wanted, however large it is."""

STEP, STEP_BYTES = 250, 1024 * 1024
"""Entries that a script reads, and about the bytes of them. Everybody else waits meanwhile: with
four times as many, some calls took more than 10 ms."""

FIRST = 10
"""Entries of a step when nothing is known about their size."""

BATCH = 100
"""Jobs that one call of a script changes. It bounds the time for which everybody else must wait: of
two hundred with their backtraces, some calls took more than 10 ms."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of something long.

    Attributes:
        entries: what is on it.
        start: place of the first one, from 0.
        size: how many there are in all.
    """

    entries: tuple[T, ...]
    start: int
    size: int

    @property
    def more(self) -> bool:
        """Whether something comes after it."""
        return self.start + len(self.entries) < self.size

    def __iter__(self) -> Iterator[T]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def check_bounds(start: int, count: int) -> None:
    """Refuse a page that is none, or too large.

    Raises:
        ArgumentError: says what is allowed.
    """
    if start < 0:
        raise ArgumentError(f"a page begins at 0 or later, not at {start}")
    if not 1 <= count <= MOST:
        raise ArgumentError(f"a page has from 1 to {MOST:,} entries, not {count:,}")


def portion(
    client: redis_py.Redis, key: str, kind: str, start: int, count: int
) -> tuple[int, list[bytes]]:
    """A part of a list or of a sorted set, about :data:`BYTES` of it; the first entry in any case.
    A script for each 250 entries or megabyte; see ``portion.lua``.

    Args:
        kind: ``head``, ``tail``, ``up`` or ``down``.

    Returns:
        How many entries there are in all, and those of the part, each followed by its score if it
        is a sorted set.
    """
    found: list[bytes] = []
    size, read, room, width = 0, 0, BYTES, 2 if kind in ("up", "down") else 1
    while room > 0 and read < count:
        many = min(STEP, count - read)
        size, *part = scripts.PORTION(client, [key], [kind, start + read, many, STEP_BYTES])
        if not part:
            break
        found += part
        read += len(part) // width
        room -= sum(map(len, part))
    return size, found


def scanned(client: redis_py.Redis, key: str) -> Iterator[tuple[bytes, bytes]]:
    """The fields and values of a hash, in bounded steps."""
    cursor: Argument = "0"
    while cursor != b"0":
        how: list[Argument] = ["HSCAN", cursor, STEP, STEP_BYTES, "", ""]
        cursor, _, *words = scripts.SCAN(client, [key], how)
        yield from zip(words[::2], words[1::2], strict=True)


def hashes(client: redis_py.Redis, keys: Sequence[str]) -> Iterator[dict[bytes, bytes]]:
    """The hashes of these keys, in their order, in bounded steps; of one that is larger than a step
    some fields. See ``hashes.lua``."""
    done = 0
    while done < len(keys):
        found = scripts.HASHES(client, keys[done : done + STEP], [STEP_BYTES])
        for words in found:
            yield dict(zip(words[::2], words[1::2], strict=True))
        done += len(found)


class Stride:
    """How many items the next pipeline of a long way should ask about."""

    def __init__(self) -> None:
        self.entries = FIRST

    def took(self, sizes: Sequence[int]) -> None:
        """Learn from what a step has brought: the bytes of each item."""
        if sizes:
            fitting = BYTES * len(sizes) // (sum(sizes) + 1)
            self.entries = max(1, min(MOST, 4 * self.entries, fitting))


def batches(
    items: Iterable[T], weight: Callable[[T], int] = lambda _: 0, size: int = BATCH
) -> Iterator[list[T]]:
    """*items* in lists of at most *size*, and of about :data:`BYTES` together.

    >>> list(batches("abc", size=2))
    [['a', 'b'], ['c']]
    """
    batch: list[T] = []
    room = BYTES
    for item in items:
        batch.append(item)
        room -= weight(item)
        if len(batch) == size or room <= 0:
            yield batch
            batch, room = [], BYTES
    if batch:
        yield batch


# --- what somebody else has written -----------------------------------------------------------


def text(raw: bytes) -> str:
    """*raw* as text, whatever it is."""
    return raw.decode(errors="replace")


def integer(value: object, default: int = 0) -> int:
    """The number; *default* beyond signed 64 bits, which is as far as Redis counts: nobody can
    calculate with hundreds of digits.

    >>> integer(b"7"), integer(b"x"), integer(None), integer("9" * 400)
    (7, 0, 0, 0)
    """
    if not isinstance(value, int | float | str | bytes):
        return default
    try:
        found = int(value)
    except (ValueError, OverflowError):
        return default
    return found if -(2**63) <= found < 2**63 else default


def unsigned(digits: str) -> int | None:
    """The number of 64 bits that a client has sent back, as Redis has them in cursors and ids; None
    if it is none.

    >>> unsigned("17"), unsigned("-1"), unsigned(""), unsigned("9" * 5000)
    (17, None, None, None)
    """
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20):
        return None
    found = int(digits)
    return found if found < 2**64 else None


def number(value: object, default: float = 0.0) -> float:
    """
    >>> number(b"7.5"), number(b"nan"), number([])
    (7.5, 0.0, 0.0)
    """
    if not isinstance(value, int | float | str | bytes):
        return default
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return default
    return found if math.isfinite(found) else default


def texts(value: object) -> tuple[str, ...]:
    """The texts of a decoded list.

    >>> texts(["a", 1, "b"]), texts(None)
    (('a', 'b'), ())
    """
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def decoded(raw: bytes | str) -> JsonValue:
    """JSON, or None where it is none."""
    try:
        found: JsonValue = msgspec.json.decode(raw)
        return found
    except UNREADABLE:
        return None


def mapping(value: object) -> dict[str, JsonValue]:
    """
    >>> mapping({"a": 1}), mapping([])
    ({'a': 1}, {})
    """
    return value if isinstance(value, dict) else {}


def answers(pipeline: Pipeline) -> list[Reply]:
    """The answers of a pipeline; None for a key that somebody made one of another type.

    Raises:
        UnavailableError: the server refuses everything, or does not answer.
    """
    found = pipeline.execute(raise_on_error=False)
    for answer in found:
        if isinstance(answer, redis_py.RedisError) and "WRONGTYPE" not in str(answer):
            raise unavailable(pipeline, answer) from None
    return [None if isinstance(answer, redis_py.RedisError) else answer for answer in found]


def members(client: redis_py.Redis, key: str, most: int | None = None) -> list[bytes]:
    """The members of a set, in bounded steps; of more than *most* about so many, any of them."""
    found: dict[bytes, None] = {}
    cursor: Argument = "0"
    while cursor != b"0" and (most is None or len(found) < most):
        cursor, _, *part = scripts.SCAN(client, [key], ["SSCAN", cursor, MOST, STEP_BYTES, "", ""])
        found |= dict.fromkeys(part)
    return list(found)[:most]
