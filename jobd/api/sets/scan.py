"""Going through a sorted set step by step, in the order of the server's hash table."""

from __future__ import annotations

from collections.abc import Callable

from jobd.api.reading import STEP, STEP_BYTES, batches
from jobd.api.records import weight
from jobd.api.search.glob import matcher, plain_part
from jobd.api.search.scans import Scan, Sweep, position, predicate
from jobd.api.session import Change, Session
from jobd.api.sets.entries import SortedEntry, SortedSet
from jobd.api.sets.steps import Step
from jobd.errors import JobdError
from jobd.store import scripts
from jobd.store.protocol import Argument

Where = Callable[[SortedEntry], bool]


class SetScan(Scan[SortedEntry]):
    """A search through a sorted set, in no particular order; see :meth:`JobSet.scan`.

    Args:
        patterns: for the whole of the JSON text, all of which must match.
    """

    def __init__(
        self,
        jobs: SortedSet,
        session: Session,
        patterns: list[str],
        where: Where | None,
        cursor: str,
    ) -> None:
        super().__init__()
        self._jobs = jobs
        self._redis = session.redis
        self._key = jobs._key
        parts = map(plain_part, patterns)
        self._text, self._folds = max(parts, key=lambda part: len(part[0]), default=(b"", False))
        self._patterns = list(map(matcher, patterns))
        self._where = predicate(where)
        self._cursor = position(cursor)

    @property
    def cursor(self) -> str:
        return str(self._cursor)

    def next(self) -> list[SortedEntry]:
        if self.done:
            return []
        fold = "fold" if self._folds else ""
        how: list[Argument] = ["ZSCAN", self._cursor, STEP, STEP_BYTES, self._text, fold]
        cursor, scanned, *found = scripts.SCAN(self._redis, [self._key], how)
        self.scanned += scanned
        self._cursor = int(cursor)
        self.done = self._cursor == 0
        return list(filter(self._matches, self._jobs._entries(found)))

    def _matches(self, entry: SortedEntry) -> bool:
        # Redis has compared only a part of the pattern, and what is large not at all.
        value = entry.value.lower() if self._folds else entry.value
        if self._text not in value:
            return False
        return all(map(entry.matches, self._patterns)) and self._where(entry)


class SetSweep(Sweep):
    """An action on all entries of a set that match, in bounded steps, in no particular order."""

    def __init__(
        self,
        scan: SetScan,
        step: Step,
        action: Change,
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

    @property
    def kept(self) -> int:
        """How many entries matched and have to stay: another unique job like them is there, or the
        key of their queue has another type."""
        return self._action.kept

    @property
    def keeps(self) -> JobdError | None:
        """What keeps the first of these."""
        return self._action.keeps

    def _act(self) -> int:
        found = self._scan.next()
        return sum(int(self._step(self._action, batch)) for batch in batches(found, weight))
