"""Finding jobs again that somebody has seen on a page, by the short keys that stand for them.

Meanwhile jobs come and go, so a place is only a hint. What is found where it was costs little; for
the rest there is a search, whose time is bounded.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from jobd.api.entries import is_plain
from jobd.api.queuescan import QueueScan
from jobd.api.reading import MOST, MOST_HELD, STEP_BYTES, Stride
from jobd.api.records import JobRecord
from jobd.api.session import Session
from jobd.errors import ArgumentError
from jobd.redis import scripts
from jobd.texts import Text

if TYPE_CHECKING:
    from jobd.api.entries import SortedEntry
    from jobd.api.jobset import JobSet
    from jobd.api.queues import Queue

NEAR = 2_000
"""Jobs that workers may have taken since a page of a queue was read, without a long search."""

_KEY = re.compile(r"(-?(?:inf|[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?))-(.+)", re.DOTALL)


class QueuedKey(NamedTuple):
    """What stands for a job in a queue.

    Attributes:
        digest: of its bytes (:attr:`JobRecord.digest`).
        jid: its id; empty if it has none.
        place: jobs that were before it; None if that is not known.
    """

    digest: str
    jid: str = ""
    place: int | None = None


def entries(
    jobs: JobSet, session: Session, keys: Iterable[str], seconds: float | None
) -> list[SortedEntry]:
    """See :meth:`JobSet.find_all`."""
    found: list[SortedEntry] = []
    for entry in scored(jobs, session, {_parsed(key) for key in keys}, seconds):
        found.append(entry)
        _require_room(found)
    return found


def _require_room(found: Sequence[JobRecord]) -> None:
    if sum(len(one.value) for one in found) > MOST_HELD:
        raise ArgumentError(
            Text(
                "these jobs have more than %(most)s MB together; choose fewer of them",
                most=MOST_HELD // 1024**2,
            )
        )


def scored(
    jobs: JobSet, session: Session, wanted: set[tuple[float, str]], seconds: float | None
) -> Iterator[SortedEntry]:
    """The entries with these scores and these ids (or ``~`` and their digests), step by step."""
    left, offset, end = sorted(wanted), 0, _end(seconds)
    while left and time.monotonic() < end:
        words = [
            word
            for score, name in left[:MOST]
            # JSON may write other ids in other ways.
            for word in (repr(score), name if is_plain(name) else "")
        ]
        done, offset, *found = scripts.FIND_ENTRIES(
            session.redis, [jobs._key], [STEP_BYTES, offset, *words]
        )
        for entry in jobs._entries(found):
            for name in (entry.jid, f"~{entry.digest}"):
                if (entry.score, name) in wanted:
                    wanted.discard((entry.score, name))
                    yield entry
        left = left[done:]
        # What has been found needs no further look.
        while left and left[0] not in wanted:
            left, offset = left[1:], 0


def queued(
    queue: Queue, session: Session, keys: Iterable[QueuedKey], seconds: float | None
) -> list[JobRecord]:
    """See :meth:`Queue.find_all`."""
    wanted = {key.digest: key for key in keys}
    found: list[JobRecord] = []
    placed = [key for key in wanted.values() if key.place is not None]
    stride, looked = Stride(), 0
    while part := placed[looked : looked + stride.entries]:
        with session.redis.pipeline(transaction=False) as pipe:
            for key in part:
                pipe.lindex(queue._key, -1 - (key.place or 0))
            raws = [raw or b"" for raw in pipe.execute()]
        stride.took([len(raw) for raw in raws])
        looked += len(part)
        for key, raw in zip(part, raws, strict=True):
            record = JobRecord(raw, queue.name, session, place=key.place)
            if record.digest == key.digest:
                found.append(record)
                del wanted[key.digest]
        _require_room(found)
    end = _end(seconds)
    near = min((key.place or 0 for key in wanted.values()), default=0) - NEAR
    # Those before it can only have been taken: it is now nearer to the end than it was.
    for cursor, most in ((max(0, near), len(placed) + NEAR), (0, None)):
        # An id among the bytes is seen faster than a digest of all of them is made.
        jid = next(iter(wanted.values())).jid if len(wanted) == 1 else ""
        hint = jid.encode() if is_plain(jid) else b""
        scan = QueueScan(queue, session, [], None, str(cursor), hint=hint)
        while wanted and not scan.done and time.monotonic() < end:
            for job in scan.next():
                if wanted.pop(job.digest, None) is not None:
                    found.append(job)
            _require_room(found)
            if most is not None and scan.scanned > most:
                break
    return found


def _parsed(key: str) -> tuple[float, str]:
    parts = _KEY.fullmatch(key)
    try:
        if parts is not None:
            return float(parts[1]), parts[2]
    except ValueError:
        pass
    raise ArgumentError(f"{key[:200]!r} does not stand for a job: it must be SCORE-JID")


def _end(seconds: float | None) -> float:
    return float("inf") if seconds is None else time.monotonic() + seconds
