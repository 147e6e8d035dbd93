"""The pool: the threads that run jobs.

The threads take claimed jobs from one queue in order. Each shows its current job on the scoreboard,
so that the master can tell after a crash which jobs had started.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import Context
from functools import partial
from typing import NamedTuple

from jobd.errors import Shutdown
from jobd.runtime.ipc.scoreboard import DEADLINE, IDENT, PAYLOAD, START, STARTED, WORD, Page
from jobd.runtime.log import log
from jobd.runtime.process import forks
from jobd.store.inflight import Claimed
from jobd.text.exceptions import class_of
from jobd.wire import job_name
from jobd.worker.run import interrupts
from jobd.worker.run.settlement import Settlement

Name = Callable[[str, str], None]
Execute = Callable[[Claimed, Name], Settlement | None]
Finish = Callable[[Claimed], None]
Settle = Callable[[Settlement], None]
GiveUp = Callable[[Claimed, str], Settlement]


LOOK = 0.02
"""Seconds between checks whether an interrupted thread is done."""


class Working(NamedTuple):
    """A running job: the thread's name, the job, and its start in monotonic ns."""

    thread: str
    job: Claimed
    started: int


def cut_short() -> bool:
    """Whether this thread's job has been taken from it, so that an exception is not a failure.
    The exception cannot tell: a job may raise Shutdown itself."""
    thread = threading.current_thread()
    return isinstance(thread, JobThread) and thread.cut_short


class JobThread(threading.Thread):
    """Runs jobs until it is interrupted or the process ends.

    Attributes:
        job: the running job.
        cut_short: the main thread has returned its job or made it fail. Set before the thread is
            interrupted, and never unset: the process is about to exit.
        lost: the thread has ended, and its job is settled.
    """

    def __init__(
        self,
        number: int,
        jobs: queue.SimpleQueue[Claimed],
        page: Page,
        execute: Execute,
        finish: Finish,
        settle: Settle,
        give_up: GiveUp,
    ) -> None:
        super().__init__(name=f"job-{number}", daemon=True)
        self._jobs = jobs
        self._execute = execute
        self._finish = finish
        self._settle = settle
        self._give_up = give_up
        self._page = page
        self._words = page.words
        self._memory = page.memory
        self._at = page.offset(number)
        self.job: Claimed | None = None
        self.cut_short = False
        self.lost = False

    @property
    def busy(self) -> bool:
        return self.job is not None and self.is_alive()

    @property
    def working(self) -> Working | None:
        job, started = self.job, self._words[self._at + STARTED]
        return Working(self.name, job, started) if job is not None else None

    def show_deadline(self, at: float) -> None:
        """Show the deadline of the running job (monotonic s); 0 for none."""
        self._words[self._at + DEADLINE] = int(at * 1e9)

    def run(self) -> None:
        words, at, memory = self._words, self._at, self._memory
        show, offset, now = START.pack_into, (at + STARTED) * WORD, time.monotonic_ns
        name = partial(self._page.name, at)
        take, execute, finish, settle = self._jobs.get, self._execute, self._finish, self._settle
        words[at + IDENT] = threading.get_ident()
        while True:
            try:
                job = take()
                self.job = job
                payload = job.payload
                if len(payload) > PAYLOAD:
                    payload = b""  # it is named once it has been parsed
                show(memory, offset, now(), payload)
                words[at] = job.sequence
                end = Context().run(execute, job, name)
                if forks.copied:
                    forks.end()
                words[at] = 0
                self.job = None
                if end is None:
                    finish(job)
                else:
                    settle(end)
            except BaseException as error:  # noqa: BLE001 - logged, and the thread goes on
                forks.end(error)
                if self.cut_short:
                    return
                try:
                    self._failed(error)
                except BaseException:  # noqa: BLE001 - e.g. no memory; see Pool.replace_lost
                    return

    def _failed(self, error: BaseException) -> None:
        """Handle an error of ours, or one that cannot even be inspected (`execute` handles those of
        the job). The thread continues, so the job must be ended."""
        why = class_of(error)
        job = self.abandon(why)
        logger = log.get("jobd.pool").bind(**job_name.log_fields(job.payload if job else b""))
        try:
            logger.exception("job_thread_failed")
        except BaseException as second:  # noqa: BLE001 - a property of the job's own error
            logger.error("job_thread_failed", error=why, unreadable=class_of(second))

    def abandon(self, why: str) -> Claimed | None:
        """Move the running job, if any, to the dead set: it would otherwise stay in flight for as
        long as this process lives."""
        if (job := self.job) is not None:
            self._settle(self._give_up(job, why))
        self.job = None
        self._words[self._at] = 0
        return job


