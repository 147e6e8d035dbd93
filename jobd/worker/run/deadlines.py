"""Time limits of jobs: a job that has run too long gets ``JobTimeout`` raised in its thread.

Threads cannot be killed. The exception is raised when the thread next runs Python code: at once in
most jobs, but not before a call into C returns. If the job keeps running, the master sees it on the
scoreboard and replaces the worker (jobd/master/health/overdue_jobs.py).

When the worker stops, such a job is abandoned: the main thread decides how it ended, and its own
thread no longer does. A lock ensures that only one of them decides.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from jobd.errors import JobCancelled, JobTimeout, Shutdown
from jobd.runtime.process import forks
from jobd.store.inflight import Claimed
from jobd.worker.run import interrupts
from jobd.worker.run.pool import JobThread

R = TypeVar("R")

AGAIN = 1.0
"""Seconds until JobTimeout is tried again if a cancellation may still be pending in the thread."""

_NEVER = float("inf")


@dataclass(slots=True, eq=False)
class Limit:
    """One active time limit. All times are monotonic seconds.

    Attributes:
        ident: the thread's; 0 for a coroutine, which the event loop tells.
        job: the job that it runs; None outside a worker.
        seconds: the limit.
        end: when it expires.
        raised_at: when JobTimeout was raised, 0.0 before.
        again_at: when JobTimeout is tried again that was kept out by a cancellation.
        abandoned: the main thread decides how the job ended.
    """

    ident: int
    job: Claimed | None
    seconds: float
    end: float
    raised_at: float = 0.0
    again_at: float = 0.0
    abandoned: bool = False


class Deadlines:
    """The time limits of the jobs that run now.

    Args:
        on_earlier: called by a job's thread when the next deadline has moved forward.
    """

    def __init__(self, on_earlier: Callable[[], None]) -> None:
        self._on_earlier = on_earlier
        self._lock = threading.Lock()
        self._limits: dict[int, Limit] = {}
        self._abandoned: set[int] = set()
        # No later than the earliest end.
        self._nearest = _NEVER
        forks.on_copy(self._renew)

    def run(self, seconds: float, function: Callable[[], R]) -> R:
        """Call *function* in this thread, and raise JobTimeout if it takes more than *seconds*.

        Raises:
            JobTimeout: it took longer; may be raised just after *function* has returned.
            JobCancelled: as JobTimeout, if the job was cancelled.
            Shutdown: the job has been abandoned.
        """
        thread = threading.current_thread()
        job = thread.job if isinstance(thread, JobThread) else None
        limit = Limit(threading.get_ident(), job, seconds, time.monotonic() + seconds)
        try:
            try:
                self._begin(limit)
                return function()
            finally:
                self._end(limit)
        except BaseException as error:
            # JobTimeout, or JobCancelled, may have been raised in any line of `_end`; each is
            # raised only once.
            try:
                self._end(limit)
            except (JobCancelled, JobTimeout):
                self._end(limit)
            late = limit.raised_at or time.monotonic() >= limit.end
            if late and type(error) is JobTimeout:  # otherwise the job itself has raised it
                error.args = (f"the job took longer than its timeout of {seconds:g} s",)
            raise

    def _begin(self, limit: Limit) -> None:
        self._enter(limit.ident, limit)
        _show(limit.end)

    def _enter(self, key: int, limit: Limit) -> None:
        with self._lock:
            nearer = limit.end < self._nearest
            self._limits[key] = limit
            if nearer:
                self._nearest = limit.end
        if nearer:
            self._on_earlier()

    def begin_coroutine(self, job: Claimed, seconds: float) -> Limit:
        """Note that the coroutine of *job* has *seconds* from now. The event loop raises
        JobTimeout in it."""
        limit = Limit(0, job, seconds, time.monotonic() + seconds)
        self._enter(-job.sequence, limit)
        return limit

    def end_coroutine(self, limit: Limit) -> None:
        """Note that the coroutine has ended."""
        with self._lock:
            if limit.job is not None:
                self._limits.pop(-limit.job.sequence, None)

    def has_abandoned(self, job: Claimed) -> bool:
        """Whether the main thread has decided how *job* ends, a coroutine."""
        return job.sequence in self._abandoned

    def _end(self, limit: Limit) -> None:
        with self._lock:
            self._limits.pop(limit.ident, None)
            if limit.raised_at:
                interrupts.take_back(limit.ident, JobTimeout)
            abandoned = limit.abandoned
        _show(0.0)
        if abandoned:
            thread = threading.current_thread()
            if isinstance(thread, JobThread):
                thread.cut_short = True
            raise Shutdown

    @property
    def next(self) -> float:
        """When :meth:`enforce` must be called next (monotonic s)."""
        with self._lock:
            self._nearest = self._next()
            return self._nearest

    def _next(self) -> float:
        left = (one for one in self._limits.values() if not one.raised_at)
        return min((max(one.end, one.again_at) for one in left), default=_NEVER)

    def enforce(self, now: float) -> None:
        """Raise JobTimeout, once, in every thread whose deadline has passed."""
        with self._lock:
            for limit in self._limits.values():
                if max(limit.end, limit.again_at) <= now and not limit.raised_at:
                    limit.raised_at = now
                    if limit.ident and not interrupts.interrupt(limit.ident, JobTimeout):
                        limit.raised_at, limit.again_at = 0.0, now + AGAIN

    def overdue(self, now: float) -> list[Limit]:
        """The limits of jobs that still run after their deadline."""
        with self._lock:
            return self._overdue(now)

    def abandon(self, now: float) -> list[Limit]:
        """As :meth:`overdue`; from now on the caller decides how those jobs ended. If one still
        ends, its thread gets Shutdown and reports nothing."""
        with self._lock:
            overdue = self._overdue(now)
            for limit in overdue:
                limit.abandoned = True
                if limit.job is not None:
                    self._abandoned.add(limit.job.sequence)
            return overdue

    def _overdue(self, now: float) -> list[Limit]:
        return [limit for limit in self._limits.values() if limit.end <= now]

    def _renew(self) -> None:
        # A job has forked, perhaps while another thread held the lock.
        self._lock = threading.Lock()


def _show(deadline: float) -> None:
    thread = threading.current_thread()
    if isinstance(thread, JobThread):
        thread.show_deadline(deadline)
