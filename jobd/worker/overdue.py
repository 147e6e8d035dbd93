"""How a stopping worker ends jobs that still run after their deadline, in spite of JobTimeout.

They count as failed and end by the same script as any job that raised: a retry or the dead set.
Returned to their queues they would block the next worker in the same way. This happens at the very
end of the process: until then the job may still end normally, and its retry must not run
concurrently with it.
"""

from __future__ import annotations

import sys
import time
from types import FrameType, TracebackType

from jobd.errors import JobTimeout
from jobd.runtime.log import log
from jobd.worker.beside import Beside
from jobd.worker.engine import Engine
from jobd.worker.run.cancelling import CancelRequests
from jobd.worker.run.deadlines import Limit
from jobd.worker.run.executor import OUR_FILES

DECIDE = 2.0
"""Seconds for application code that decides about such jobs (``retry_in``, error and death
handlers). Jobs not decided by then are returned to their queues like the others."""


class Overdue:
    """Fails jobs that do not end at their deadline. Used by the main thread only.

    Args:
        grace: seconds after JobTimeout, or after a forced cancellation, in which a job may still
            end; 0 for no limit.
        engine: runs them, knows which are overdue, and records how they end.
        cancelling: knows whose cancellation is forced.
        beside: runs application code.
    """

    def __init__(
        self,
        grace: float,
        engine: Engine,
        cancelling: CancelRequests,
        beside: Beside,
    ) -> None:
        self._grace = grace
        self._engine = engine
        self._cancelling = cancelling
        self._beside = beside
        self._log = log.get("jobd.worker")

    @property
    def alone(self) -> bool:
        """Whether a quiet worker holds only overdue jobs whose grace period has passed: then
        waiting is pointless."""
        if not self._grace:
            return False
        now = time.monotonic()
        lost = self._cancelling.forced_before(now - self._grace) | {
            limit.job.sequence
            for limit in self._engine.deadlines.overdue(now)
            if limit.job and limit.raised_at and limit.raised_at + self._grace <= now
        }
        running = len(self._engine.pool.working()) + self._engine.tasks.running
        return 0 < len(lost) == running and self._engine.fetcher.holds_at_most(len(lost))

    def fail(self) -> int:
        """Fail the jobs whose deadline has passed with JobTimeout; returns how many.

        :meth:`Fetcher.surrender` then writes it to Redis. If the process is killed before, they
        are recovered like all other jobs in flight.
        """
        limits = self._engine.deadlines.abandon(time.monotonic())
        if limits:
            # It runs application code, for which the main thread cannot wait long.
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
            error.__traceback__ = (
                _place(limit.ident)
                if limit.ident
                else _place_of(self._engine.tasks.frames(limit.job))
            )
            try:
                began = limit.end - limit.seconds
                self._engine.fetcher.ends.settle(
                    self._engine.executor.fail(limit.job, error, began)
                )
            except Exception:  # noqa: BLE001 - a bug of ours; logged, and the job is given back
                self._log.exception("overdue_job_not_settled")


def _place(ident: int) -> TracebackType | None:
    """The current position of a thread in its job, as a traceback."""
    frame = sys._current_frames().get(ident)
    place = None
    while frame is not None and frame.f_code.co_filename not in OUR_FILES:
        place = TracebackType(place, frame, frame.f_lasti, frame.f_lineno or 0)
        frame = frame.f_back
    return place


def _place_of(frames: list[FrameType]) -> TracebackType | None:
    """The same for a coroutine; *frames* with the innermost last."""
    place = None
    for frame in reversed(frames):
        if frame.f_code.co_filename not in OUR_FILES:
            place = TracebackType(place, frame, frame.f_lasti, frame.f_lineno or 0)
    return place
