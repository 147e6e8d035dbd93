"""How a request to cancel a job reaches it: a job that waits for a thread ends at once; in one that
runs, JobCancelled is raised, or its coroutine is cancelled.

Requests are repeated with every heartbeat as long as the job is in flight, so nothing that is
missed here is lost: a job that has just been taken by a thread, or that has swallowed the
exception.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Protocol

from structlog.typing import FilteringBoundLogger

from jobd.errors import JobCancelled
from jobd.jobs.cancellation import Cancellation, cancellation_of
from jobd.jobs.context import CurrentJob, log_fields
from jobd.runtime.ipc.scoreboard import Page
from jobd.runtime.log import log
from jobd.worker.run import interrupts
from jobd.worker.run.coroutines import Coroutines
from jobd.worker.run.executor import Executor
from jobd.worker.run.loop import EventLoop, Task, frames_of
from jobd.worker.run.loop_executor import LoopExecutor
from jobd.worker.run.pool import Pool
from jobd.worker.run.tasks import Tasks

MOST_DELIVERIES = 3
"""How often JobCancelled is raised in a job that swallows it."""

AGAIN = 0.02
"""Seconds after which a job is looked at again that was about to start."""

_EXECUTION = Executor.execute.__code__
_PERFORMANCE = LoopExecutor.perform.__code__
_INSIDE = (Executor._perform.__code__, Executor._perform_wrapped.__code__)


class Runner(Protocol):
    """Something that runs jobs."""

    def cancel(self, sequence: int) -> bool:
        """Cancel the job with this number, if it runs here; returns whether it does."""


class Threads:
    """The jobs that run in threads, and the coroutines that these wait for."""

    def __init__(self, pool: Pool, coroutines: Coroutines) -> None:
        self._pool = pool
        self._coroutines = coroutines
        self._log = log.get("jobd.job")

    def cancel(self, sequence: int) -> bool:
        thread = self._pool.running(sequence)
        if thread is None:
            return False
        ident = thread.ident or 0
        job = _execution(ident, sequence)
        if job is None:
            return False  # it is about to start, or has just ended
        cancellation = cancellation_of(job)
        cancellation.requested = True
        if job.definition is None:
            return False  # as above
        if not job.definition.cancellable:
            return True
        if not _may_deliver(cancellation, job, self._log):
            return True
        if self._coroutines.cancel(ident, cancellation):
            return True
        # Only now: a job that leaves from here on sees the request, and waits for its lock. So it
        # is still inside when the exception is raised, or takes it back.
        if not _is_inside(ident):
            return False
        cancellation.deliver(
            lambda: _raise(ident), lambda: interrupts.take_back(ident, JobCancelled)
        )
        return True


def _raise(ident: int) -> None:
    interrupts.interrupt(ident, JobCancelled)


def _execution(ident: int, sequence: int) -> CurrentJob | None:
    """The job that a thread runs, if it is that one.

    It is found in the frames of the thread: so a job that nobody cancels costs nothing.
    """
    frame = sys._current_frames().get(ident)
    while frame is not None:
        if frame.f_code is _EXECUTION:
            names = frame.f_locals
            found, claimed = names.get("current"), names.get("job")
            same = claimed is not None and claimed.sequence == sequence
            return found if same and isinstance(found, CurrentJob) else None
        frame = frame.f_back
    return None


def _is_inside(ident: int) -> bool:
    """Whether a thread is in the function of its job, or in middleware."""
    frame, above = sys._current_frames().get(ident), None
    while frame is not None:
        if frame.f_code is _EXECUTION:
            return above is not None and above.f_code in _INSIDE
        frame, above = frame.f_back, frame
    return False


class LoopJobs:
    """The async jobs, which run on the event loop."""

    def __init__(self, tasks: Tasks, loop: EventLoop) -> None:
        self._tasks = tasks
        self._loop = loop
        self._log = log.get("jobd.job")

    def cancel(self, sequence: int) -> bool:
        if self._tasks.task_of(sequence) is None:
            return False
        self._loop.get().call_soon_threadsafe(self._deliver, sequence)
        return True

    def _deliver(self, sequence: int) -> None:
        """Called on the loop, where no job's coroutine is in the middle of a step."""
        task = self._tasks.task_of(sequence)
        if task is None or task.done():
            return  # it has ended, or that is being decided
        job = _on_loop(task)
        if job is None or job.definition is None:
            self._loop.get().call_later(AGAIN, self._deliver, sequence)  # it is about to start
            return
        cancellation = cancellation_of(job)
        cancellation.requested = True
        if job.definition.cancellable and _may_deliver(cancellation, job, self._log):
            cancellation.deliver(partial(_cancel, task), _nothing)


def _on_loop(task: Task) -> CurrentJob | None:
    """The job of a task, from its frames: so a job that is not cancelled costs nothing."""
    for frame in frames_of(task):
        if frame.f_code is _PERFORMANCE:
            found = frame.f_locals.get("current")
            return found if isinstance(found, CurrentJob) else None
    return None


def _may_deliver(cancellation: Cancellation, job: CurrentJob, logger: FilteringBoundLogger) -> bool:
    """Whether the job has not swallowed it too often; if it just has, the log says so."""
    if cancellation.deliveries == MOST_DELIVERIES:
        cancellation.deliveries += 1
        logger.warning("job_ignores_cancel", **log_fields(job), deliveries=MOST_DELIVERIES)
    return cancellation.deliveries < MOST_DELIVERIES


def _cancel(task: Task) -> None:
    task.cancel()


def _nothing() -> None:
    pass


class CancelRequests:
    """The requests to cancel jobs of one worker.

    Args:
        runners: where its jobs run.
        end: ends those of these jobs that have not started; called with their numbers.
        page: where the master sees which of them must end.
    """

    def __init__(
        self,
        runners: Iterable[Runner],
        end: Callable[[frozenset[int]], None],
        page: Page,
    ) -> None:
        self._runners = tuple(runners)
        self._end = end
        self._page = page
        self._forced: dict[int, float] = {}

    def forced_before(self, moment: float) -> set[int]:
        """The jobs whose cancellation was forced before *moment* (monotonic s) and that still
        run."""
        forced = {sequence for sequence, at in self._forced.copy().items() if at <= moment}
        return forced.intersection(self._page.sequences()) if forced else forced

    def request(self, requests: Mapping[int, bool]) -> bool:
        """Cancel the jobs with these numbers, by force where it says so; returns whether all of
        them run. The others wait for a thread, and are ended, or are on their way here: ask again
        soon."""
        self._force({sequence for sequence, force in requests.items() if force})
        missed = frozenset(
            sequence
            for sequence in requests
            if not any(runner.cancel(sequence) for runner in self._runners)
        )
        if missed:
            self._end(missed)
        return not missed

    def _force(self, sequences: set[int]) -> None:
        """Show the master the one of these jobs that has gone on for the longest."""
        if not sequences and not self._forced:
            return
        now = time.monotonic()
        self._forced = {sequence: self._forced.get(sequence, now) for sequence in sequences}
        first = min(self._forced.items(), key=lambda each: each[1], default=(0, 0.0))
        self._page.show_forced(*first)
