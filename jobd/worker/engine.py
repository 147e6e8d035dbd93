"""The engine of a worker: what claims its jobs, runs them and records how they ended.

Here its parts are put together: the fetcher, the job threads, the event loop, and the executor,
which needs the application. The main thread supervises it. It needs no master, so tests run it too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import redis

from jobd.jobs.app import App
from jobd.runtime.ipc.scoreboard import Page
from jobd.settings.daemon import Config
from jobd.store.inflight import InFlight
from jobd.store.keys import Keys
from jobd.wire.job_name import MOST, job_name, listed
from jobd.worker.fetch.fetcher import Fetcher
from jobd.worker.fetch.order import QueueOrder
from jobd.worker.metrics import Metrics
from jobd.worker.run.coroutines import Coroutines
from jobd.worker.run.deadlines import Deadlines
from jobd.worker.run.inputs import StepInputs
from jobd.worker.run.locks import Locks
from jobd.worker.run.loop import EventLoop
from jobd.worker.run.loop_executor import LoopExecutor
from jobd.worker.run.pool import Pool, Working
from jobd.worker.run.tasks import Tasks
from jobd.worker.starts import Starts
from jobd.worker.tail import Notes


class Owner(NamedTuple):
    """Under which name an engine has jobs in flight, and where.

    Attributes:
        client: whose connections are used.
        keys: the keys of the database.
        identity: the name.
    """

    client: redis.Redis
    keys: Keys
    identity: str


class Engine:
    """One owner of jobs in flight: first :meth:`load` the application, then :meth:`start_threads`,
    then start the fetcher.

    Args:
        page: this worker's page of the scoreboard.
        notify: called when the fetcher is registered or has ended all jobs while it is quiet.
        hurry: called when a time limit ends earlier than all others.
    """

    executor: LoopExecutor

    def __init__(
        self,
        owner: Owner,
        config: Config,
        page: Page,
        notify: Callable[[], None],
        hurry: Callable[[], None],
    ) -> None:
        order = QueueOrder(config.queues, config.queue_mode)
        self._owner = owner
        self._config = config
        self.inflight = InFlight(owner.keys, owner.identity, order.names)
        self.pool = Pool(config.concurrency, page)
        self.loop = EventLoop(config.loop)
        self.tasks = Tasks(config.async_concurrency, page, config.concurrency, self.loop)
        self.coroutines = Coroutines(self.loop)
        self.deadlines = Deadlines(hurry)
        self.metrics = Metrics(Starts(config.slo) if config.slo else None)
        self.fetcher = Fetcher(
            owner.client, self.inflight, order, self.pool, self.tasks, page, notify
        )

    def load(self, app: App) -> None:
        """Prepare to run the jobs of *app*."""
        self.executor = LoopExecutor(
            app,
            self._config,
            self.inflight,
            self.coroutines,
            self.deadlines,
            self.metrics,
            Locks(self._owner.client, self._owner.keys),
            StepInputs(self._owner.client, self._owner.keys),
            self.tasks,
            self.loop,
        )

    def start_threads(self, on_loop_jobs: Callable[[], None]) -> None:
        """Start the job threads.

        Args:
            on_loop_jobs: called when there are new jobs on the event loop.

        Raises:
            RuntimeError: the system allows no further thread.
        """
        executor, ends = self.executor, self.fetcher.ends
        self.pool.start(executor.execute, ends.finish, ends.settle, executor.give_up)
        self.tasks.start(
            executor.on_loop,
            executor.perform,
            ends.finish_task,
            ends.settle_task,
            executor.give_up,
            self.deadlines.has_abandoned,
            on_loop_jobs,
        )

    def listen(self, notes: Notes | None) -> None:
        """Note what happens to jobs, or do not any more."""
        self.executor.listen(notes)

    def working(self) -> list[Working]:
        """The running jobs."""
        return self.pool.working() + self.tasks.working()

    def running(self) -> tuple[int, str]:
        """How many jobs run now, and their names for the log."""
        working = self.working()
        names = [job_name(work.job.payload) for work in working[:MOST]]
        return len(working), listed(names, len(working))

    def coroutines_at_most(self) -> int:
        """How many async jobs run at a time; 0 if the application has none."""
        return self.tasks.size if self.tasks.names() else 0

    def interrupt(self, seconds: float) -> bool:
        """Interrupt the running jobs; returns whether all have ended within so many seconds."""
        self.pool.interrupt()
        self.tasks.interrupt()
        self.coroutines.cancel_all()
        until = time.monotonic() + seconds
        threads_ended = self.pool.ended(seconds)
        return self.tasks.ended(until - time.monotonic()) and threads_ended
