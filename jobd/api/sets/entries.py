"""An entry of a sorted set, a job and its time, and what its set can do with it."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable, Iterator, Mapping

from jobd.ambient import clock
from jobd.api.reading import batches
from jobd.api.records import JobRecord, is_plain, weight
from jobd.api.session import Change, Session, session_or_default
from jobd.api.sets.deaths import tell_death
from jobd.api.sets.steps import Step, Steps, kept_out
from jobd.errors import ArgumentError, PayloadError
from jobd.jobs.times import When
from jobd.store import scripts
from jobd.wire.transitions import with_retry_by_hand

_KEY = re.compile(r"(-?(?:inf|[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?))-(.+)", re.DOTALL)


class SortedEntry(JobRecord):
    """A job that waits for its time, or that has died. Its set makes it.

    Attributes:
        score: when it runs next, or when it died: seconds since 1970.
        parent: the set that it is in.

    Example:
        >>> for entry in api.retries.page():  # doctest: +SKIP
        ...     print(entry.at, entry.display_class, entry.error_message)
    """

    def __init__(self, value: bytes, score: float, parent: SortedSet, api: Session) -> None:
        super().__init__(value, None, api)
        self.score = score
        self.parent = parent

    def _identity(self) -> tuple[object, ...]:
        return (self.value, self.score, self.parent.name)

    @property
    def at(self) -> datetime.datetime | None:
        """The score as a time (UTC); None where it is none."""
        try:
            return datetime.datetime.fromtimestamp(self.score, datetime.UTC)
        except (OverflowError, ValueError, OSError):
            return None

    @property
    def waits(self) -> float:
        """Seconds until its time; below zero when that has passed."""
        return self.score - clock.now() if math.isfinite(self.score) else self.score

    @property
    def key(self) -> str:
        """What stands for it in a URL, as on Sidekiq's pages: ``SCORE-JID``. One without a usable
        id has a digest of its bytes instead; see :meth:`JobSet.find`."""
        jid = self.jid
        plain = is_plain(jid)
        return f"{self.score!r}-{jid if plain else '~' + self.digest}"

    @property
    def failed(self) -> bool:
        """Whether it has failed before."""
        return bool(self.error_class or self.error_message)

    def delete(self) -> bool:
        """Delete it; one script. Returns whether it was still there, as do all of these."""
        return self.parent.delete(self) == 1

    def reschedule(self, when: When) -> bool:
        """Give it another time; one script.

        Args:
            when: as for ``perform_at``: seconds since 1970, seconds from now (below
                1,000,000,000), a timedelta or an aware datetime.
        """
        return self.parent.reschedule(when, self) == 1

    def add_to_queue(self) -> bool:
        """Put it into its queue now; one script. A malformed job stays where it is."""
        return self.parent.add_to_queue(self) == 1

    def retry(self, changes: Mapping[str, object] | None = None) -> bool:
        """Put it into its queue now, without using up one of its retries; one script.

        Args:
            changes: fields of the payload to replace, e.g. ``{"args": [8]}``.

        Raises:
            ArgumentError: a change is not acceptable.
        """
        return self.parent.retry(self, changes=changes) == 1

    def replace(self, changes: Mapping[str, object]) -> bool:
        """Put it into its queue now, with *changes*, and what it was into the trash; one script.
        See :meth:`JobSet.replace`."""
        return self.parent.replace(self, changes)

    def kill(self) -> bool:
        """Move it to the dead set; one script."""
        return self.parent.kill(self) == 1


def parsed(key: str) -> tuple[float, str]:
    """The score and the id, or ``~`` and the digest, of a :attr:`SortedEntry.key`.

    Raises:
        ArgumentError: it is none.
    """
    parts = _KEY.fullmatch(key)
    try:
        if parts is not None:
            return float(parts[1]), parts[2]
    except ValueError:
        pass
    raise ArgumentError(f"{key[:200]!r} does not stand for a job: it must be SCORE-JID")


class SortedSet:
    """A sorted set as its entries know it: what it does with some of them."""

    name: str
    """Of the key, without a prefix."""

    def __init__(self, api: Session | None = None) -> None:
        self._api = session_or_default(api)
        self._key: str = getattr(self._api.keys, self.name)
        self._steps = Steps(self._api, self._key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def delete(self, *entries: SortedEntry) -> int:
        """Delete these entries; a script for each 100.

        Returns:
            How many were still there, as do all of these.
        """
        return self._in_batches("delete", entries, self._steps.delete)

    def cancel(self, *entries: SortedEntry) -> int:
        """Delete these entries for :func:`jobd.cancel`; otherwise as :meth:`delete`."""
        return self._in_batches("cancel", entries, self._steps.delete)

    def add_to_queue(self, *entries: SortedEntry) -> int:
        """Put these into their queues now; a script for each 100. Malformed ones stay.

        Raises:
            ConflictError, RefusedError: as for :meth:`retry`.
        """
        return self._in_batches("add_to_queue", entries, self._steps.add_to_queue)

    def retry(self, *entries: SortedEntry, changes: Mapping[str, object] | None = None) -> int:
        """Put these into their queues now, without using up one of their retries.

        Cost: a script for each 100. Malformed ones stay, and so do those that cannot come back:
        another unique job like them is there, or the key of their queue has another type.

        Args:
            changes: fields of the payload to replace, as for a push by name.

        Raises:
            ArgumentError: a change is not acceptable.
            ConflictError, RefusedError: none of them was put there, for that reason.
        """
        return self._in_batches(
            "retry", entries, lambda action, batch: self._steps.retry(action, batch, changes)
        )

    def replace(self, entry: SortedEntry, changes: Mapping[str, object]) -> bool:
        """Put this entry into its queue now, with changes; one script.

        Otherwise as :meth:`retry`, but what it was goes into the trash
        (:meth:`~jobd.api.session.Session.acting_as`).

        Args:
            changes: fields of the payload to replace, as for a push by name.

        Returns:
            Whether it was still there.

        Raises:
            ArgumentError: as for :meth:`replacement`.
            ConflictError: it is a dead unique job, and another one like it is there.
        """
        queue, pushed = self.replacement(entry, changes)
        keys = [self._key, self._api.keys.queues, self._api.keys.queue(queue)]
        done = self._action("edit").call_undoable(
            scripts.REPLACE, keys, [queue, entry.value, pushed], went_to=f"queue:{queue}"
        )
        if isinstance(done, list):
            raise kept_out(done[1])
        return bool(done)

    def replacement(self, entry: SortedEntry, changes: Mapping[str, object]) -> tuple[str, bytes]:
        """The queue and the payload of the job that :meth:`replace` makes.

        Raises:
            ArgumentError: a change is not acceptable, or the entry is no JSON object.
        """
        try:
            return with_retry_by_hand(entry.value, clock.now(), changes)
        except PayloadError as error:
            raise ArgumentError(f"this entry cannot be changed: {error}") from error

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
            notify_failure: call the application's death handlers; then it is a script for each.
            ex: the exception for them; by default one that says that the job was killed by hand.
        """
        if not (notify_failure and self._api.app.death_handlers):
            return self._in_batches("kill", entries, self._steps.kill)
        action, killed = self._action("kill"), 0
        for entry in entries:
            if self._steps.kill(action, [entry]):
                killed += 1
                tell_death(self._api.app, entry.value, ex)
        return killed

    def _entries(self, found: list[bytes]) -> Iterator[SortedEntry]:
        """Entries and their scores, in turn, as scripts tell them."""
        return map(self._entry, found[::2], found[1::2])

    def _entry(self, raw: bytes, score: bytes) -> SortedEntry:
        return SortedEntry(raw, float(score), self, self._api)

    def _action(self, name: str, ref: str | None = None) -> Change:
        return Change(self._api, name, self.name, ref)

    def _in_batches(
        self,
        name: str,
        entries: Iterable[SortedEntry],
        step: Step,
    ) -> int:
        action = self._action(name)
        changed = sum(int(step(action, batch)) for batch in batches(entries, weight))
        if action.keeps and not changed:
            raise action.keeps
        return changed