class Pool:
    """All job threads of a worker."""

    def __init__(self, threads: int, page: Page) -> None:
        self.size = threads
        self.queue: queue.SimpleQueue[Claimed] = queue.SimpleQueue()
        self._page = page
        self._threads: list[JobThread] = []
        self._make: Callable[[int], JobThread]

    def start(self, execute: Execute, finish: Finish, settle: Settle, give_up: GiveUp) -> None:
        """Start the threads.

        Args:
            execute: runs one job; returns how it ends in Redis, or None if it succeeded. Called
                with the job and what shows the class and jid of one that is too large to be shown.
            finish: called with a job that succeeded.
            settle: called with the end of any other job.
            give_up: decides how a job ends if an error of ours ended its execution; called with
                the job and the name of the error.
        """

        def make(number: int) -> JobThread:
            return JobThread(number, self.queue, self._page, execute, finish, settle, give_up)

        self._make = make
        self._threads = [make(number) for number in range(self.size)]
        for thread in self._threads:
            thread.start()

    def replace_lost(self, *, start: bool) -> None:
        """Detect threads that have ended, which none should: settle their jobs and replace them.

        Args:
            start: whether to start new threads.
        """
        alive = set(os.listdir("/proc/self/task"))  # noqa: PTH208 - many names, and no paths
        logger = log.get("jobd.pool")
        for number, thread in enumerate(self._threads):
            # A thread ended by C code is still alive for Python.
            if (thread.is_alive() and str(thread.native_id) in alive) or thread.cut_short:
                continue
            if not thread.lost:
                thread.lost = True
                job = thread.abandon("its thread has ended")
                fields = job_name.log_fields(job.payload if job else b"")
                logger.error("job_thread_ended", lost=thread.name, **fields)
            if start:
                new = self._make(number)
                try:
                    new.start()
                except RuntimeError as error:
                    logger.error("job_thread_not_started", error=str(error))
                    return
                self._threads[number] = new

    def running(self, sequence: int) -> JobThread | None:
        """The thread that runs the job with this number."""
        for thread in self._threads:
            if (job := thread.job) is not None and job.sequence == sequence:
                return thread
        return None

    @property
    def names(self) -> frozenset[str]:
        """Names of the job threads."""
        return frozenset(thread.name for thread in self._threads)

    def newest_started(self) -> int:
        """The highest sequence number among the running jobs, 0 when none runs."""
        return max(self._page.sequences(self.size), default=0)

    def working(self) -> list[Working]:
        """The running jobs."""
        return [working for thread in self._threads if (working := thread.working)]

    @property
    def waiting(self) -> bool:
        """Whether jobs wait for a thread."""
        return not self.queue.empty()

    def give(self, jobs: Iterable[Claimed]) -> None:
        """Have *jobs* run, in order."""
        put = self.queue.put
        for job in jobs:
            put(job)

    def take_back(self) -> list[Claimed]:
        """Remove and return all jobs that have not started, in order."""
        taken: list[Claimed] = []
        while True:
            try:
                job = self.queue.get_nowait()
            except queue.Empty:
                return taken
            taken.append(job)

    def interrupt(self) -> None:
        """Raise :class:`~jobd.errors.Shutdown` in every thread that runs a job, after all jobs have
        been returned.

        A thread inside a C call gets it when that call returns.
        """
        for thread in self._threads:
            thread.cut_short = True
        for thread in self._threads:
            if thread.job is not None:
                interrupts.interrupt(thread.ident or 0, Shutdown)

    def ended(self, timeout: float) -> bool:
        """Wait at most *timeout* seconds until no thread runs a job; returns whether none does."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            # A thread whose job ended just before waits for another one: it is done, too.
            while thread.busy and (left := deadline - time.monotonic()) > 0:
                thread.join(min(left, LOOK))
        return not any(thread.busy for thread in self._threads)
