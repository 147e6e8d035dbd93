"""What a batch is made of, for operators: the batches inside it, its callbacks, and the members
that have failed."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator
from itertools import islice
from typing import NamedTuple, cast

from msgspec import Struct

from jobd.api.records import JobRecord
from jobd.api.session import Session
from jobd.features.batches.record import BatchStatus, status_of
from jobd.wire.batches import DEAD, EVENTS, PENDING, callback_jid, member_jid

STEP = 500
"""Batches of one step through all of them."""

MOST = 1_000
"""Batches after the outer one among which :func:`parts` looks for those inside it."""

PART = 65_536
"""Bytes of the states of members that are read at once."""


class BatchCallback(Struct, frozen=True):
    """A callback of a batch; *name* of its job is empty once it has been pushed."""

    event: str
    jid: str
    name: str
    pushed: bool


class BatchFailure(Struct, frozen=True):
    """A member that has failed: ``pending`` until its next attempt, or ``dead``."""

    jid: str
    state: str


class Parts(NamedTuple):
    """What a batch is made of.

    Attributes:
        callbacks: by their events.
        failures: the first members that have failed; batches inside it are no jobs, and are none.
        inside: the batches inside it, the first one first, among the thousand batches after it.
        all_inside: whether no further one can be there: there may be more than are looked at.
    """

    callbacks: list[BatchCallback]
    failures: list[BatchFailure]
    inside: list[BatchStatus]
    all_inside: bool


def parts(session: Session, one: BatchStatus, count: int) -> Parts:
    """What a batch is made of.

    Args:
        count: members that have failed which are named, at most.
    """
    numbers, more = _numbers(session, one)
    failures = _failures(session, one.bid, count, numbers) if one.failed or one.dead else []
    inner = statuses(session, numbers.values())
    return Parts(_callbacks(session, one.bid), failures, inner, not more)


def inside(
    session: Session, outer: Container[str], since: str = "-inf"
) -> Iterator[list[tuple[str, int]]]:
    """The batches inside others, each with its number there, in steps through all batches.

    Args:
        outer: ids of those that they are inside of.
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
            for one, around, *number in pairs
            if around in outer and number and number[0].isdigit()
        ]
        place += STEP


def family(session: Session, bids: set[str], since: float) -> set[str]:
    """Batches, and those inside them: of those inside these, the ones that are listed later.

    Args:
        since: when the first of them was created (s since 1970).
    """
    known = set(bids)
    for step in inside(session, known, repr(since)):
        known.update(bid for bid, _ in step)
    return known


def _numbers(session: Session, outer: BatchStatus) -> tuple[dict[int, str], bool]:
    """The batches inside *outer* by their numbers there, and whether there may be more."""
    found = inside(session, {outer.bid}, repr(outer.created_at))
    numbers = {number: bid for step in islice(found, MOST // STEP) for bid, number in step}
    return numbers, next(found, None) is not None


def statuses(session: Session, bids: Collection[str]) -> list[BatchStatus]:
    """Those of some batches, in their order, as far as they are there."""
    if not bids:
        return []
    with session.redis.pipeline(transaction=False) as pipe:
        for bid in bids:
            pipe.hgetall(session.keys.batch(bid))
        known = (status_of(bid, one) for bid, one in zip(bids, pipe.execute(), strict=True))
        return [status for status in known if status is not None]


def _callbacks(session: Session, bid: str) -> list[BatchCallback]:
    """The callbacks of a batch, by their events. Cost: O(callbacks), a hundred for each block."""
    stored = cast("dict[bytes, bytes]", session.redis.hgetall(session.keys.batch_callbacks(bid)))
    found = []
    for field, raw in stored.items():
        event, _, number = field.decode(errors="replace").partition(":")
        if event in EVENTS and number.isdigit():
            name = JobRecord(raw).display_class if raw else ""
            found.append((EVENTS.index(event), int(number), name, not raw))
    return [
        BatchCallback(EVENTS[event], callback_jid(bid, EVENTS[event], number), name, pushed)
        for event, number, name, pushed in sorted(found)
    ]


def _failures(
    session: Session, bid: str, count: int, batches: Container[int]
) -> list[BatchFailure]:
    """The first members that are dead, or have failed and are tried again. Cost: O(members), half
    a byte of each, until there are enough.

    Args:
        batches: numbers that are no jobs.
    """
    key = session.keys.batch_members(bid)
    found: list[BatchFailure] = []
    for first in range(0, 1 << 31, PART):
        part = cast("bytes", session.redis.getrange(key, first, first + PART - 1))
        for place, byte in enumerate(part, first):
            if byte not in _QUIET:
                for at, half in enumerate((byte >> 4, byte & 15)):
                    number = 2 * place + at
                    if half in _BAD and number not in batches:
                        found.append(BatchFailure(member_jid(bid, number), _BAD[half]))
            if len(found) >= count:
                return found[:count]
        if len(part) < PART:
            break
    return found


_BAD = {DEAD: "dead", 8 + DEAD: "dead", 8 + PENDING: "pending"}
"""The four bits of members that :func:`_failures` is for."""

_QUIET = frozenset(byte for byte in range(256) if not {byte >> 4, byte & 15} & _BAD.keys())
"""Bytes without any."""
