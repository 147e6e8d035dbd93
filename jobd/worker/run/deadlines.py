"""Time limits of jobs: one that has run too long gets ``JobTimeout`` raised in its thread.

No thread can be killed. The exception comes when the thread next runs Python code: at once in most
jobs, and not before a call into C returns. What a job does in spite of it, the master sees on the
scoreboard, and replaces the worker (jobd/master/health/overdue_jobs.py).

When the worker leaves, such a job is abandoned: the main thread says how it ended, and its own
thread does so no more. Which of the two it is, is decided under one lock.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from jobd.errors import JobTimeout, Shutdown
from jobd.runtime.process import forks
from jobd.store.inflight import Claimed
from jobd.worker.run.pool import JobThread

R = TypeVar("R")

_NEVER = float("inf")


@dataclass(slots=True, eq=False)
class Limit:
    """One limit, while what it limits goes on. All times are monotonic seconds.

    Attributes:
        ident: of the thread.
        job: what it runs; None outside a worker.
        seconds: that it may take.
        end: when they are over.
        raised_at: when JobTimeout was raised, 0.0 before.
        abandoned: somebody else says how the job ended.
    """

    ident: int
    job: Claimed | None
    seconds: float
    end: float
    raised_at: float = 0.0
    abandoned: bool = False


class Deadlines:
    """The time limits of the jobs that run now.

    Args:
        on_earlier: called by a job's thread when the next deadline has come nearer.
    """

    def __init__(self, on_earlier: Callable[[], None]) -> None:
        self._on_earlier = on_earlier
        self._lock = threading.Lock()
        self._limits: dict[int, Limit] = {}
        forks.on_copy(self._renew)

    def run(self, seconds: float, function: Callable[[], R]) -> R:
        """Call *function* in this thread, and raise JobTimeout if it takes more than *seconds*.

        Raises:
            JobTimeout: it did. It may come a moment after *function* has returned.
            Shutdown: it has been abandoned.
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
        except JobTimeout as error:
            # It may have come in the middle of that, in any line of it; it comes only once.
            self._end(limit)
            late = limit.raised_at or time.monotonic() >= limit.end
            if late and type(error) is JobTimeout:  # else the job has raised it by itself
                error.args = (f"the job took longer than its timeout of {seconds:g} s",)
            raise

    def _begin(self, limit: Limit) -> None:
        with self._lock:
            nearer = limit.end < self._next()
            self._limits[limit.ident] = limit
        _show(limit.end)
        if nearer:
            self._on_earlier()

    def _end(self, limit: Limit) -> None:
        with self._lock:
            self._limits.pop(limit.ident, None)
            if limit.raised_at:
                _raise_in(limit.ident, None)  # it may still be on its way
            abandoned = limit.abandoned
        _show(0.0)
        if abandoned:
            thread = threading.current_thread()
            if isinstance(thread, JobThread):
                thread.cut_short = True
            raise Shutdown

    @property
    def next(self) -> float:
        """When :meth:`enforce` has something to do (monotonic s)."""
        with self._lock:
            return self._next()

    def _next(self) -> float:
        return min((one.end for one in self._limits.values() if not one.raised_at), default=_NEVER)

    def enforce(self, now: float) -> None:
        """Raise JobTimeout, once, in every thread whose deadline has passed."""
        with self._lock:
            for limit in self._limits.values():
                if limit.end <= now and not limit.raised_at:
                    limit.raised_at = now
                    _raise_in(limit.ident, JobTimeout)

    def overdue(self, now: float) -> list[Limit]:
        """What still runs although its deadline has passed."""
        with self._lock:
            return self._overdue(now)

    def abandon(self, now: float) -> list[Limit]:
        """As :meth:`overdue`, and from now on it is for the caller to say how those jobs ended.
        Should one end after all, its thread gets Shutdown and says nothing."""
        with self._lock:
            overdue = self._overdue(now)
            for limit in overdue:
                limit.abandoned = True
            return overdue

    def _overdue(self, now: float) -> list[Limit]:
        return [limit for limit in self._limits.values() if limit.end <= now]

    def _renew(self) -> None:
        # A job has forked, perhaps in a moment when another thread held the lock.
        self._lock = threading.Lock()


def _show(deadline: float) -> None:
    thread = threading.current_thread()
    if isinstance(thread, JobThread):
        thread.show_deadline(deadline)


def _raise_in(ident: int, exception: type[BaseException] | None) -> None:
    """Have *exception* raised in a thread; None takes back one that has not arrived."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(ident), ctypes.py_object(exception) if exception else None
    )
