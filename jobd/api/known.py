"""Which classes living workers know, as they tell themselves (:mod:`jobd.worker.schedules`)."""

from __future__ import annotations

from typing import cast

from jobd.api.reading import text
from jobd.api.session import Session

_MOST = 100
"""Versions of applications that are looked at."""


def unknown(session: Session, name: str) -> bool:
    """Whether no living worker of jobd knows the job *name*; False where none tells what it knows.
    Cost: two round trips; a command of O(1) for each version of an application."""
    keys, redis = session.keys, session.redis
    seconds, micros = redis.time()
    now = seconds + micros / 1e6
    digests = cast(
        "list[bytes]",
        redis.zrange(keys.classes, repr(now), "+inf", byscore=True, offset=0, num=_MOST),
    )
    if not digests:
        return False
    with redis.pipeline(transaction=False) as pipe:
        for digest in digests:
            pipe.sismember(keys.classes_of(text(digest)), name)
        return not any(pipe.execute())
