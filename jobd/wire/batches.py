"""Batches, no I/O: ids, the states of members, and what one step adds to a batch."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from jobd.ambient import chance
from jobd.wire.attachments import AttachedPush

Event = Literal["success", "complete", "death"]
EVENTS: tuple[Event, ...] = ("success", "complete", "death")

PENDING, DONE, DEAD, EXPIRED, CANCELLED, UNCONFIRMED = range(1, 7)
"""States of members, as ``lua/batches.lua`` writes them; 0 is a number without a member."""

STATES = ("none", "pending", "done", "dead", "expired", "cancelled", "unconfirmed")
"""Their names, by number."""

_BID = re.compile(r"[0-9a-f]{16}")


def new_bid() -> str:
    """The id of a batch: 16 lower-case hexadecimal digits."""
    return chance.token(8)


def is_bid(text: str) -> bool:
    """Whether that can be the id of a batch.

    >>> is_bid("00c0ffee00c0ffee"), is_bid("*")
    (True, False)
    """
    return _BID.fullmatch(text) is not None


def member_jid(bid: str, number: int) -> str:
    """The id of a member: that of its batch, and its number there.

    >>> member_jid("00c0ffee00c0ffee", 10)
    '00c0ffee00c0ffee0000000a'
    """
    return f"{bid}{number:08x}"


def callback_jid(bid: str, event: str, number: int) -> str:
    """The id of the callback with that *number* among those of an event.

    >>> callback_jid("00c0ffee00c0ffee", "success", 0)
    '55c1ac588c035330463c4d30'
    """
    digest = hashlib.sha1(f"{bid} {event} {number}".encode(), usedforsecurity=False)
    return digest.hexdigest()[:24]


class Queued(NamedTuple):
    """Members for now whose numbers follow one another; each of *heads* is a payload up to the time
    of the push."""

    first: int
    queue: str
    heads: list[bytes]

    @property
    def raws(self) -> list[bytes]:
        """The payloads without that time."""
        return [head + b"}" for head in self.heads]


class Scheduled(NamedTuple):
    """A member for later, due *at* (seconds since 1970)."""

    number: int
    at: float
    raw: bytes


class Portion(NamedTuple):
    """What one step adds to a batch.

    Attributes:
        bid: id of the batch.
        block: id of the block that adds it.
        how: the batch is created, opened once more, or the block goes on.
        call: which step of the block this is, from 1: one that is repeated does nothing.
        closes: the block ends.
        reserve: how many numbers of further members are wanted.
        parent: of a new nested batch: the id of the outer one, and the number there.
        fields: of a new batch.
        callbacks: ``event:number`` and payload, without the time of the push.
    """

    bid: str
    block: str
    how: Literal["new", "open", "go on"]
    call: int
    closes: bool = False
    reserve: int = 0
    parent: tuple[str, int] | None = None
    fields: Sequence[tuple[str, str]] = ()
    callbacks: Sequence[tuple[str, bytes]] = ()
    queued: Sequence[Queued] = ()
    scheduled: Sequence[Scheduled] = ()
    attached: Sequence[AttachedPush] = ()


def states_of(members: bytes) -> list[tuple[int, bool]]:
    """The state of each number, and whether it has failed once, from the bits in Redis.

    >>> states_of(bytes([0x19, 0x20]))
    [(1, False), (1, True), (2, False), (0, False)]
    """
    return [(half & 7, half >= 8) for byte in members for half in (byte >> 4, byte & 15)]
