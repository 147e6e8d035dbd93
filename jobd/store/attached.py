"""Calls of the script that pushes jobs with attachments. Applications that push none do not load
it, nor the scripts."""

from __future__ import annotations

import time
from collections.abc import Sequence

from jobd.store.conflict import Conflict
from jobd.store.inflight import DAY_TTL
from jobd.store.keys import Keys
from jobd.store.protocol import Argument
from jobd.store.scripts import PUSH, Script
from jobd.wire.attachments import AttachedPush


def _word(number: float | None) -> str:
    return "" if number is None else repr(float(number))


def packed(keys: Keys, jobs: Sequence[AttachedPush], now: float) -> tuple[Script, bytes]:
    """The script that stores jobs with attachments, and its call."""
    day = time.strftime("%Y-%m-%d", time.gmtime(now))
    places: dict[str, int] = {}
    words = words_of(jobs, places)
    fixed = (keys.queues, keys.schedule, keys.duplicates, keys.duplicates_on(day))
    names = [*fixed, keys.departed, *map(keys.queue, places)]
    return PUSH, PUSH.pack(names, [DAY_TTL, repr(now), len(places), *places, *words])


def words_of(jobs: Sequence[AttachedPush], places: dict[str, int]) -> list[Argument]:
    """The arguments of these jobs, and in *places* the positions of their queues."""
    words: list[Argument] = []
    for raw, jid, queue, (at, lock, result, how, longest) in jobs:
        place = places.setdefault(queue, len(places) + 1)
        words += (raw, jid, place, _word(at), "" if lock is None else lock.key)
        words += (_word(None if lock is None else lock.seconds),)
        words += (int(lock is not None and lock.until == "expiry"), how)
        words += (_word(longest), _word(result))
    return words


def conflicts(told: list[bytes]) -> list[Conflict | None]:
    """What that script has answered: for each job, the one that has kept it out."""
    pairs = zip(told[::2], told[1::2], strict=True)
    return [Conflict(who.decode(), float(age)) if who else None for who, age in pairs]
