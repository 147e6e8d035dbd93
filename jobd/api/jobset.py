"""What the sorted sets have in common: looking at their entries, and acting on them.

Every change is one script, and its condition is the exact bytes of the entry: what somebody else
has moved meanwhile is left alone, so that nothing is lost or doubled whoever acts at the same time.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jobd import hooks
from jobd.api import finding
from jobd.api.deaths import tell_death
from jobd.api.entries import SortedEntry, is_plain
from jobd.api.glob import sought
from jobd.api.groups import FailureGroups
from jobd.api.reading import Page, batches, check_bounds, portion
from jobd.api.records import weight
from jobd.api.session import Action, Session, session_or_default
from jobd.api.setscan import SetScan, SetSweep, Where
from jobd.api.setsteps import SetAction, Step, Steps, time_of
from jobd.errors import ArgumentError, PayloadError
from jobd.payload import encode_again, with_retry_by_hand
from jobd.redis import scripts
from jobd.when import When


class JobSet:
    """One of the sorted sets; use one of its subclasses.

    Args:
        api: the connection; the default one when None.

    Example:
        >>> retries = RetrySet(api)  # doctest: +SKIP
        >>> retries.size, retries.retry_all()  # doctest: +SKIP
        (17, 17)
    """

    name: str
    """Of the key, without a prefix."""

    _highest_first = False

    def __init__(self, api: Session | None = None) -> None:
        self._api = session_or_default(api)
        self._key: str = getattr(self._api.keys, self.name)
        self._steps = Steps(self._api, self._key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    # -- looking -------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """How many entries there are; one command, O(1)."""
        size: Any = self._api.redis.zcard(self._key)
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
        return next(finding.scored(self, self._api, {(score, jid)}, None), None)

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
        return finding.entries(self, self._api, keys, seconds)

    def find_job(self, jid: str) -> SortedEntry | None:
        """An entry with this id, None if there is none. Cost: O(n), in steps as :meth:`scan`."""
        # JSON may write other ids in other ways.
        return self._search(jid if is_plain(jid) else None, lambda entry: entry.jid == jid)

    def groups(self) -> FailureGroups:
        """The entries grouped by what went wrong, step by step; see :class:`FailureGroups`."""
        return FailureGroups(self.scan())

    def _search(self, match: str | None, where: Where) -> SortedEntry | None:
        return next(iter(self.scan(match, where)), None)

    def _entries(self, found: list[bytes]) -> Iterator[SortedEntry]:
        """Entries and their scores, in turn, as scripts tell them."""
        return map(self._entry, found[::2], found[1::2])

    def _entry(self, raw: bytes, score: Any) -> SortedEntry:
        return SortedEntry(raw, float(score), self, self._api)

    # -- changing ------------------------------------------------------------------------------

    def schedule(self, when: When, job: Mapping[str, Any] | bytes) -> None:
        """Put a job into this set as it is; one command.

        Args:
            when: its time, as for ``perform_at``.
            job: the payload, or its bytes.

        Raises:
            ArgumentError: the payload is no JSON.
        """
        raw = job if isinstance(job, bytes) else encode_again(dict(job))
        self._api.redis.zadd(self._key, {raw: repr(time_of(when))})

    def delete(self, *entries: SortedEntry) -> int:
        """Delete these entries; a script for each 100.

        Returns:
            How many were still there, as do all of these.
        """
        return self._in_batches("delete", entries, self._steps.delete)

    def add_to_queue(self, *entries: SortedEntry) -> int:
        """Put these into their queues now; a script for each 100. Malformed ones stay."""
        return self._in_batches("add_to_queue", entries, self._steps.add_to_queue)

    def retry(self, *entries: SortedEntry, changes: Mapping[str, Any] | None = None) -> int:
        """Put these into their queues now, without using up one of their retries.

        Cost: a script for each 100. Malformed ones stay.

        Args:
            changes: fields of the payload to replace, as for a push by name.

        Raises:
            ArgumentError: a change is not acceptable.
        """
        return self._in_batches(
            "retry", entries, lambda action, batch: self._steps.retry(action, batch, changes)
        )

    def replace(self, entry: SortedEntry, changes: Mapping[str, Any]) -> bool:
        """Put this entry into its queue now, with changes; one script.

        Otherwise as :meth:`retry`, but what it was goes into the trash
        (:meth:`~jobd.api.session.Session.acting_as`).

        Args:
            changes: fields of the payload to replace, as for a push by name.

        Returns:
            Whether it was still there.

        Raises:
            ArgumentError: a change is not acceptable, or the entry is no JSON object.
        """
        try:
            queue, pushed = with_retry_by_hand(entry.value, time.time(), changes)
        except PayloadError as error:
            raise ArgumentError(f"this entry cannot be changed: {error}") from error
        keys = [self._key, self._api.keys.queues, self._api.keys.queue(queue)]
        done = self._action("edit").call_undoable(
            scripts.REPLACE, keys, [queue, entry.value, pushed], went_to=f"queue:{queue}"
        )
        return bool(done)

    def reschedule(self, when: When, *entries: SortedEntry) -> int:
        """Give these entries another time; a script for each 100.

        Args:
            when: as for ``perform_at``.
        """
        return self._in_batches("reschedule", entries, self._steps.rescheduling(when))

    def kill(
        self,
        *entries: SortedEntry,
        notify_failure: bool = True,
        ex: BaseException | None = None,
    ) -> int:
        """Move these entries to the dead set; a script for each 100.

        Args:
            notify_failure: call the death handlers of this process; then it is a script for each.
            ex: the exception for them; by default one that says that the job was killed by hand.
        """
        if not (notify_failure and hooks.death_handlers):
            return self._in_batches("kill", entries, self._steps.kill)
        action, killed = self._action("kill"), 0
        for entry in entries:
            if self._steps.kill(action, [entry]):
                killed += 1
                tell_death(entry.value, ex)
        return killed

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
        cleared: int = self._action("clear").call_undoable(
            scripts.CLEAR, [self._key, self._api.keys.queues], [""]
        )
        return cleared

    def _action(self, name: str, ref: str | None = None) -> Action:
        return Action(self._api, name, self.name, ref)

    def _in_batches(
        self,
        name: str,
        entries: Iterable[SortedEntry],
        step: Step,
    ) -> int:
        action = self._action(name)
        return sum(int(step(action, batch)) for batch in batches(entries, weight))
