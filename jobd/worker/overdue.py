"""Jobs that go on after their deadline, in spite of JobTimeout: what a worker that leaves makes of
them.

They have failed, and end by the same script as any job that raised: a retry, or the dead set. Given
back to their queues they would hold up the next worker in the same way, and the one after that.
It is done at the very end: as long as the process stays the job may still end by itself, and should
it run again, then not beside itself.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType

from jobd.errors import JobTimeout
from jobd.runtime.log import log
from jobd.worker.beside import Beside
from jobd.worker.fetch.fetcher import Fetcher
from jobd.worker.run.deadlines import Deadlines, Limit
from jobd.worker.run.executor import OUR_FILES, Executor
from jobd.worker.run.pool import Pool

DECIDE = 2.0
"""Seconds that the application's own code has to say what becomes of such jobs (``retry_in``,
handlers of errors and deaths). What is not decided by then is given back like the others."""


class Overdue:
    """Fails jobs that do not end at their deadline. Belongs to the main thread.

    Args:
        grace: seconds after JobTimeout in which a job may still end; 0 for any time.
        deadlines: knows the jobs.
        pool: whose threads run them.
        executor: says what becomes of a job that has failed.
        fetcher: is told.
        beside: does what runs code of the application.
    """

    def __init__(
        self,
        grace: float,
        deadlines: Deadlines,
        pool: Pool,
        executor: Executor,
        fetcher: Fetcher,
        beside: Beside,
    ) -> None:
        self._grace = grace
        self._deadlines = deadlines
        self._pool = pool
        self._executor = executor
        self._fetcher = fetcher
        self._beside = beside
        self._log = log.get("jobd.worker")

    @property
    def alone(self) -> bool:
        """Whether nothing else is left in a worker that is quiet, and nobody expects their end any
        more: then there is no use in waiting."""
        if not self._grace:
            return False
        now = time.monotonic()
        told = (limit.raised_at for limit in self._deadlines.overdue(now) if limit.raised_at)
        lost = sum(at + self._grace <= now for at in told)
        return 0 < lost == len(self._pool.working()) and self._fetcher.holds_at_most(lost)

    def fail(self) -> int:
        """Have the jobs whose deadline has passed failed with JobTimeout; returns how many.

        Nothing of it is in Redis yet; that is for :meth:`Fetcher.surrender`. Should the process
        be killed before, they are recovered like all that it had in flight.
        """
        limits = self._deadlines.abandon(time.monotonic())
        if limits:
            # Code of the application runs in it, for which the main thread cannot wait long.
            self._beside.do(lambda: self._settle(limits))
            if not self._beside.wait(DECIDE):
                self._log.error("overdue_jobs_undecided", seconds=DECIDE)
        return len(limits)

    def _settle(self, limits: list[Limit]) -> None:
        for limit in limits:
            if limit.job is None:
                continue
            error = JobTimeout(
                f"the job took longer than its timeout of {limit.seconds:g} s, and did not end"
            )
            error.__traceback__ = _place(limit.ident)
            try:
                began = limit.end - limit.seconds
                self._fetcher.settle(self._executor.fail(limit.job, error, began))
            except Exception:  # noqa: BLE001 - a bug of ours; logged, and the job is given back
                self._log.exception("overdue_job_not_settled")


def _place(ident: int) -> TracebackType | None:
    """Where a thread is in its job, as if it had raised there."""
    frame = sys._current_frames().get(ident)
    place = None
    while frame is not None and frame.f_code.co_filename not in OUR_FILES:
        place = TracebackType(place, frame, frame.f_lasti, frame.f_lineno or 0)
        frame = frame.f_back
    return place
