"""Going through a queue step by step, while workers take jobs from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobd.api.glob import matcher, whole
from jobd.api.reading import Stride, batches
from jobd.api.records import JobRecord, delete_queued, weight
from jobd.api.scans import Scan, Sweep
from jobd.api.session import Action, Session
from jobd.errors import ArgumentError

if TYPE_CHECKING:
    from jobd.api.queues import Queue


class QueueScan(Scan[JobRecord]):
    """A search through a queue, the next to run first, step by step.

    A step reads at most 1,000 jobs or about 4 MB. While workers take jobs none is skipped, except
    after :attr:`~jobd.api.scans.Scan.cursor` went through a URL and jobs were taken meanwhile.
    """

    def __init__(
        self,
        queue: Queue,
        session: Session,
        match: str | None,
        where: Callable[[JobRecord], bool] | None,
        cursor: str,
        *,
        hint: bytes = b"",
    ) -> None:
        super().__init__()
        self._queue = queue
        self._redis = session.redis
        self._key = session.keys.queue(queue.name)
        self._api = session
        self._where = where
        self._hint = hint
        self._matches = matcher(whole(match)) if match else None
        self._stride = Stride()
        self._offset = _offset(cursor)
        # The last jobs that were read; by one that is still there its successor is found again.
        self._read: list[bytes] = []
        self._before: bytes | None = None
        self._anchor: bytes | None = None
        self._left: int | None = None

    @property
    def cursor(self) -> str:
        return str(self._offset)

    def next(self) -> list[JobRecord]:
        if self.done:
            return []
        if self._left is None:
            self._left = max(0, self._queue.size - self._offset)
        self._relocate()
        count = min(self._stride.entries, self._left)
        raws: Any = []
        if count > 0:
            raws = self._redis.lrange(self._key, -(self._offset + count), -(self._offset + 1))
            raws.reverse()
        self._stride.took(raws)
        self.scanned += len(raws)
        records = [
            JobRecord(raw, self._queue.name, self._api, place=self._offset + at)
            for at, raw in enumerate(raws)
            if self._hint in raw and (self._matches is None or self._matches(raw))
        ]
        self._offset += len(raws)
        self._left -= len(raws)
        if raws:
            self._before, self._read = self._anchor, raws
            self._anchor = raws[-1]
        self.done = not raws or self._left <= 0
        return [job for job in records if self._where is None or self._where(job)]

    def gone(self, deleted: list[JobRecord], count: int) -> None:
        """*count* of the *deleted* have been in the queue until now: what follows has moved up."""
        self._offset -= count
        values = {job.value for job in deleted}
        kept = (raw for raw in reversed(self._read) if raw not in values)
        self._anchor = next(kept, self._before)

    def _relocate(self) -> None:
        """Find out by how much what comes next has moved, by the last job that was read."""
        if self._anchor is None or not self._offset:
            return
        if self._redis.lindex(self._key, -self._offset) == self._anchor:
            return
        pipe: Any
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.llen(self._key)
            # One that is there twice says nothing.
            pipe.lpos(self._key, self._anchor, rank=-1, count=2)
            size, places = pipe.execute()
        if len(places) == 1:
            self._offset = size - places[0]
        elif not places:
            self._offset = 0  # taken, and so is all that was read before it


class QueueSweep(Sweep):
    """Deletes the jobs of a queue that match, in bounded steps.

    Those that are pushed after it began stay.
    """

    def __init__(
        self,
        queue: Queue,
        session: Session,
        match: str | None,
        where: Callable[[JobRecord], bool] | None,
    ) -> None:
        self._scan = QueueScan(queue, session, match, where, "")
        self._action = Action(session, "delete", f"queue:{queue.name}")
        self._session = session
        self._queue = queue
        super().__init__(self._scan, self._action.ref)

    def _act(self) -> int:
        found = self._scan.next()
        deleted = 0
        for batch in batches(found, weight):
            deleted += delete_queued(self._session, self._action, self._queue.name, batch)
        self._scan.gone(found, deleted)
        return deleted


def _offset(cursor: str) -> int:
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdigit()):
        raise ArgumentError(f"{cursor!r} is no cursor of a search; leave it out to begin anew")
    return int(cursor)
