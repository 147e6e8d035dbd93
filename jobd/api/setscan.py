"""Going through a sorted set step by step, in the order of the server's hash table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobd.api.entries import SortedEntry
from jobd.api.glob import matcher, sent, whole
from jobd.api.reading import Stride, batches
from jobd.api.records import weight
from jobd.api.scans import Scan, Sweep, position, predicate
from jobd.api.session import Action, Session

if TYPE_CHECKING:
    from jobd.api.jobset import JobSet
    from jobd.api.setsteps import Step

Where = Callable[[SortedEntry], bool]

MOST_MATCHED = 250
"""Entries that one command compares with a pattern. The server reads each of them to its end, while
everybody else waits: 1,000 large ones would take it more than 10 ms."""


class SetScan(Scan[SortedEntry]):
    """A search through a sorted set, in no particular order; see :meth:`JobSet.scan`."""

    def __init__(
        self, jobs: JobSet, session: Session, match: str | None, where: Where | None, cursor: str
    ) -> None:
        super().__init__()
        self._jobs = jobs
        self._redis = session.redis
        self._key = jobs._key
        self._match = sent(whole(match)) if match else None
        self._pattern = matcher(whole(match)) if match else None
        self._where = predicate(where)
        self._cursor = position(cursor)
        self._stride = Stride()

    @property
    def cursor(self) -> str:
        return str(self._cursor)

    def next(self) -> list[SortedEntry]:
        if self.done:
            return []
        answer: Any = self._redis.zscan(
            self._key, self._cursor, match=self._match, count=self._stride.entries
        )
        cursor, found = answer
        # With a pattern only finds are sent, and what is not sent says nothing of its size.
        self.scanned += len(found) if self._match is None else self._stride.entries
        if found or self._match is not None:
            self._stride.took([raw for raw, _ in found] or [b""])
        if self._match is not None:
            self._stride.entries = min(self._stride.entries, MOST_MATCHED)
        self._cursor = int(cursor)
        self.done = self._cursor == 0
        entries = (self._jobs._entry(raw, score) for raw, score in found)
        return list(filter(self._matches, entries))

    def _matches(self, entry: SortedEntry) -> bool:
        # Redis has compared only a part of the pattern, and with all that is stored.
        if self._pattern is not None and not entry.matches(self._pattern):
            return False
        return self._where(entry)


class SetSweep(Sweep):
    """An action on all entries of a set that match, in bounded steps, in no particular order."""

    def __init__(
        self,
        scan: SetScan,
        step: Step,
        action: Action,
    ) -> None:
        self._scan = scan
        self._step = step
        self._action = action
        super().__init__(action.ref)

    @property
    def done(self) -> bool:
        return self._scan.done

    @property
    def scanned(self) -> int:
        return self._scan.scanned

    @property
    def cursor(self) -> str:
        """Where it is; give it, and :attr:`ref`, to a new sweep to go on."""
        return self._scan.cursor

    def _act(self) -> int:
        found = self._scan.next()
        return sum(int(self._step(self._action, batch)) for batch in batches(found, weight))
