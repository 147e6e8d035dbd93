"""The sorted sets: ``retry``, ``schedule`` and ``dead``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import redis as redis_py

from jobd.api.records import Record
from jobd.redis.keys import Keys

SetName = Literal["retry", "schedule", "dead"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A job in a sorted set.

    Attributes:
        score: when it runs next, or when it died: seconds since 1970.
    """

    score: float
    record: Record


def entries(
    redis: redis_py.Redis,
    keys: Keys,
    name: SetName,
    *,
    start: int = 0,
    count: int = 50,
    highest_first: bool = False,
) -> list[Entry]:
    """*count* entries from place *start* on, lowest score first unless told otherwise."""
    key = {"retry": keys.retry, "schedule": keys.schedule, "dead": keys.dead}[name]
    with redis.pipeline(transaction=False) as pipe:
        pipe.zrange(key, start, start + count - 1, desc=highest_first, withscores=True)
        (found,) = pipe.execute()
    return [Entry(score, Record.read(raw)) for raw, score in found]
