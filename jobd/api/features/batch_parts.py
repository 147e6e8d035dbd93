"""What a batch is made of, for operators: the batches inside it, its callbacks, and the members
that have failed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple, cast

from jobd.api.records import JobRecord
from jobd.api.session import Session
from jobd.features.batches.record import BatchStatus, status_of
from jobd.wire.batches import DEAD, EVENTS, PENDING, callback_jid, member_jid

STEP = 500
"""Batches of one step through all of them."""

MOST = 1_000
"""Batches after the outer one among which :func:`nested` looks for those inside it."""

PART = 65_536
"""Bytes of the states of members that are read at once."""


class Nested(NamedTuple):
    """Batches inside another one.

    Attributes:
        all: whether no further one can be there: there may be more batches than are looked at.
    """

    batches: list[BatchStatus]
    all: bool


class Callback(NamedTuple):
    """A callback of a batch; *pushed* once its event has happened, from when on the *name* of its
    job is not kept here."""

    event: str
    jid: str
    name: str
    pushed: bool


class Failed(NamedTuple):
    """A member that has failed, and waits for its next attempt (``pending``) or is ``dead``."""

    jid: str
    state: str


def inside(session: Session, bid: str, since: str = "-inf") -> Iterator[list[tuple[str, int]]]:
    """The batches inside another one, each with its number there, in steps through all batches.

    Args:
        since: only those that were created then or later.
    """
    keys, redis, place = session.keys, session.redis, 0
    while True:
        found = redis.zrange(keys.batches, since, "+inf", byscore=True, offset=place, num=STEP)
        bids = [each.decode(errors="replace") for each in cast("list[bytes]", found)]
        if not bids:
            return
        with redis.pipeline(transaction=False) as pipe:
            for one in bids:
                pipe.hget(keys.batch(one), "parent")
            parents = [(parent or b"").decode(errors="replace") for parent in pipe.execute()]
        pairs = [(one, *parent.split(" ")) for one, parent in zip(bids, parents, strict=True)]
        yield [
            (one, int(number[0]))
            for one, outer, *number in pairs
            if outer == bid and number and number[0].isdigit()
        ]
        place += STEP


def nested(session: Session, outer: BatchStatus) -> Nested:
    """The batches inside *outer*, the first one first, among the thousand batches after it."""
    steps = MOST // STEP
    found = inside(session, outer.bid, repr(outer.created_at))
    bids = [bid for step in islice(found, steps) for bid, _ in step]
    more = next(found, None) is not None
    if not bids:
        return Nested([], not more)
    with session.redis.pipeline(transaction=False) as pipe:
        for bid in bids:
            pipe.hgetall(session.keys.batch(bid))
        known = (status_of(bid, one) for bid, one in zip(bids, pipe.execute(), strict=True))
        return Nested([status for status in known if status is not None], not more)


def callbacks(session: Session, bid: str) -> list[Callback]:
    """The callbacks of a batch, by their events. Cost: O(callbacks), a hundred for each block."""
    stored = cast("dict[bytes, bytes]", session.redis.hgetall(session.keys.batch_callbacks(bid)))
    found = []
    for field, raw in stored.items():
        event, _, number = field.decode(errors="replace").partition(":")
        if event in EVENTS and number.isdigit():
            name = JobRecord(raw).display_class if raw else ""
            found.append((EVENTS.index(event), int(number), name, not raw))
    return [
        Callback(EVENTS[event], callback_jid(bid, EVENTS[event], number), name, pushed)
        for event, number, name, pushed in sorted(found)
    ]


def failed(session: Session, bid: str, count: int) -> list[Failed]:
    """The first members that are dead, or have failed and are tried again. Cost: O(members), half
    a byte of each, until there are enough."""
    key = session.keys.batch_members(bid)
    found: list[Failed] = []
    for first in range(0, 1 << 31, PART):
        part = cast("bytes", session.redis.getrange(key, first, first + PART - 1))
        for place, byte in enumerate(part, first):
            if byte not in _QUIET:
                for at, half in enumerate((byte >> 4, byte & 15)):
                    if half in _BAD:
                        found.append(Failed(member_jid(bid, 2 * place + at), _BAD[half]))
            if len(found) >= count:
                return found[:count]
        if len(part) < PART:
            break
    return found


_BAD = {DEAD: "dead", 8 + DEAD: "dead", 8 + PENDING: "pending"}
"""The four bits of members that :func:`failed` is for."""

_QUIET = frozenset(byte for byte in range(256) if not {byte >> 4, byte & 15} & _BAD.keys())
"""Bytes without any."""
