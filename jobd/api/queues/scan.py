"""Going through a queue step by step, while workers take jobs from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from jobd.api.reading import BATCH, STEP, portion
from jobd.api.records import JobRecord, digest_of, is_plain
from jobd.api.search.glob import matcher
from jobd.api.search.scans import Scan, Sweep, not_a_cursor, position, predicate
from jobd.api.session import Change, Session
from jobd.store import scripts

_BACK = 20
"""Steps that a search looks back for the last job it has read."""

_ENDLESS = 2**63
"""No list is that long: Redis refuses such a place."""

_HEXADECIMAL = set("0123456789abcdef")


class _Step(NamedTuple):
    """What a step has read, behind the job with that digest, and what it has found."""

    anchor: str
    raws: list[bytes]
    found: list[JobRecord]


class QueueScan(Scan[JobRecord]):
    """A search through a queue, the next to run first, step by step.

    A step reads at most 250 jobs or about 1 MB. While workers take jobs none is skipped.

    Args:
        patterns: as for :class:`~jobd.api.sets.scan.SetScan`.
        jid: the id of what is searched for, if that is known: jobs without it are left out.
    """

    def __init__(
        self,
        queue: str,
        session: Session,
        patterns: list[str],
        where: Callable[[JobRecord], bool] | None,
        cursor: str,
        *,
        jid: str = "",
    ) -> None:
        super().__init__()
        self._queue = queue
        self._redis = session.redis
        self._key = session.keys.queue(queue)
        self._api = session
        self._where = predicate(where)
        # JSON may write other ids in other ways.
        self._hint = jid.encode() if is_plain(jid) else b""
        self._patterns = list(map(matcher, patterns))
        self._width = STEP
        # By the anchor, the last job that was read, the next one is found again.
        offset, _, self._anchor = cursor.partition("-")
        self._offset = position(offset)
        if self._offset >= _ENDLESS or not set(self._anchor) <= _HEXADECIMAL:
            raise not_a_cursor(cursor)
        self._left: int | None = None
        self._last = _Step("", [], [])

    @property
    def cursor(self) -> str:
        return f"{self._offset}-{self._anchor}" if self._anchor else str(self._offset)

    @property
    def _size(self) -> int:
        """Jobs that are in the queue now."""
        size = self._redis.llen(self._key)
        return int(size)

    def next(self) -> list[JobRecord]:
        if self.done:
            return []
        self._relocate()
        if self._left is None:
            self._left = max(0, self._size - self._offset)
        raws: list[bytes] = []
        if self._left > 0:
            raws = self._read(self._offset, min(STEP, self._left))
        self._width = len(raws) or self._width
        self.scanned += len(raws)
        records = [
            JobRecord(raw, self._queue, self._api, place=self._offset + at)
            for at, raw in enumerate(raws)
            if self._hint in raw
        ]
        self._offset += len(raws)
        self._left -= len(raws)
        found = list(filter(self.matches, records))
        self._last = _Step(self._anchor, raws, found)
        self._anchor = _anchor_of(raws)
        self.done = not raws or self._left <= 0
        return found

    def took_out(self, count: int) -> None:
        """So many of what the last step has found are no longer there: go on behind the others."""
        anchor, raws, found = self._last
        values = {job.value for job in found} if count else set()
        kept = [raw for raw in raws if raw not in values]
        self._anchor = _anchor_of(kept) or anchor
        self._offset -= count if kept else len(raws)

    def matches(self, job: JobRecord) -> bool:
        """Whether this is what is searched for."""
        return all(map(job.matches, self._patterns)) and self._where(job)

    def _relocate(self) -> None:
        """Find out by how much what comes next has moved, by the last job that was read."""
        if not self._anchor or not self._offset:
            return
        many = _jobs_of(self._anchor)
        if self._found_in(self._offset - 1, self._offset):
            return
        # Workers have taken jobs, so it is nearer to their end; seldom have some been put back.
        # A search by the server would go through all the rest, while everybody else waits.
        end, width = self._offset, self._width
        if self._left is None:  # it goes on from a cursor
            width = self._width = len(self._read(max(0, end - STEP), STEP)) or STEP
        if self._found_in(end - width, end) or self._found_in(end, end + width):
            return
        for _ in range(_BACK):
            end -= width
            if end <= 0:
                # Taken, and so is all that was read before it.
                self._offset = 0
                if self._left is not None:
                    self._left += many - 1
                return
            if self._found_in(end - width, end):
                return
        # Rather twice than never.
        if self._left is not None:
            self._left += self._offset
        self._offset = 0

    def _read(self, start: int, count: int) -> list[bytes]:
        return portion(self._redis, self._key, "tail", start, count)[1]

    def _found_in(self, first: int, end: int) -> bool:
        """Look for that job in the places from *first* to before *end*."""
        many = _jobs_of(self._anchor)
        start = max(0, first + 1 - many)
        digests: list[str] = []
        while (left := end - start - len(digests)) > 0:
            if not (raws := self._read(start + len(digests), left)):
                break
            digests += map(digest_of, raws)  # fewer than asked for, if they are large
        for behind in range(many, len(digests) + 1):
            if _anchor(digests[behind - many : behind]) == self._anchor:
                self._offset = start + behind
                return True
        return False


def _anchor_of(raws: list[bytes]) -> str:
    """What stands for the last of some jobs that follow each other, and for as many before it as
    make it the only such place among them: other programs push equal jobs. "" for none."""
    counts = Counter(raws)
    places = range(1, len(raws) + 1)
    many = next((place for place in places if counts[raws[-place]] == 1), len(raws))
    return _anchor(list(map(digest_of, raws[-many:]))) if raws else ""


def _anchor(digests: list[str]) -> str:
    return f"{len(digests):02x}{digest_of(''.join(digests).encode())[2:]}"


def _jobs_of(anchor: str) -> int:
    """For how many jobs it stands."""
    return max(1, int(anchor[:2], 16))


class QueueSweep(Sweep):
    """Deletes the jobs of a queue that match, in bounded steps.

    In a list only the ends are within reach. So each step takes the jobs that are next to run, and
    those that stay go round to the other end, all in one script; at the end the old order is back.
    Until then, newer jobs may run before older ones; pause the queue if that matters. Where nothing
    matches, nothing is touched.

    Jobs that are pushed after it began may stay. Of two sweeps of one queue at the same time, each
    may leave some.
    """

    def __init__(
        self,
        queue: str,
        session: Session,
        patterns: list[str],
        where: Callable[[JobRecord], bool] | None,
    ) -> None:
        self._looking: QueueScan | None = QueueScan(queue, session, patterns, where, "")
        self._matches = self._looking.matches
        self._action = Change(session, "delete", f"queue:{queue}")
        self._queue = queue
        self._redis = session.redis
        self._key = session.keys.queue(queue)
        self._left = 0
        self._first_kept: bytes | None = None
        self._scanned = 0
        super().__init__(self._action.ref)

    @property
    def done(self) -> bool:
        return self._looking is None and self._left <= 0

    @property
    def scanned(self) -> int:
        return self._scanned

    def _act(self) -> int:
        if self._looking is not None:
            self._look(self._looking)
            return 0
        _, raws = portion(self._redis, self._key, "tail", 0, min(self._left, BATCH))
        if self._first_kept in raws:
            # Once around; the count does not know of jobs that workers have taken.
            raws = raws[: raws.index(self._first_kept)]
        if not raws:
            self._left = 0
            return 0
        verdicts = [self._matches(JobRecord(raw, self._queue)) for raw in raws]
        if self._first_kept is None:
            kept = (raw for raw, matches in zip(raws, verdicts, strict=True) if not matches)
            # One without an id may be there twice, and says nothing.
            self._first_kept = next((raw for raw in kept if JobRecord(raw).jid), None)
        words = [
            word
            for raw, matches in zip(raws, verdicts, strict=True)
            for word in (int(matches), raw)
        ]
        deleted, moved, pushed = self._action.call_undoable(scripts.SIFT, [self._key], words)
        self._left -= deleted + moved - pushed  # those stand before what has not been looked at
        self._scanned += deleted + moved
        return int(deleted)

    def _look(self, scan: QueueScan) -> None:
        """Look for a match, one step."""
        if scan.next():
            self._looking, self._left = None, scan._size
        elif scan.done:
            self._looking = None
