"""The trash: what people have deleted or killed, kept for a day, and the way back.

Only what was done by somebody's name is kept (:meth:`~jobd.api.session.Session.acting_as`). It is
moved there by the same script that deletes it, and back by scripts of bounded size, so that a job
is in one place at any moment. A queue or a set that was cleared goes there as a whole. After a day
Redis forgets it.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast

from jobd.ambient import clock
from jobd.api.queued import located, mark
from jobd.api.reading import BATCH, MOST, Page, Stride, check_bounds, integer, number, portion, text
from jobd.api.records import JobRecord
from jobd.api.session import Change, Session, session_or_default
from jobd.api.sets.steps import kept_out
from jobd.errors import ArgumentError, ConflictError
from jobd.store import scripts
from jobd.store.protocol import Argument
from jobd.text.translatable import Text

_FIELDS = ("who", "action", "origin", "went_to", "jobs", "at")
"""Of a description; another one can be as large as a job (see ``replace.lua``)."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """Something that was deleted.

    Attributes:
        ref: its id; that of the action in the audit log.
        who, action: by whom, and what was done: ``delete``, ``clear``, ``kill`` or ``edit``.
        origin: where the jobs were: ``queue:NAME`` or the name of a set.
        went_to: where they went to, if it was not a plain deletion: the name of a set, or
            ``queue:NAME`` for a job that was edited.
        jobs: how many there were.
        at, until: when that was, and until when it can be undone: seconds since 1970.
    """

    ref: str
    who: str
    action: str
    origin: str
    went_to: str
    jobs: int
    at: float
    until: float
    _api: Session = field(repr=False, compare=False)

    def page(self, start: int = 0, count: int = 25) -> Page[JobRecord]:
        """Some of the jobs that are still there; one round trip, O(*count*).

        Raises:
            ArgumentError: *start* or *count* is out of bounds.
        """
        check_bounds(start, count)
        key, kind = self._api.keys.trashed_jobs(self.ref), "head" if self._queue else "up"
        size, raws = portion(self._api.redis, key, kind, start, count)
        if not self._queue:
            raws = raws[::2]
        records = (JobRecord(raw, self._queue or None, self._api) for raw in raws)
        return Page(tuple(records), start, size)

    def restore(self, seconds: float | None = None) -> int:
        """Put the jobs back where they were.

        Those of a queue become the next to run, in their old order; those of a set have their old
        times. Killed jobs come back only as far as they are still dead. A job that was edited
        leaves its queue, and is again what it was. A unique job stays in the trash while another
        one like it is there.

        Cost: a script for each 100 jobs, each O(100 log n); for an edited job a search through its
        queue, O(n), in bounded steps. After a crash in between every job is in one of the two
        places, and calling it again goes on.

        Args:
            seconds: stop after about so long; call it again for the rest.

        Returns:
            How many have been put back.

        Raises:
            ConflictError: the job as it was edited is not in its queue any more, since a worker has
                taken it, or somebody has moved or deleted it: it may have run, so what it was must
                not run as well. Or all of them are unique, and others like them are there.
                Nothing was changed; what was deleted stays in the trash.
        """
        keys, queue, edited = self._api.keys, self._queue, _queue_of(self.went_to)
        home = keys.queue(queue) if queue else self._set_key(self.origin)
        away, kind = home, ""
        if edited:
            away, kind = keys.queue(edited), "queue"
        elif self.went_to:
            away, kind = self._set_key(self.went_to), "set"
        places = [
            *(keys.trash, keys.trashed(self.ref), keys.trashed_jobs(self.ref)),
            *(home, keys.queues, away),
        ]
        action = Change(self._api, "restore", self.origin)
        arguments: list[Argument] = [self.ref, queue, kind, BATCH]
        if edited:
            return self._restore_edited(edited, action, places, arguments)
        end = None if seconds is None else time.monotonic() + seconds
        total, left, kept, holder = 0, 1, 0, b""
        while left > kept:
            restored, left, stay, who = action.call(
                scripts.RESTORE, places, [*arguments, 0, "", kept]
            )
            total, kept, holder = total + restored, kept + stay, who or holder
            if end is not None and time.monotonic() >= end:
                break
        if kept and not total:
            raise kept_out(holder)
        return total

    def _restore_edited(
        self, queue: str, action: Change, keys: list[str], arguments: list[Argument]
    ) -> int:
        pushed = cast(
            "bytes | None", self._api.redis.hget(self._api.keys.trashed(self.ref), "pushed")
        )
        edited = [] if pushed is None else [(None, pushed)]
        places = (place for [(place, _)] in located(self._api, queue, edited))
        for place in itertools.chain(places, [0]):
            restored, left, kept, holder = action.call(
                scripts.RESTORE, keys, [*arguments, place, mark(action), 0]
            )
            if kept:
                raise kept_out(holder)
            if not left:
                return int(restored)
        raise ConflictError(
            Text(
                "The job as it was edited is not in queue %(queue)s any more: a worker has "
                "taken it, or somebody has moved or deleted it. Nothing was restored; what "
                "it was stays in the trash.",
                queue=queue,
            )
        )

    def purge(self) -> int:
        """Delete the jobs for good, now; one script, O(1). Returns how many they were."""
        return _purge(self._api, Change(self._api, "purge", self.origin), self.ref)

    @property
    def _queue(self) -> str:
        return _queue_of(self.origin)

    def _set_key(self, name: str) -> str:
        keys = self._api.keys
        sets = {"schedule": keys.schedule, "retry": keys.retry, "dead": keys.dead}
        if name not in sets:
            raise ArgumentError(
                f"deletion {self.ref} was made from {name!r}, which this version does not know"
            )
        return sets[name]


def _purge(session: Session, action: Change, ref: str) -> int:
    keys = session.keys
    places = [keys.trash, keys.trashed(ref), keys.trashed_jobs(ref)]
    places += [keys.departed, keys.departed_jobs(ref)]
    return int(action.call(scripts.PURGE, places, [ref]))


def _queue_of(place: str) -> str:
    """The name in ``queue:NAME``; empty for another place."""
    kind, _, name = place.partition(":")
    return name if kind == "queue" else ""


class Trash:
    """All deletions that can be undone.

    Args:
        api: the connection; the default one when None.

    Example:
        >>> alice = api.acting_as("alice")  # doctest: +SKIP
        >>> alice.queue("mail").clear()  # doctest: +SKIP
        1700
        >>> alice.trash.page().entries[0].restore()  # doctest: +SKIP
        1700
    """

    def __init__(self, api: Session | None = None) -> None:
        self._api = session_or_default(api)

    def page(self, start: int = 0, count: int = 25) -> Page[Deletion]:
        """Some of the deletions, the last one first; some round trips, O(log n + *count*).

        Raises:
            ArgumentError: *start* or *count* is out of bounds.
        """
        check_bounds(start, count)
        redis, keys = self._api.redis, self._api.keys
        with redis.pipeline(transaction=False) as pipe:  # a full server refuses MULTI
            pipe.zcount(keys.trash, repr(clock.now()), "+inf")
            pipe.zrange(keys.trash, start, start + count - 1, desc=True, withscores=True)
            size, found = pipe.execute()
        deletions = self._read([(text(ref), float(until)) for ref, until in found])
        return Page(tuple(deletions), start, size)

    def __iter__(self) -> Iterator[Deletion]:
        """The last 1,000 deletions."""
        return iter(self.page(0, MOST))

    def __getitem__(self, ref: str) -> Deletion:
        """The deletion of that id; two commands.

        Raises:
            KeyError: there is none, or it is more than a day old.
        """
        return self.find_all([ref])[ref]

    def find_all(self, refs: Iterable[str]) -> dict[str, Deletion]:
        """Those of these deletions that can still be undone, by their ids."""
        wanted = list(dict.fromkeys(refs))
        if not wanted:
            return {}
        untils = self._api.redis.zmscore(self._api.keys.trash, wanted)
        known = [
            (ref, float(until))
            for ref, until in zip(wanted, untils, strict=True)
            if until is not None
        ]
        return {deletion.ref: deletion for deletion in self._read(known)}

    def empty(self, seconds: float | None = None) -> int:
        """Delete everything in it for good: on a full server, that frees memory at once.

        Cost: a script for each deletion, O(1).

        Args:
            seconds: stop after about so long; call it again for the rest.

        Returns:
            How many jobs there were.
        """
        action, total = Change(self._api, "purge", "trash"), 0
        end = None if seconds is None else time.monotonic() + seconds
        while refs := self._refs():
            for ref in refs:
                total += _purge(self._api, action, ref)
                if end is not None and time.monotonic() >= end:
                    return total
        return total

    def _refs(self) -> list[str]:
        found = cast("list[bytes]", self._api.redis.zrange(self._api.keys.trash, 0, BATCH - 1))
        return list(map(text, found))

    def _read(self, refs: list[tuple[str, float]]) -> list[Deletion]:
        found: list[Deletion] = []
        stride, done = Stride(), 0
        while part := refs[done : done + stride.entries]:
            done += len(part)
            with self._api.redis.pipeline(transaction=False) as pipe:
                for ref, _ in part:
                    pipe.hmget(self._api.keys.trashed(ref), _FIELDS)
                described = pipe.execute()
            stride.took([sum(len(word or b"") for word in words) for words in described])
            found += [
                Deletion(
                    ref=ref,
                    who=text(who or b""),
                    action=text(action or b""),
                    origin=text(origin or b""),
                    went_to=text(went_to or b""),
                    jobs=integer(jobs),
                    at=number(at),
                    until=until,
                    _api=self._api,
                )
                for (ref, until), (who, action, origin, went_to, jobs, at) in zip(
                    part, described, strict=True
                )
                if origin is not None  # else it has expired just now
            ]
        return found
