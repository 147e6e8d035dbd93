"""Finding jobs of a queue again that somebody has seen on a page, by the keys that stand for them.

Meanwhile jobs come and go, so a place is only a hint. What is found where it was costs little; for
the rest there is a search, whose time is bounded.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import NamedTuple

from jobd.api.queues.scan import QueueScan
from jobd.api.reading import Stride
from jobd.api.records import JobRecord
from jobd.api.search.scans import end_of, require_room
from jobd.api.session import Session

NEAR = 2_000
"""Jobs that workers may have taken since a page of a queue was read, without a long search."""


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


def find_queued(
    queue: str, session: Session, keys: Iterable[QueuedKey], seconds: float | None
) -> list[JobRecord]:
    """See :meth:`Queue.find_all`."""
    wanted = {key.digest: key for key in keys}
    found: list[JobRecord] = []
    placed = [key for key in wanted.values() if key.place is not None]
    stride, looked = Stride(), 0
    while part := placed[looked : looked + stride.entries]:
        with session.redis.pipeline(transaction=False) as pipe:
            for key in part:
                pipe.lindex(session.keys.queue(queue), -1 - (key.place or 0))
            raws = [raw or b"" for raw in pipe.execute()]
        stride.took([len(raw) for raw in raws])
        looked += len(part)
        for key, raw in zip(part, raws, strict=True):
            record = JobRecord(raw, queue, session, place=key.place)
            if record.digest == key.digest:
                found.append(record)
                del wanted[key.digest]
        require_room(found)
    end = end_of(seconds)
    near = min((key.place or 0 for key in wanted.values()), default=0) - NEAR
    # Those before it can only have been taken: it is now nearer to the end than it was.
    for cursor, most in ((max(0, near), len(placed) + NEAR), (0, None)):
        # An id among the bytes is seen faster than a digest of all of them is made.
        jid = next(iter(wanted.values())).jid if len(wanted) == 1 else ""
        scan = QueueScan(queue, session, [], None, str(cursor), jid=jid)
        while wanted and not scan.done and time.monotonic() < end:
            for job in scan.next():
                if wanted.pop(job.digest, None) is not None:
                    found.append(job)
            require_room(found)
            if most is not None and scan.scanned > most:
                break
    return found
