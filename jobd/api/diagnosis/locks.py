"""The check of locks of unique jobs whose holders are nowhere: they keep jobs out.

A keeper looks for the holder of a lock only when that has kept a job out. Here a sample of all
locks is looked at, for a bounded time.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import cast

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
        if holder := _without_job(session, key, end):
            lost.append((key, holder))
    for key, holder in lost[:3]:
        yield Said(
            f"The lock {shortened(key, 200)} is held by job {shortened(holder, 64)}, which is "
            "nowhere in Redis: it keeps jobs like it out.",
            f"if it stays so for a minute: redis-cli DEL '{shortened(key, 200)}'",
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


def _without_job(session: Session, key: str, end: float) -> str:
    """The holder of a lock, if it is nowhere; "" if it lives, moves, or was not found in time."""
    before = _holder(session, key)
    if before is None:
        return ""
    # The dead are left out: they hold no locks, and are the most.
    for cursor, last in (("", "dead"), (_QUEUES, "")):
        search = JobSearch(session, before[0], cursor)
        while search.place not in ("", last):
            if search.next() or time.monotonic() > end:
                return ""
    # It may have moved past the search.
    return before[0] if _holder(session, key) == before else ""


def _holder(session: Session, key: str) -> tuple[str, str] | None:
    """Who holds a lock, and since when it says so; None if nobody does, or if it outlives its
    job."""
    answer = session.redis.hmget(key, ["jid", "seen", "stays"])
    jid, seen, stays = cast("list[bytes | None]", answer)
    return (text(jid), text(seen or b"")) if jid and stays is None else None


CHECKS: tuple[Check[Session], ...] = (
    Check("fleet.locks", Severity.WARNING, f"{SAMPLE} locks of unique jobs without one", _locks),
)
