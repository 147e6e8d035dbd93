"""The ends of jobs on their way from the threads that ran them to the fetcher.

Job threads and the event loop append, the fetcher takes; both ends of a deque are atomic. An end
wakes the fetcher unless more of them will follow soon, which one round trip can carry together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from jobd.store.inflight import Claimed
from jobd.worker.fetch.ledger import Ledger
from jobd.worker.run.pool import Pool
from jobd.worker.run.settlement import Outcome, Settlement
from jobd.worker.run.tasks import Tasks


class Ends:
    """The ends that the fetcher of one worker has not taken yet.

    Args:
        pool: the job threads.
        tasks: the async jobs.
        ring: wakes the fetcher.

    Attributes:
        asleep: whether the fetcher sleeps, or is about to.
        napping: whether only for a moment, in which it collects ends.
    """

    def __init__(self, pool: Pool, tasks: Tasks, ring: Callable[[], None]) -> None:
        self._pool = pool
        self._tasks = tasks
        self._ring = ring
        self._finished: deque[Claimed] = deque()
        self._finished_tasks: deque[Claimed] = deque()
        self._settled: deque[Settlement] = deque()
        self._settled_tasks: deque[Settlement] = deque()
        self.asleep = False
        self.napping = False

    # -- for jobs ------------------------------------------------------------------------------

    def finish(self, job: Claimed) -> None:
        """Acknowledge *job* with the next round trip, which starts now if idle."""
        self._finished.append(job)
        if self.asleep and not (self.napping and self._pool.waiting):
            self._wake()

    def finish_task(self, job: Claimed) -> None:
        """The same for an async job, on the event loop."""
        self._finished_tasks.append(job)
        if self.asleep and not (self.napping and self._tasks.waiting):
            self._wake()

    def settle(self, settlement: Settlement) -> None:
        """End a job in another way with the next round trip, which starts now unless it is one of
        many that have succeeded."""
        self._settle(settlement, self._settled, self._pool)

    def settle_task(self, settlement: Settlement) -> None:
        """The same for an async job, on the event loop or in a thread beside it."""
        self._settle(settlement, self._settled_tasks, self._tasks)

    def _settle(
        self, settlement: Settlement, settled: deque[Settlement], place: Pool | Tasks
    ) -> None:
        settled.append(settlement)
        if settlement.outcome is not Outcome.DONE or (
            self.asleep and not (self.napping and place.waiting)
        ):
            self._wake()

    def _wake(self) -> None:
        self.asleep = False
        self._ring()

    # -- for the fetcher -----------------------------------------------------------------------

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return bool(self._finished or self._settled or self._finished_tasks or self._settled_tasks)

    @property
    def urgent(self) -> bool:
        """Whether there are any that would have woken the fetcher, had it been asleep."""
        if (self._finished or self._settled) and not (self.napping and self._pool.waiting):
            return True
        on_loop = self._finished_tasks or self._settled_tasks
        return bool(on_loop) and not (self.napping and self._tasks.waiting)

    def hand_over(self, ledger: Ledger) -> tuple[int, int]:
        """Enter them into the *ledger*; returns how many jobs have ended in threads, and how many
        on the event loop."""
        ended = on_loop = 0
        while self._finished:
            ended += ledger.done(self._finished.popleft())
        while self._finished_tasks:
            job = self._finished_tasks.popleft()
            ledger.leave_loop(job.sequence)
            on_loop += ledger.done(job)
        for settled in (self._settled, self._settled_tasks):
            while settled:
                settlement = settled.popleft()
                if ledger.leave_loop(settlement.job.sequence):
                    on_loop += ledger.settle(settlement)
                else:
                    ended += ledger.settle(settlement)
        return ended, on_loop
