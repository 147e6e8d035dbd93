"""The async jobs of a worker: each is one task on its event loop and needs no thread.

The fetcher hands over jobs in batches; each end starts the next one on the loop itself, so that a
short job costs no switch of threads. Like a thread, a task shows its job on the scoreboard, where
it has one of the places after those of the threads.

A job that fails is decided about in a thread of its own kind (``Deciders``), because that runs the
application's handlers, which are no coroutines and would block the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Set
from contextvars import Context, copy_context
from types import FrameType
from typing import NamedTuple, TypeVar

from jobd.runtime.ipc.scoreboard import DEADLINE, IDENT, PAYLOAD, START, STARTED, WORD, Page
from jobd.runtime.log import log
from jobd.runtime.process import forks
from jobd.store.inflight import Claimed
from jobd.store.keys import ASYNC
from jobd.text.exceptions import class_of
from jobd.wire import job_name
from jobd.worker.run.deciders import Deciders
from jobd.worker.run.loop import EventLoop, Loop, Task, frames_of
from jobd.worker.run.pool import LOOK, Finish, GiveUp, Settle, Working
from jobd.worker.run.settlement import Settlement

Decision = Callable[[], Settlement]
"""Decides how a job ends; runs code of the application."""

End = Settlement | Decision | None

Perform = Callable[[Claimed, int], Coroutine[object, None, End]]
"""Runs a job, in a place."""


T = TypeVar("T")


class Run(NamedTuple):
    """A running job and its task, which is done if its end is being decided."""

    job: Claimed
    task: Task


class Tasks:
    """All async jobs of a worker.

    Args:
        size: how many may run at the same time.
        page: the scoreboard page.
        first: their first place on it.
        loop: where they run.

    Attributes:
        names: returns the names of the jobs that run here.
        cut_short: the main thread has returned the jobs that still run. Never unset: the process is
            about to exit.
    """

    def __init__(self, size: int, page: Page, first: int, loop: EventLoop) -> None:
        self.size = size
        self.names: Callable[[], Set[str]] = frozenset
        self.cut_short = False
        self._loop = loop
        self._words = page.words
        self._memory = page.memory
        self._places = [page.offset(first + place) for place in range(size)]
        self._waiting: deque[Claimed] = deque()
        self._called = False
        self._runs: dict[int, Run] = {}
        self._free: list[int] = []
        self._used = 0
        self._newest = 0
        self._deciding: set[int] = set()
        self._context = Context()
        self._deciders = Deciders()
        self._on_jobs: Callable[[], None] = lambda: None
        self._names = [f"{ASYNC}{place}" for place in range(size)]
        self._log = log.get("jobd.tasks")

    def start(
        self,
        names: Callable[[], Set[str]],
        perform: Perform,
        finish: Finish,
        settle: Settle,
        give_up: GiveUp,
        given_up: Callable[[Claimed], bool],
        on_jobs: Callable[[], None] = lambda: None,
    ) -> None:
        """Take jobs from now on. Each runs in a copy of the caller's context.

        Args:
            names: the names of the jobs that run here.
            perform: runs one job; returns how it ends in Redis, or a function that decides it, or
                None if it succeeded.
            finish: called with a job that succeeded.
            settle: called with the end of any other job.
            give_up: decides how a job ends if an error of ours ended its execution; called with
                the job and the name of the error.
            given_up: whether the main thread has decided how a job ends.
            on_jobs: called when there are new jobs.
        """
        self.names = names
        self._perform, self._finish, self._settle = perform, finish, settle
        self._give_up, self._given_up = give_up, given_up
        self._on_jobs = on_jobs
        self._context = copy_context()
        if names():
            self.prepare()

    def prepare(self) -> Loop:
        """Start the threads that they need."""
        self._deciders.start()
        return self._loop.get()

    # -- for the fetcher -------------------------------------------------------------------------

    @property
    def waiting(self) -> bool:
        """Whether jobs wait for a place."""
        return bool(self._waiting)

    def give(self, jobs: Iterable[Claimed]) -> None:
        """Have *jobs* run, in order."""
        self._waiting.extend(jobs)
        if not self._called:
            loop = self.prepare()
            self._on_jobs()
            self._called = True
            loop.call_soon_threadsafe(self._fill)

    def take_back(self) -> list[Claimed]:
        """Remove and return all jobs that have not started, in order."""
        taken: list[Claimed] = []
        while True:
            try:
                taken.append(self._waiting.popleft())
            except IndexError:
                return taken

    def newest_started(self) -> int:
        """The highest sequence number of the jobs that have started."""
        return self._newest

    # -- on the loop -----------------------------------------------------------------------------

    def _fill(self) -> None:
        """Start as many jobs as there are free places."""
        self._called = False
        waiting, runs = self._waiting, self._runs
        loop = self._loop.get()
        while waiting and len(runs) < self.size:
            try:
                job = waiting.popleft()
            except IndexError:
                return  # taken back
            place = self._free.pop() if self._free else self._new_place()
            at = self._places[place]
            payload = job.payload
            if len(payload) > PAYLOAD:
                payload = job_name.brief(job.work.class_, job.work.jid) if job.work else b""
            START.pack_into(self._memory, (at + STARTED) * WORD, time.monotonic_ns(), payload)
            self._words[at] = self._newest = job.sequence
            coroutine, context = self._drive(job, place), self._context.copy()
            # Not by loop.create_task: the application may have set a task factory.
            runs[place] = Run(
                job, asyncio.Task(coroutine, loop=loop, name=self._names[place], context=context)
            )

    def _new_place(self) -> int:
        place = self._used
        self._used += 1
        self._words[self._places[place] + IDENT] = self._loop.ident
        return place

    async def _drive(self, job: Claimed, place: int) -> None:
        end: End
        try:
            end = await self._perform(job, place)
        except BaseException as error:  # noqa: BLE001 - decided below
            forks.end(error)
            end = None if self.cut_short else self._failure(job, error)
        if forks.copied:
            forks.end()
        if self.cut_short or self._given_up(job):
            self._ended(place)  # the main thread has said, or says, what becomes of it
        elif end is None:
            self._ended(place)
            self._finish(job)
        elif isinstance(end, Settlement):
            self._ended(place)
            self._settle(end)
        else:
            decide = end
            self._deciding.add(place)
            self._deciders.do(lambda: self._decide(job, place, decide))
            return
        if self._waiting:
            self._fill()

    def _ended(self, place: int) -> None:
        self._words[self._places[place]] = 0
        del self._runs[place]
        self._deciding.discard(place)  # last, see settle_lost
        self._free.append(place)

    def _freed(self, place: int) -> None:
        self._ended(place)
        self._fill()

    async def beside(self, function: Callable[[], T]) -> T:
        """Call *function*, which may block, in another thread."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def call() -> None:
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - raised where it is awaited
                loop.call_soon_threadsafe(_fail, future, error)
            else:
                loop.call_soon_threadsafe(_fulfil, future, result)

        self._deciders.do(call)
        return await future

    def show_deadline(self, place: int, at: float) -> None:
        """Show the deadline of the job in *place* (monotonic s); 0 for none."""
        self._words[self._places[place] + DEADLINE] = int(at * 1e9)

    # -- in other threads ------------------------------------------------------------------------

    def _decide(self, job: Claimed, place: int, decide: Decision) -> None:
        try:
            end = decide()
        except BaseException as error:  # noqa: BLE001 - logged, and the job must be ended
            forks.end(error)
            end = self._failure(job, error)()
        self._settle(end)
        self._loop.get().call_soon_threadsafe(self._freed, place)

    def _failure(self, job: Claimed, error: BaseException) -> Decision:
        """Decides after an error of ours, or one that cannot even be inspected."""
        why = class_of(error)
        logger = self._log.bind(**job_name.log_fields(job.payload))
        try:
            logger.exception("async_job_failed", exc_info=error)
        except BaseException as second:  # noqa: BLE001 - a property of the job's own error
            logger.error("async_job_failed", error=why, unreadable=class_of(second))
        return lambda: self._give_up(job, why)

    # -- for the main thread ---------------------------------------------------------------------

    @property
    def running(self) -> int:
        """How many jobs run."""
        return len(self._runs)

    def runs(self) -> list[tuple[Working, Task]]:
        """The running jobs and their tasks."""
        return [
            (Working(self._names[place], run.job, self._started(place)), run.task)
            for place, run in list(self._runs.items())
        ]

    def _started(self, place: int) -> int:
        return self._words[self._places[place] + STARTED]

    @property
    def deciders(self) -> list[str]:
        """Names of the threads that decide about failed jobs, of those without work."""
        return self._deciders.idle

    def working(self) -> list[Working]:
        """The running jobs."""
        return [working for working, _ in self.runs()]

    def frames(self, job: Claimed) -> list[FrameType]:
        """Where the task of *job* is, the innermost frame last; empty if it does not run."""
        tasks = [run.task for run in list(self._runs.values()) if run.job is job]
        return frames_of(tasks[0]) if tasks else []

    def task_of(self, sequence: int) -> Task | None:
        """The task of the job with this number, if it runs."""
        runs = list(self._runs.values())
        return next((run.task for run in runs if run.job.sequence == sequence), None)

    def fields_of(self, task: Task) -> dict[str, str]:
        """The job of *task*, as fields of a log record; none if it is of none."""
        jobs = [run.job for run in list(self._runs.values()) if run.task is task]
        return {**job_name.log_fields(jobs[0].payload), "queue": jobs[0].queue} if jobs else {}

    def settle_lost(self) -> None:
        """Settle jobs whose task has been cancelled before its first step, by code that cancels the
        tasks of others: none of ours has run in it."""
        for place, run in list(self._runs.items()):
            told = place in self._deciding or self._runs.get(place) is not run
            if run.task.cancelled() and not told and not self.cut_short:
                self._deciding.add(place)  # the loop may be slow to free it
                self._log.error("async_job_lost", **job_name.log_fields(run.job.payload))
                self._settle(self._give_up(run.job, "CancelledError"))
                self._loop.get().call_soon_threadsafe(self._freed, place)

    def interrupt(self) -> None:
        """Cancel every running job, after all jobs have been returned. Tasks of the application are
        left alone."""
        self.cut_short = True
        if (loop := self._loop.running) is not None:
            for run in list(self._runs.values()):
                loop.call_soon_threadsafe(run.task.cancel)

    def ended(self, timeout: float) -> bool:
        """Wait at most *timeout* seconds until no job runs; returns whether none does."""
        deadline = time.monotonic() + timeout
        while (busy := self._busy) and time.monotonic() < deadline:
            time.sleep(LOOK)
        return not busy

    @property
    def _busy(self) -> bool:
        runs = list(self._runs.items())
        return any(place in self._deciding or not run.task.cancelled() for place, run in runs)


def _fulfil(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[T], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
