"""The check of locks of unique jobs whose holders are nowhere: they keep jobs out.

A keeper looks for the holder of a lock only when that has kept a job out. Here a sample of all
locks is looked at, for a bounded time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple, cast

from jobd.api.diagnosis.findings import Check, Said, Severity
from jobd.api.find import JobSearch
from jobd.api.reading import text
from jobd.api.session import Session
from jobd.text.printable import shortened

SECONDS = 1.0
"""Seconds for the search."""

SAMPLE = 20
"""Locks that are looked at."""

STEPS, STEP = 20, 500
"""Calls of SCAN that look for locks, and keys in one of them."""


_QUEUES = "0.0@queue:"
"""Cursor of a search that begins with the queues."""


def _locks(session: Session) -> Iterator[Said]:
    end = time.monotonic() + SECONDS
    lost = []
    for key in _sample(session):
        if time.monotonic() > end:
            break
        if held := _without_job(session, key, end):
            lost.append((key, held))
    for key, held in lost[:3]:
        # Never DEL: the only copy of a job can wait in the lock, or come to wait there meanwhile.
        waits = f", and job {shortened(held.waits, 64)}, which waits in it, runs" * bool(held.waits)
        yield Said(
            f"The lock {shortened(key, 200)} is held by job {shortened(held.jid, 64)}, which is "
            "nowhere in Redis: it keeps jobs like it out.",
            "if it stays so for two minutes after it has kept one out: jobd start; the keeper of a "
            f"daemon frees the lock{waits}",
        )


def _sample(session: Session) -> list[str]:
    """Locks that have kept a job out, then any."""
    contested = session.redis.zrange(session.keys.contested, 0, SAMPLE - 1)
    found = dict.fromkeys(map(text, cast("list[bytes]", contested)))
    cursor = 0
    for _ in range(STEPS):
        cursor, keys = session.redis.scan(
            cursor, match=f"{_plain(session.keys.lock(''))}*", count=STEP
        )
        found |= dict.fromkeys(map(text, cast("list[bytes]", keys)))
        if cursor == 0 or len(found) >= SAMPLE:
            break
    return list(found)[:SAMPLE]


def _plain(prefix: str) -> str:
    """For a pattern: a prefix may have brackets."""
    return "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in prefix)


class _Held(NamedTuple):
    """What a lock says of itself.

    Attributes:
        jid: of the job that holds it.
        seen: since when it says so.
        waits: the id of the job that waits in it; "" if there is none.
    """

    jid: str
    seen: str
    waits: str


def _without_job(session: Session, key: str, end: float) -> _Held | None:
    """A lock whose holder is nowhere; None if that lives, moves, or was not found in time."""
    before = _held(session, key)
    if before is None:
        return None
    # The dead are left out: they hold no locks, and are the most.
    for cursor, last in (("", "dead"), (_QUEUES, "")):
        search = JobSearch(session, before.jid, cursor)
        while search.place not in ("", last):
            if search.next() or time.monotonic() > end:
                return None
    # It may have moved past the search.
    after = _held(session, key)
    return after if after and after[:2] == before[:2] else None


def _held(session: Session, key: str) -> _Held | None:
    """What a lock says; None if nobody holds it, or if it outlives its job."""
    answer = session.redis.hmget(key, ["jid", "seen", "stays", "again_jid"])
    jid, seen, stays, waits = cast("list[bytes | None]", answer)
    return _Held(text(jid), text(seen or b""), text(waits or b"")) if jid and not stays else None


CHECKS: tuple[Check[Session], ...] = (
    Check("fleet.locks", Severity.WARNING, f"{SAMPLE} locks of unique jobs without one", _locks),
)
