"""Jobs that wait for a lock: pushed with ``on_conflict="again"`` while another one held it, they
are in no queue yet, but in the lock (see ``store/lua/pushing.lua``)."""

from __future__ import annotations

from jobd.api.reading import STEP, STEP_BYTES, answers
from jobd.api.records import JobRecord
from jobd.api.search.scans import Scan, position
from jobd.api.session import Session
from jobd.store import scripts

LOCK = "lock"
"""Where such a job is."""


class HeldBack(Scan[JobRecord]):
    """All of them, in bounded steps; O(locks that have kept a job out).

    Example:
        >>> [job.jid for job in HeldBack(api)]  # doctest: +SKIP
        ['1befef82961e0772dce5ae4d']
    """

    def __init__(self, session: Session, cursor: str = "") -> None:
        super().__init__()
        self._api = session
        self._cursor = position(cursor)

    @property
    def cursor(self) -> str:
        return str(self._cursor)

    def next(self) -> list[JobRecord]:
        redis, keys = self._api.redis, self._api.keys
        cursor, scanned, *words = scripts.SCAN(
            redis, [keys.contested], ["ZSCAN", self._cursor, STEP, STEP_BYTES, "", ""]
        )
        self._cursor = int(cursor)
        self.scanned += scanned
        self.done = self._cursor == 0
        with redis.pipeline(transaction=False) as pipe:
            for key in words[::2]:
                pipe.hget(key.decode(errors="replace"), "again")
            found = answers(pipe) if words else []
        return [JobRecord(raw, None, self._api) for raw in found if isinstance(raw, bytes)]


def find_held_back(session: Session, jid: str) -> JobRecord | None:
    """The job with this id, if it waits for a lock. Cost: O(locks that have kept a job out)."""
    return next((job for job in HeldBack(session) if job.jid == jid), None)
