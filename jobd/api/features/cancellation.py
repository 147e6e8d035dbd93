"""Cancelling jobs, wherever they are: ``jobd.cancel``, ``jobd.acancel`` and ``jobd.cancel_many``.

A job that waits is taken out of its queue or set; the trash keeps it for a day. For one that a
worker of jobd has claimed, a request is put beside it, and its worker is told to look. A job moves
while it is looked for, so where it may have gone meanwhile is looked at again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from jobd.ambient import clock
from jobd.api.features.held_back import held_back
from jobd.api.find import JobSearch
from jobd.api.inflight import Claim, InFlightSet
from jobd.api.queues.queues import Queue
from jobd.api.queues.scan import QueueScan
from jobd.api.reading import members, text
from jobd.api.records import JobRecord, is_plain
from jobd.api.search.scans import Scan, end_of
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
    """

    cancelled: int
    cancelling: int
    done: bool


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
    if any(_withdraw(session, job) for job in held_back(session) if job.jid == jid):
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
        api: as for :func:`cancel`.

    Raises:
        ArgumentError: nothing is given.
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

    return Cancelling(in_a_name(api), wanted, queue).until(end_of(seconds))


class Cancelling:
    """Cancels all jobs that are *wanted*, in bounded steps; see :func:`cancel_many`.

    Args:
        queue: the only queue in which to look for them.
        again: go through all places until none is found there that waits: for jobs that come back,
            as members of a batch after a failure.

    Attributes:
        cancelled, cancelling: how many so far, as in :class:`CancelledJobs`.
        scanned: jobs that were looked at.
        done: whether that were all.
    """

    def __init__(
        self,
        session: Session,
        wanted: Callable[[JobRecord], bool],
        queue: str | None = None,
        *,
        again: bool = False,
    ) -> None:
        self._session, self._wanted, self._queue, self._again = session, wanted, queue, again
        self._told: set[str] = set()
        self._steps = self._all()
        self.cancelled = self.scanned = 0
        self.done = False

    @property
    def cancelling(self) -> int:
        return len(self._told)

    def step(self) -> int:
        """Go on; returns how many jobs it has cancelled."""
        before = self.cancelled + self.cancelling
        self.done = next(self._steps, True)
        return self.cancelled + self.cancelling - before

    def until(self, end: float = math.inf) -> CancelledJobs:
        """Go on until that moment of the monotonic clock, or until it is done."""
        while not self.done:
            self.step()
            if time.monotonic() >= end:
                break
        return CancelledJobs(self.cancelled, self.cancelling, self.done)

    def _all(self) -> Iterator[bool]:
        session, found = self._session, -1
        while found < self.cancelled and (self._again or found < 0):
            found = self.cancelled
            for job in held_back(session):  # from there they go to a queue, which comes later
                self.scanned += 1
                self.cancelled += self._wanted(job) and _withdraw(session, job)
                yield False
            for scan, cancel_found in self._places():
                before = self.scanned
                while not scan.done:
                    self.cancelled += cancel_found(*scan.next())
                    self.scanned = before + scan.scanned
                    yield False
            # Last: what workers have claimed meanwhile is there.
            for claim in InFlightSet(session).of_all_owners():
                name = f"{claim.owner} {claim.tag}"
                if self._wanted(claim.job) and name not in self._told and _request(session, claim):
                    self._told.add(name)
                    yield False

    def _places(self) -> Iterator[tuple[Scan[Any], Callable[..., int]]]:
        for jobs in _sets(self._session):
            yield jobs.scan(where=self._wanted), jobs.cancel
        for name in _queues(self._session) if self._queue is None else [self._queue]:
            queue = Queue(name, self._session)
            yield queue.scan(where=self._wanted), queue.cancel


def in_a_name(api: Session | None) -> Session:
    """A session that writes to the audit log, and keeps what it takes away in the trash."""
    session = session_or_default(api)
    return session if session.who else session.acting_as(f"cancel() on {hostname()}")


# -- in flight -------------------------------------------------------------------------------------


def _cancel_running(session: Session, jid: str, force: bool) -> bool:
    # JSON may write other ids in other ways.
    hint = jid.encode() if is_plain(jid) else b""
    return any(
        _request(session, claim, force=force)
        for claim in InFlightSet(session).of_all_owners()
        if hint in claim.job.value and claim.job.jid == jid
    )


def _request(session: Session, claim: Claim, *, force: bool = False) -> bool:
    """Have its worker cancel a job; returns whether it was still in flight."""
    [channel] = control.channels(session.redis, session.keys, [claim.owner])
    arguments: list[Argument] = [
        claim.tag,
        control.FORCE if force else repr(clock.now()),
        control.message(Look.CANCELS),
        channel,
    ]
    change = Change(session, "cancel", claim.owner)
    return bool(change.call(scripts.CANCEL, [session.keys.inflight(claim.owner)], arguments))


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
