"""A queue: the jobs that wait in it, and what people do to it.

Workers take jobs from one end while clients push at the other, so a job's place is only a hint;
what decides is its bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from jobd.ambient import clock
from jobd.api.queued import Job, act_on_queued, delete_queued, mark
from jobd.api.queues.finding import QueuedKey, find_queued
from jobd.api.queues.scan import QueueScan, QueueSweep
from jobd.api.queues.slo import Slo, objectives
from jobd.api.reading import BATCH, STEP, STEP_BYTES, Page, check_bounds, members, portion, text
from jobd.api.records import JobRecord
from jobd.api.search.glob import sought
from jobd.api.search.scans import end_of
from jobd.api.session import Change, Session, session_or_default
from jobd.errors import ArgumentError, PayloadError
from jobd.store import scripts
from jobd.store.protocol import Argument
from jobd.wire.options import check_queue
from jobd.wire.transitions import with_changes, with_queue


@dataclass(frozen=True, slots=True)
class QueueSummary:
    """A queue at one moment.

    Attributes:
        size: jobs that wait.
        latency: seconds that the oldest of them has waited; 0.0 for an empty queue.
        paused: no worker of jobd takes jobs from it, and none of Sidekiq Pro.
        slo: within which time its jobs are to start, and how many do not; None without objective.
    """

    name: str
    size: int
    latency: float
    paused: bool
    slo: Slo | None = None


class Queue:
    """One queue, whether anything is in it or not.

    Args:
        name: its name.
        api: the connection; the default one when None.

    Example:
        >>> queue = Queue("default", api)  # doctest: +SKIP
        >>> queue.size, queue.latency, queue.paused  # doctest: +SKIP
        (17, 0.25, False)
    """

    def __init__(self, name: str, api: Session | None = None) -> None:
        self.name = name
        self._api = session_or_default(api)
        self._key = self._api.keys.queue(name)

    def __repr__(self) -> str:
        return f"Queue({self.name!r})"

    @classmethod
    def all(cls, api: Session | None = None) -> list[Queue]:
        """All known queues by name. Cost: O(queues), in steps of 1,000."""
        session = session_or_default(api)
        names = sorted(text(name) for name in members(session.redis, session.keys.queues))
        return [cls(name, session) for name in names]

    # -- looking -------------------------------------------------------------------------------

    def summary(self) -> QueueSummary:
        """Size, latency and pause; three commands."""
        return QueueSummary(self.name, self.size, self.latency, self.paused)

    @property
    def size(self) -> int:
        """Jobs that wait; one command, O(1)."""
        size = self._api.redis.llen(self._key)
        return int(size)

    @property
    def latency(self) -> float:
        """Seconds that the oldest job has waited, 0.0 if there is none; one script, O(1)."""
        return next(waits(self._api, [self.name]))[1]

    @property
    def paused(self) -> bool:
        """Whether workers leave it alone; one command, O(1)."""
        return bool(self._api.redis.sismember(self._api.keys.paused, self.name))

    def page(
        self, start: int = 0, count: int = 25, *, newest_first: bool = False
    ) -> Page[JobRecord]:
        """Some of its jobs, the next to run first unless told otherwise.

        Cost: one script; O(*count*), and a little for the way to *start*. Where the jobs are large
        it ends after about 4 MB, so the page is shorter.

        Args:
            start: place of the first one, from 0.
            count: how many, up to 1,000.

        Raises:
            ArgumentError: *start* or *count* is out of bounds.

        Example:
            >>> [job.jid for job in Queue("default", api).page(0, 2)]  # doctest: +SKIP
            ['1befef82961e0772dce5ae4d', 'c0ffee82961e0772dce5ae4d']
        """
        check_bounds(start, count)
        end = "head" if newest_first else "tail"
        size, raws = portion(self._api.redis, self._key, end, start, count)
        read = range(start, start + count)
        places = (max(0, size - 1 - place) if newest_first else place for place in read)
        found = (
            JobRecord(raw, self.name, self._api, place=place)
            for raw, place in zip(raws, places, strict=False)
        )
        return Page(tuple(found), start, size)

    def __iter__(self) -> Iterator[JobRecord]:
        """All its jobs, the next to run first, read in bounded steps as they are needed."""
        return iter(self.scan())

    def scan(
        self,
        match: str | None = None,
        where: Callable[[JobRecord], bool] | None = None,
        *,
        pattern: str | None = None,
        cursor: str = "",
    ) -> QueueScan:
        """A search that goes on step by step, the next to run first; see :class:`QueueScan`.

        Args:
            match, where, pattern, cursor: as for :meth:`JobSet.scan`.

        Raises:
            ArgumentError: as for :meth:`JobSet.scan`.
        """
        return QueueScan(self.name, self._api, sought(match, pattern), where, cursor)

    def find_job(self, jid: str) -> JobRecord | None:
        """The job with this id, None if it is not here.

        Cost: O(n) of the queue, in steps of at most 250 jobs or about 1 MB.
        """
        scan = QueueScan(self.name, self._api, [], lambda job: job.jid == jid, "", jid=jid)
        return next(iter(scan), None)

    def find_all(
        self, keys: Iterable[QueuedKey], *, seconds: float | None = 1.0
    ) -> list[JobRecord]:
        """The jobs that these keys stand for, as far as they are still here.

        Cost: one round trip for those that have kept their places; a search for the others.

        Args:
            keys: what stands for them, e.g. in a URL.
            seconds: for which that search may last; None for as long as it takes.
        """
        return find_queued(self.name, self._api, keys, seconds)

    # -- changing ------------------------------------------------------------------------------

    def pause(self) -> bool:
        """Let no worker take jobs from it any more; one script.

        Workers of jobd and of Sidekiq Pro obey from their next claim on; jobs that they have
        already claimed run. Those of the free Sidekiq do not: quiet them as well
        (:meth:`Process.quiet`).

        Returns:
            Whether that is new.
        """
        return self._set_paused("pause", "SADD")

    def unpause(self) -> bool:
        """End the pause; one script. Workers take jobs again within two seconds."""
        return self._set_paused("unpause", "SREM")

    def _set_paused(self, name: str, command: str) -> bool:
        call = self._action(name).call
        return bool(call(scripts.PAUSE, [self._api.keys.paused], [self.name, command]))

    def delete(self, *jobs: JobRecord | bytes) -> int:
        """Delete these jobs, each by its bytes.

        Cost: a script for each 100, O(distance to the nearer end of the queue); in the middle of a
        million jobs several, each of which ends after some milliseconds. Jobs that are not where
        they were read are searched for together, once, from 10,000 places behind that towards
        those that run next; what is given as bytes, in the whole queue: O(n), in bounded steps.

        Returns:
            How many were still there.
        """
        return delete_queued(self._api, self._action("delete"), self.name, _jobs(jobs))

    def cancel(self, *jobs: JobRecord | bytes) -> int:
        """Delete these jobs for :func:`jobd.cancel`; otherwise as :meth:`delete`."""
        return delete_queued(self._api, self._action("cancel"), self.name, _jobs(jobs))

    def replace(self, job: JobRecord, changes: Mapping[str, object]) -> bool:
        """Replace this job by a changed one: at its place, or, with another ``queue``, behind all
        others there. What it was goes into the trash
        (:meth:`~jobd.api.session.Session.acting_as`).

        Cost: as for :meth:`delete`.

        Args:
            changes: fields of the payload to replace, as for a push by name.

        Returns:
            Whether it was still there; a worker may have claimed it.

        Raises:
            ArgumentError: as for :meth:`replacement`.
        """
        target, payload = self.replacement(job, changes)
        action, keys = self._action("edit"), self._api.keys
        places = [self._key, keys.queues, keys.queue(target)]

        def call(part: list[tuple[int, bytes]]) -> list[int]:
            [(place, raw)] = part
            words: list[Argument] = [target, place, raw, payload, mark(action)]
            went = f"queue:{target}"
            changed: list[int] = action.call_undoable(scripts.EDIT, places, words, went_to=went)
            return changed

        return act_on_queued(self._api, self.name, _jobs([job]), call) == 1

    def replacement(self, job: JobRecord, changes: Mapping[str, object]) -> tuple[str, bytes]:
        """The queue and the payload of the job that :meth:`replace` makes.

        Raises:
            ArgumentError: a change is not acceptable, or the job is no JSON object.
        """
        try:
            return str(changes.get("queue", self.name)), with_changes(job.value, changes)
        except PayloadError as error:
            raise ArgumentError(f"this job cannot be changed: {error}") from error

    def delete_by_class(self, name: str) -> int:
        """Delete all jobs of a class (as it is stored, or as it is shown).

        Cost: O(n) of the queue, in bounded steps, and what :class:`QueueSweep` says.

        Returns:
            How many were deleted.
        """
        return self.sweep(where=lambda job: name in (job.klass, job.display_class)).run()

    def sweep(
        self,
        match: str | None = None,
        where: Callable[[JobRecord], bool] | None = None,
        *,
        pattern: str | None = None,
    ) -> QueueSweep:
        """Delete all jobs that match as in :meth:`scan`, step by step; see :class:`QueueSweep`."""
        return QueueSweep(self.name, self._api, sought(match, pattern), where)

    def move(self, target: str, *jobs: JobRecord | bytes) -> int:
        """Move these jobs behind all others in queue *target*, which their payloads name then; all
        other bytes stay as they are.

        Cost: as for :meth:`delete`.

        Returns:
            How many were still there.

        Raises:
            ArgumentError: *target* is no name of a queue, or is this one.
        """
        to = self._target(target)
        action = self._action(f"move to {target}")
        keys = [self._key, to._key, self._api.keys.queues]

        def call(part: list[tuple[int, bytes]]) -> list[int]:
            words: list[Argument] = [
                word for place, raw in part for word in (place, raw, with_queue(raw, target))
            ]
            changed: list[int] = action.call(scripts.MOVE, keys, [target, mark(action), *words])
            return changed

        return act_on_queued(self._api, self.name, _jobs(jobs), call)

    def move_all(
        self,
        target: str,
        *,
        most: int | None = None,
        seconds: float | None = None,
        ref: str | None = None,
    ) -> int:
        """Move all jobs that are here now behind the others in queue *target*, in their order.

        Cost: a script for each 100 jobs, each O(100). After a crash in between every job is in one
        of the two queues, and calling it again goes on.

        Args:
            most: jobs that are moved at most.
            seconds: for which it goes on at most; None for as long as it takes.
            ref: of an action that this call continues (:attr:`~jobd.api.session.Session.last_ref`).

        Returns:
            How many were moved.

        Raises:
            ArgumentError: as for :meth:`move`.
        """
        to = self._target(target)
        action = self._action(f"move to {target}", ref)
        keys = [self._key, to._key, self._api.keys.queues]
        # Not more than there are now: clients may push as fast as this moves.
        total, left, end = 0, self.size, end_of(seconds)
        left = left if most is None else min(left, most)
        while left > 0:
            _, raws = portion(self._api.redis, self._key, "tail", 0, min(left, BATCH))
            if not raws:
                break
            pairs = [word for raw in raws for word in (raw, with_queue(raw, target))]
            total += action.call(scripts.MOVE_ALL, keys, [target, *pairs])
            left -= len(raws)
            if time.monotonic() >= end:
                break
        return total

    def check_target(self, target: str) -> None:
        """Check that jobs can be moved from here to queue *target*.

        Raises:
            ArgumentError: it is no name of a queue, or is this one.
        """
        if check_queue(target) == self.name:
            raise ArgumentError(f"the jobs of queue {target!r} are in queue {target!r} already")

    def _target(self, name: str) -> Queue:
        self.check_target(name)
        return Queue(name, self._api)

    def clear(self) -> int:
        """Delete all its jobs, and forget the queue until something is pushed; one script, O(1).

        Into the trash it goes as a whole (:meth:`~jobd.api.session.Session.acting_as`).

        Returns:
            How many jobs there were.
        """
        action, keys = self._action("clear"), self._api.keys
        cleared: int = action.call_undoable(
            scripts.CLEAR,
            [self._key, keys.queues, keys.departed, keys.departed_jobs(action.ref)],
            [self.name],
        )
        return cleared

    def _action(self, name: str, ref: str | None = None) -> Change:
        return Change(self._api, name, f"queue:{self.name}", ref)


def _jobs(jobs: Iterable[JobRecord | bytes]) -> list[Job]:
    return [(job.before, job.value) if isinstance(job, JobRecord) else (None, job) for job in jobs]


def summaries(session: Session, most: int | None = None) -> list[QueueSummary]:
    """See :meth:`jobd.api.Api.queues`."""
    paused = {text(name) for name in members(session.redis, session.keys.paused, most)}
    known = (text(name) for name in members(session.redis, session.keys.queues, most))
    # A pause may come before the first job, and nobody but people ends it.
    slos = objectives(session)
    # Nor does an objective need a job: its alert is there before the first one.
    names = sorted({*paused, *known, *slos})[:most]
    return [
        QueueSummary(name, size, latency, name in paused, slos.get(name))
        for name, (size, latency) in zip(names, waits(session, names), strict=True)
    ]


def waits(session: Session, names: Sequence[str]) -> Iterator[tuple[int, float]]:
    """Size and latency of these queues; a script for each 250 or megabyte of oldest jobs."""
    now, done = clock.now(), 0
    while part := names[done : done + STEP]:
        looked = scripts.OLDEST(session.redis, [*map(session.keys.queue, part)], [STEP_BYTES])
        done += len(looked) // 2
        for size, oldest in zip(looked[::2], looked[1::2], strict=True):
            yield size, JobRecord(oldest).waited(now) if oldest else 0.0
