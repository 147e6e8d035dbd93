"""Calls of the scripts of batches."""

from __future__ import annotations

import time
from typing import NamedTuple

from jobd.store import scripts
from jobd.store.attached import conflicts, words_of
from jobd.store.conflict import Conflict
from jobd.store.inflight import DAY_TTL
from jobd.store.keys import Keys
from jobd.store.protocol import Argument, Reply
from jobd.wire.batches import Portion


class Added(NamedTuple):
    """What adding to a batch has brought about.

    Attributes:
        state: ``ok``; ``again``: this step has been made before; ``finished``: the batch has
            succeeded, been cancelled or is not there; ``closed``: the block is not open any more.
        reserved: the first of the numbers that were wanted; -1 if none was.
        conflicts: for each job with other attachments, the job that has kept it out.
    """

    state: str
    reserved: int
    conflicts: list[Conflict | None]


def packed(keys: Keys, portion: Portion, now: float) -> tuple[scripts.Script, bytes]:
    """The script that adds to a batch, and its call."""
    day = time.strftime("%Y-%m-%d", time.gmtime(now))
    bid = portion.bid
    places: dict[str, int] = {}
    groups: list[Argument] = []
    for first, queue, heads in portion.queued:
        groups += (places.setdefault(queue, len(places) + 1), first, len(heads), *heads)
    attached = words_of(portion.attached, places)
    words: list[Argument] = [DAY_TTL, repr(now), bid, portion.block, portion.how, portion.call]
    words += ("close" if portion.closes else "", portion.reserve)
    words += ("" if portion.parent is None else f"{portion.parent[0]} {portion.parent[1]}",)
    for pairs in (portion.fields, portion.callbacks):
        words.append(len(pairs))
        for name, value in pairs:
            words += (name, value)
    words += (len(places), *places, len(portion.queued), *groups)
    words.append(len(portion.scheduled))
    for number, at, raw in portion.scheduled:
        words += (number, repr(at), raw)
    fixed = (keys.queues, keys.schedule, keys.duplicates, keys.duplicates_on(day), keys.departed)
    own = [keys.batch(bid), keys.batch_members(bid), keys.batch_callbacks(bid)]
    own.append(keys.batch_closed(bid, portion.block))
    names = [*fixed, keys.batches, keys.batches_open, *own, *map(keys.queue, places)]
    return scripts.ADD_TO_BATCH, scripts.ADD_TO_BATCH.pack(names, [*words, *attached])


def added(told: list[Reply]) -> Added:
    """The reply of that script."""
    return Added(told[0].decode(), int(told[1]), conflicts(told[2:]))
