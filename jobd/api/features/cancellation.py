"""Cancelling jobs, wherever they are: ``jobd.cancel``, ``jobd.acancel`` and ``jobd.cancel_many``.

A job that waits is taken out of its queue or set; the trash keeps it for a day. For one that a
worker of jobd has claimed, a request is put beside it, and its worker is told to look. A job moves
while it is looked for, so where it may have gone meanwhile is looked at again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

from jobd.ambient import clock
from jobd.api.features.held_back import HeldBack
from jobd.api.find import JobSearch
from jobd.api.inflight import Claim, InFlightSet
from jobd.api.queues.queues import Queue
from jobd.api.queues.scan import QueueScan
from jobd.api.reading import members, text
from jobd.api.records import JobRecord, is_plain
from jobd.api.search.scans import Scan, end_of, not_a_cursor
from jobd.api.session import Change, Session, session_or_default
from jobd.api.sets.entries import SortedEntry
from jobd.api.sets.jobset import JobSet
from jobd.api.sets.sets import RetrySet, ScheduledSet
from jobd.errors import ArgumentError
from jobd.runtime.process.identity import hostname
from jobd.store import control, scripts
from jobd.store.control import Look
from jobd.store.protocol import Argument

Answer = Literal["cancelled", "cancelling", "unknown"]


@dataclass(frozen=True, slots=True)
class CancelledJobs:
    """What became of many jobs.

    Attributes:
        cancelled: jobs that waited, and were taken out.
        cancelling: jobs that workers have, which are told.
        done: all were looked at; else call it again.
        cursor: of the next call, which goes on from there; empty when it is done.
    """

    cancelled: int
    cancelling: int
    done: bool
    cursor: str = ""


def cancel(
    jid: str, queue: str | None = None, *, force: bool = False, api: Session | None = None
) -> Answer:
    """Cancel a job.

    It is looked for among the running ones, the retries, the scheduled ones and in the queues, in
    bounded steps: O(jobs). A job that Sidekiq runs cannot be cancelled.

    Args:
        jid: its id.
        queue: the only queue in which to look for it; all by default.
        force: a job that runs on for ``job_kill_grace``, because it catches the exception, waits in
            a call into C, or may not be cancelled, is ended with its process: a new worker takes
            over, and the old one ends when its other jobs have.
        api: the connection, and in whose name; by default the client that :func:`jobd.configure`
            has set up.

    Returns:
        ``"cancelled"``: it waited, and is gone; the trash keeps it for a day.
        ``"cancelling"``: a worker has it. If it runs, :class:`~jobd.JobCancelled` is raised in it;
        if it has not started it does not. It may still end in another way before.
        ``"unknown"``: it neither waits nor runs. Nothing is left behind, so a job that gets this id
        later is not affected.

    Raises:
        ArgumentError: *jid* is empty.
        UnavailableError: the server does not answer.

    Example:
        >>> cancel("1befef82961e0772dce5ae4d")  # doctest: +SKIP
        'cancelling'
    """
    if not isinstance(jid, str) or not jid:
        raise ArgumentError(f"cancel() needs the id of a job, not {jid!r}")
    session = in_a_name(api)
    if _cancel_running(session, jid, force):
        return "cancelling"
    # From a lock it goes to a queue, which comes later.
    if any(_withdraw(session, job) for job in HeldBack(session) if job.jid == jid):
        return "cancelled"
    if _cancel_in_sets(session, jid) or _cancel_in_queues(session, jid, queue):
        return "cancelled"
    # It may have left its queue meanwhile.
    if _cancel_running(session, jid, force):
        return "cancelling"
    return "cancelled" if _cancel_in_sets(session, jid) else "unknown"


async def acancel(
    jid: str, queue: str | None = None, *, force: bool = False, api: Session | None = None
) -> Answer:
    """As :func:`cancel`, without blocking the event loop."""
    return await asyncio.to_thread(partial(cancel, jid, queue, force=force, api=api))


def cancel_many(
    *,
    name: str | None = None,
    queue: str | None = None,
    tag: str | None = None,
    seconds: float | None = None,
    cursor: str = "",
    api: Session | None = None,
) -> CancelledJobs:
    """Cancel all jobs that have everything that is given.

    They are looked for as by :func:`cancel`, in bounded steps. Jobs that move or are pushed
    meanwhile may be missed.

    Args:
        name: their class.
        queue: the queue that they are for.
        tag: one of their tags.
        seconds: stop after about so long.
        cursor: of the answer of the call before, to go on from there.
        api: as for :func:`cancel`.

    Raises:
        ArgumentError: nothing is given, or *cursor* is none.
        UnavailableError: the server does not answer.

    Example:
        >>> cancel_many(name="reports.build", tag="nightly")  # doctest: +SKIP
        CancelledJobs(cancelled=812, cancelling=4, done=True)
    """
    if name is None and queue is None and tag is None:
        raise ArgumentError(
            "cancel_many() needs a name, a queue or a tag; to delete all jobs clear their queues"
        )

    def wanted(job: JobRecord) -> bool:
        return (
            (name is None or name in (job.klass, job.display_class))
            and (queue is None or job.queue == queue)
            and (tag is None or tag in job.tags)
        )

    return Cancelling(in_a_name(api), wanted, queue, cursor=cursor).until(end_of(seconds))


_LOCKS, _RETRIES, _SCHEDULED, _QUEUE, _WORK = "locks", "retries", "scheduled", "queue:", "work"
_ORDER = (_LOCKS, _RETRIES, _SCHEDULED, _QUEUE, _WORK)
"""Where jobs are looked for. A lock comes first, since from there they go to a queue; what workers
have claimed meanwhile is found last."""


class Cancelling:
    """Cancels all jobs that are *wanted*, in bounded steps; see :func:`cancel_many`.

    Args:
        queue: the only queue in which to look for them.
        again: go through all places until none is found there that waits: for jobs that come back,
            as members of a batch after a failure.
        cursor: of one that has not come to its end.

    Attributes:
        cancelled, cancelling: how many so far, as in :class:`CancelledJobs`.
        scanned: jobs that were looked at.
        done: whether that were all.

    Raises:
        ArgumentError: *cursor* is none.
    """

    def __init__(
        self,
        session: Session,
        wanted: Callable[[JobRecord], bool],
        queue: str | None = None,
        *,
        again: bool = False,
        cursor: str = "",
    ) -> None:
        self._session, self._wanted, self._queue, self._again = session, wanted, queue, again
        self._place: _Place | None = None
        self.cancelled = self.cancelling = self.scanned = 0
        self.done = False
        inner, _, place = cursor.partition("@")
        self._inner, self._fruitful = inner.removeprefix("+"), inner.startswith("+")
        if cursor and place not in _ORDER and not place.startswith(_QUEUE):
            raise not_a_cursor(cursor)
        self._places = self._since(place)
        if self._places[0] != place:
            self._inner = ""  # that queue is gone

    @property
    def cursor(self) -> str:
        """Where it is; empty when it is done."""
        if self.done:
            return ""
        inner = self._inner if self._place is None else self._place.scan.cursor
        return f"{'+' if self._fruitful else ''}{inner}@{self._places[0]}"

    def step(self) -> int:
        """Go on; returns how many jobs it has cancelled."""
        before = self.cancelled + self.cancelling
        if self._places[0] == _WORK:
            self._tell_workers()
        elif not self._look(self._places[0]):
            return self.cancelled + self.cancelling - before
        self._place, self._inner = None, ""
        if self._places.pop(0) == _SCHEDULED:
            self._places = self._since(_QUEUE)  # jobs may have gone to queues that were not there
        if not self._places and self._again and self._fruitful:
            self._places, self._fruitful = self._since(""), False
        self.done = not self._places
        return self.cancelled + self.cancelling - before

    def until(self, end: float = math.inf) -> CancelledJobs:
        """Go on until that moment of the monotonic clock, or until it is done."""
        while not self.done:
            self.step()
            if time.monotonic() >= end:
                break
        return CancelledJobs(self.cancelled, self.cancelling, self.done, self.cursor)

    def _look(self, name: str) -> bool:
        """One step there; returns whether it was the last one."""
        place = self._place = self._place or self._begin(name)
        before = place.scan.scanned
        count = place.cancel(*place.scan.next())
        self.scanned += place.scan.scanned - before
        self.cancelled += count
        self._fruitful = self._fruitful or count > 0
        return place.scan.done

    def _tell_workers(self) -> None:
        for claim in InFlightSet(self._session).of_all_owners():
            if self._wanted(claim.job):
                self.cancelling += _request(self._session, claim).new

    def _since(self, place: str) -> list[str]:
        """That place and all behind it."""
        names = _queues(self._session) if self._queue is None else [self._queue]
        all_places = [*_ORDER[:3], *(f"{_QUEUE}{name}" for name in names), _WORK]
        return [each for each in all_places if _rank(each) >= _rank(place)]

    def _begin(self, name: str) -> _Place:
        session, wanted, inner = self._session, self._wanted, self._inner
        if name == _LOCKS:
            return _Place(HeldBack(session, inner), self._withdraw)
        if name in (_RETRIES, _SCHEDULED):
            jobs = (RetrySet if name == _RETRIES else ScheduledSet)(session)
            return _Place(jobs.scan(where=wanted, cursor=inner), jobs.cancel)
        queue = Queue(name.removeprefix(_QUEUE), session)
        scan = queue.scan(where=wanted, cursor=inner)

        def cancel_queued(*found: JobRecord) -> int:
            count = queue.cancel(*found)
            scan.took_out(count)
            return count

        return _Place(scan, cancel_queued)

    def _withdraw(self, *found: JobRecord) -> int:
        return sum(self._wanted(job) and _withdraw(self._session, job) for job in found)


class _Place(NamedTuple):
    """A place in which jobs are looked for, and what cancels those that are found."""

    scan: Scan[object]
    cancel: Callable[..., int]


def _rank(place: str) -> tuple[int, str]:
    """For the order of the places; the first of all for none."""
    found = (at for at, each in enumerate(_ORDER) if place.startswith(each))
    return next(found, -1), place


def in_a_name(api: Session | None) -> Session:
    """A session that writes to the audit log, and keeps what it takes away in the trash."""
    session = session_or_default(api)
    return session if session.who else session.acting_as(f"cancel() on {hostname()}")


# -- in flight -------------------------------------------------------------------------------------


def _cancel_running(session: Session, jid: str, force: bool) -> bool:
    # JSON may write other ids in other ways.
    hint = jid.encode() if is_plain(jid) else b""
    return any(
        _request(session, claim, force=force).there
        for claim in InFlightSet(session).of_all_owners()
        if hint in claim.job.value and claim.job.jid == jid
    )


class _Requested(NamedTuple):
    """Whether a request is *new*, and whether its job was still *there*."""

    new: bool
    there: bool


def _request(session: Session, claim: Claim, *, force: bool = False) -> _Requested:
    """Have its worker cancel a job."""
    [channel] = control.channels(session.redis, session.keys, [claim.owner])
    arguments: list[Argument] = [
        claim.tag,
        control.FORCE if force else repr(clock.now()),
        control.message(Look.CANCELS),
        channel,
    ]
    change = Change(session, "cancel", claim.owner)
    new, there = change.call(scripts.CANCEL, [session.keys.inflight(claim.owner)], arguments)
    return _Requested(bool(new), bool(there))


# -- waiting ---------------------------------------------------------------------------------------


def _withdraw(session: Session, job: JobRecord) -> bool:
    """Cancel a job that waits for a lock; returns whether it still did."""
    if job.attachments.lock is None:
        return False
    change = Change(session, "cancel", f"queue:{job.queue}")
    keys = [session.keys.lock(job.attachments.lock.key)]
    return bool(change.call_undoable(scripts.WITHDRAW, keys, [job.jid]))


def _sets(session: Session) -> Sequence[JobSet]:
    return RetrySet(session), ScheduledSet(session)


def _cancel_in_sets(session: Session, jid: str) -> bool:
    for jobs in _sets(session):
        # The one that is found may go on to another place before it is taken out.
        entry = jobs.find_job(jid)
        if entry is not None and jobs.cancel(entry):
            return True
    return False


def _cancel_in_queues(session: Session, jid: str, queue: str | None) -> bool:
    if queue is not None:
        scan = QueueScan(queue, session, [], lambda job: job.jid == jid, "", jid=jid)
        return any(Queue(queue, session).cancel(job) for job in scan)
    for found in JobSearch(session, jid, "@dead"):
        job = found.job
        if isinstance(job, SortedEntry):
            continue  # it is dead, and will not run
        if Queue(job.queue, session).cancel(job):
            return True
    return False


def _queues(session: Session) -> list[str]:
    return sorted(text(name) for name in members(session.redis, session.keys.queues))
