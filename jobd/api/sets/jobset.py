"""What the sorted sets have in common: looking at their entries, and acting on them.

Every change is one script, and its condition is the exact bytes of the entry: what somebody else
has moved meanwhile is left alone, so that nothing is lost or doubled whoever acts at the same time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping

from jobd.api.reading import MOST, STEP_BYTES, Page, check_bounds, portion
from jobd.api.records import is_plain
from jobd.api.search.glob import sought
from jobd.api.search.groups import FailureGroups
from jobd.api.search.scans import end_of, require_room
from jobd.api.sets.entries import SortedEntry, SortedSet, parsed
from jobd.api.sets.scan import SetScan, SetSweep, Where
from jobd.api.sets.steps import SetAction, time_of
from jobd.jobs.times import When
from jobd.store import scripts
from jobd.wire.payload import encode_again


class JobSet(SortedSet):
    """One of the sorted sets; use one of its subclasses.

    Args:
        api: the connection; the default one when None.

    Example:
        >>> retries = RetrySet(api)  # doctest: +SKIP
        >>> retries.size, retries.retry_all()  # doctest: +SKIP
        (17, 17)
    """

    _highest_first = False

    # -- looking -------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many entries there are; one command, O(1)."""
        size = self._api.redis.zcard(self._key)
        return int(size)

    def page(
        self, start: int = 0, count: int = 25, *, highest_first: bool | None = None
    ) -> Page[SortedEntry]:
        """Some of the entries by their scores: next one first, but of the dead the last one.

        Cost: one script; O(log n + *count*). Where the entries are large it ends after about 4 MB,
        so the page is shorter.

        Args:
            start: rank of the first one, from 0.
            count: how many, up to 1,000.
            highest_first: the other order, or the usual one by name.

        Raises:
            ArgumentError: *start* or *count* is out of bounds.
        """
        check_bounds(start, count)
        order = self._highest_first if highest_first is None else highest_first
        kind = "down" if order else "up"
        size, found = portion(self._api.redis, self._key, kind, start, count)
        return Page(tuple(self._entries(found)), start, size)

    def scan(
        self,
        match: str | None = None,
        where: Where | None = None,
        *,
        pattern: str | None = None,
        cursor: str = "",
    ) -> SetScan:
        """A search that goes on step by step, in no particular order.

        Cost of a step: one command, which looks at at most 250 entries or about 1 MB. Entries that
        are there all the time are found at least once, and seldom twice.

        Args:
            match: text that is somewhere in the JSON text, in upper and lower case as it is.
                What is encrypted is not searched.
            where: tested on each entry that matches.
            pattern: a pattern of Redis (``*``, ``?``, ``[a-c]``) for the JSON text; without a
                ``*``, anywhere in it. Between two stars, what has a ``?`` or ``[...]`` may be 32
                bytes long. Redis itself looks for one plain text of the pattern, up to 32 bytes.
            cursor: of an earlier search for the same, to go on with it.

        Raises:
            ArgumentError: the cursor is none, or the pattern is too long.

        Example:
            >>> api.dead.scan("Timeout").first(25)  # doctest: +SKIP
        """
        return SetScan(self, self._api, sought(match, pattern), where, cursor)

    def __iter__(self) -> Iterator[SortedEntry]:
        """All entries in no particular order, read in bounded steps as they are needed."""
        return iter(self.scan())

    def fetch(self, score: float, jid: str) -> SortedEntry | None:
        """The entry with this score and this id, None if there is none.

        Cost: a script that looks at the entries with that score; another one for each 4 MB of them.
        """
        return next(self._scored({(score, jid)}, None), None)

    def find(self, key: str) -> SortedEntry | None:
        """The entry that :attr:`SortedEntry.key` stands for; costs as :meth:`fetch`.

        Raises:
            ArgumentError: *key* is none.
        """
        return next(iter(self.find_all([key], seconds=None)), None)

    def find_all(self, keys: Iterable[str], *, seconds: float | None = 1.0) -> list[SortedEntry]:
        """The entries that these keys stand for, as far as they are still there.

        Cost: a script that looks at the entries with the times in the keys; another one for each
        4 MB of them.

        Args:
            keys: of :attr:`SortedEntry.key`.
            seconds: for which that search may last; None for as long as it takes.

        Raises:
            ArgumentError: one of the keys is none.
        """
        found: list[SortedEntry] = []
        for entry in self._scored(set(map(parsed, keys)), seconds):
            found.append(entry)
            require_room(found)
        return found

    def find_job(self, jid: str) -> SortedEntry | None:
        """An entry with this id, None if there is none. Cost: O(n), as :meth:`seek`."""
        return next((entry for _, found in self.seek(jid) for entry in found), None)

    def seek(self, jid: str) -> Iterator[tuple[int, list[SortedEntry]]]:
        """Look for an id, in the order of the scores, step by step: faster than :meth:`scan`, but
        no other process can go on with it.

        Cost of a step: one script, which looks at at most 1,000 entries or about 1 MB. Entries that
        are there all the time are found at least once.

        Yields:
            How many entries a step has looked at, and those with that id.
        """
        # JSON may write other ids in other ways.
        hint = jid if is_plain(jid) else ""
        last = score = b""
        while True:
            last, score, looked, *found = scripts.SEEK(
                self._api.redis, [self._key], [last, score, MOST, STEP_BYTES, hint]
            )
            yield looked, [entry for entry in self._entries(found) if entry.jid == jid]
            if not score:
                return

    def groups(self) -> FailureGroups:
        """The entries grouped by what went wrong, step by step; see :class:`FailureGroups`."""
        return FailureGroups(self.scan())

    def _scored(
        self, wanted: set[tuple[float, str]], seconds: float | None
    ) -> Iterator[SortedEntry]:
        """The entries with these scores and these ids (or ``~`` and digests), step by step."""
        left, offset, end = sorted(wanted), 0, end_of(seconds)
        while left and time.monotonic() < end:
            words = [
                word
                for score, name in left[:MOST]
                # JSON may write other ids in other ways.
                for word in (repr(score), name if is_plain(name) else "")
            ]
            done, offset, *found = scripts.FIND_ENTRIES(
                self._api.redis, [self._key], [STEP_BYTES, offset, *words]
            )
            for entry in self._entries(found):
                for name in (entry.jid, f"~{entry.digest}"):
                    if (entry.score, name) in wanted:
                        wanted.discard((entry.score, name))
                        yield entry
            left = left[done:]
            # What has been found needs no further look.
            while left and left[0] not in wanted:
                left, offset = left[1:], 0

    # -- changing ------------------------------------------------------------------------------

    def schedule(self, when: When, job: Mapping[str, object] | bytes) -> None:
        """Put a job into this set as it is; one command.

        Args:
            when: its time, as for ``perform_at``.
            job: the payload, or its bytes.

        Raises:
            ArgumentError: the payload is no JSON.
        """
        raw = job if isinstance(job, bytes) else encode_again(dict(job))
        self._api.redis.zadd(self._key, {raw: repr(time_of(when))})

    def sweep(
        self,
        action: SetAction,
        match: str | None = None,
        where: Where | None = None,
        *,
        pattern: str | None = None,
        when: When | None = None,
        cursor: str = "",
        ref: str | None = None,
    ) -> SetSweep:
        """Do something with all entries that match, step by step; see :class:`SetSweep`.

        Args:
            action: what to do with them.
            match, where, pattern, cursor: as for :meth:`scan`.
            when: the new time for ``reschedule``, as for ``perform_at``.
            ref: of the sweep that is continued. Its steps raise a ConflictError if that was
                somebody else's, another action's or another set's.

        Raises:
            ArgumentError: there is no such action, or it needs a time.

        Example:
            >>> group = api.dead.groups().run()[0]  # doctest: +SKIP
            >>> api.dead.sweep("retry", where=in_group(group.key)).run()  # doctest: +SKIP
            412
        """
        scan = self.scan(match, where, pattern=pattern, cursor=cursor)
        step = self._steps.named(action, when)
        return SetSweep(scan, step, self._action(action, ref))

    def retry_all(self) -> int:
        """Put all entries into their queues. Cost: O(n log n), in bounded steps."""
        return self.sweep("retry").run()

    def clear(self) -> int:
        """Delete all entries; one script, O(1).

        Into the trash it goes as a whole (:meth:`~jobd.api.session.Session.acting_as`).
        """
        action, keys = self._action("clear"), self._api.keys
        cleared: int = action.call_undoable(
            scripts.CLEAR,
            [self._key, keys.queues, keys.departed, keys.departed_jobs(action.ref)],
            [""],
        )
        return cleared
