"""Jobs that wait for a lock: pushed with ``on_conflict="again"`` while another one held it, they
are in no queue yet, but in the lock (see ``store/lua/pushing.lua``)."""

from __future__ import annotations

from collections.abc import Iterator

from jobd.api.reading import STEP, STEP_BYTES, answers
from jobd.api.records import JobRecord
from jobd.api.session import Session
from jobd.store import scripts
from jobd.store.protocol import Argument


def held_back(session: Session) -> Iterator[JobRecord]:
    """All of them, in bounded steps; O(locks that have kept a job out).

    Example:
        >>> [job.jid for job in held_back(api)]  # doctest: +SKIP
        ['1befef82961e0772dce5ae4d']
    """
    cursor: Argument = "0"
    while cursor != b"0":
        how: list[Argument] = ["ZSCAN", cursor, STEP, STEP_BYTES, "", ""]
        cursor, _, *words = scripts.SCAN(session.redis, [session.keys.contested], how)
        with session.redis.pipeline(transaction=False) as pipe:
            for key in words[::2]:
                pipe.hget(key.decode(errors="replace"), "again")
            found = answers(pipe) if words else []
        yield from (JobRecord(raw, None, session) for raw in found if isinstance(raw, bytes))
