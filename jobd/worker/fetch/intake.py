"""The intake: receives jobs from claims and from blocking waits.

It numbers them, enters them in the ledger and hands them to the threads; if the worker is quiet or
has no free thread, it returns them to their queues. Used by the fetcher thread only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

from jobd.runtime.ipc.scoreboard import RESCUE, Page
from jobd.runtime.log import log
from jobd.store.inflight import Claimed, InFlight
from jobd.wire import job_name
from jobd.worker.fetch.blocking import FILE_AT_MOST, Arrival
from jobd.worker.fetch.ledger import Call, Ledger
from jobd.worker.fetch.order import QueueOrder
from jobd.worker.fetch.stale import Stale
from jobd.worker.run.pool import Pool
from jobd.worker.run.settlement import Outcome, Settlement

CLAIM_AT_MOST = 5000
"""Most jobs of one claim: while the script runs, all other clients wait."""


class LeaseLost(Exception):
    """A keeper considered this worker dead and returned its jobs to their queues."""


class Intake:
    """Receives the jobs of one worker.

    Args:
        inflight: packs the calls.
        order: plans the claims.
        ledger: records every job received.
        pool: the job threads.
        page: shows whether the master has others take delivered jobs.

    Attributes:
        quiet: no more jobs are wanted. Set by the main thread.
        paused: queues that were paused at the last claim, or whose key was not a list.
        asked_at: time of the last claim (monotonic s).
        emptied: whether the last claim emptied the queues.
        more: whether the last claim reached the limit and more jobs are wanted.
        delivered: queues whose claim list may hold jobs that have not been filed.
    """

    def __init__(
        self, inflight: InFlight, order: QueueOrder, ledger: Ledger, pool: Pool, page: Page
    ) -> None:
        self._page = page
        self._inflight = inflight
        self._order = order
        self._ledger = ledger
        self._pool = pool
        self._stale = Stale(pool)
        self._next = 1
        self._log = log.get("jobd.fetcher")
        self._broken: frozenset[str] = frozenset()
        self.quiet = False
        self.paused: frozenset[str] = frozenset()
        self.asked_at = 0.0
        self.emptied = False
        self.more = False
        self.delivered: list[str] = []

    @property
    def free(self) -> int:
        """Threads without a job; negative if jobs have been prefetched."""
        return self._pool.size - self._ledger.unfinished

    def give_back(self) -> None:
        """Return jobs that have waited too long for a thread; all waiting ones when quiet."""
        if self.quiet or self._stale.overdue():
            self._ledger.give_back(self._pool.take_back())

    def numbers(self, most: int) -> int:
        """Reserve *most* sequence numbers; returns the first. None is ever reused, because a claim
        whose answer was lost may have used it."""
        first = self._next
        self._next += most
        return first

    # -- claims --------------------------------------------------------------------------------

    def claim(self, wanted: int, behind: int) -> Call:
        """A call that claims up to *wanted* jobs, at most CLAIM_AT_MOST; in strict order, from all
        queues but the first only up to *behind*."""
        self.asked_at = time.monotonic()
        self.emptied = False
        self.more = False
        bounded = wanted > CLAIM_AT_MOST
        wanted = min(wanted, CLAIM_AT_MOST)
        limits = self._order.strict
        shares = self._order.shares(wanted, min(behind, wanted))
        first = self.numbers(wanted)
        call = self._inflight.claim(first, wanted, shares, limits=limits)
        names = [name for name, _ in shares]
        # Fewer than this means that some queue has run empty.
        enough = min(share for _, share in shares) if limits else wanted
        full = first + wanted if bounded else math.inf
        return call, partial(self._claimed, names, first, first + enough, full)

    def _claimed(
        self,
        queues: list[str],
        first: int,
        enough: int,
        full: float,
        portions: list[list[Any]] | None,
    ) -> None:
        if portions is None:
            raise LeaseLost
        closed = {queues[-head - 1]: reason for head, *reason in portions if head < 0}
        self.paused = frozenset(closed)
        if closed or self._broken:
            self._tell_broken({queue: reason[0] for queue, reason in closed.items() if reason})
        # Position 0: the payloads were too large for one claim, so there may be more.
        cut = any(head[0] == 0 for head in portions)
        for position, *payloads in portions:
            if position > 0:
                self.dispatch(first, queues[position - 1], payloads)
                first += len(payloads)
        self.emptied = first < enough and not cut
        self.more = first >= full or cut

    def _tell_broken(self, broken: dict[str, bytes]) -> None:
        """Log once per queue why no job can be claimed from it."""
        for queue in broken.keys() - self._broken:
            error = broken[queue].decode(errors="replace")
            self._log.error("queue_unusable", queue=queue, error=error)
        self._broken = frozenset(broken)

    # -- what blocking claims deliver ------------------------------------------------------------

    def look_everywhere(self, queues: Iterable[str]) -> None:
        """Check all claim lists of *queues*: after a broken connection any may hold jobs."""
        self.delivered = list(queues)

    def filings(self) -> list[Call]:
        """Calls that file the jobs delivered by blocking claims, or return them when quiet."""
        calls: list[Call] = []
        for queue in self.delivered:
            first = self.numbers(FILE_AT_MOST)
            call = self._inflight.file(first, queue, wanted=not self.quiet)
            calls.append((call, partial(self._filed, queue, first)))
        self.delivered = []
        return calls

    def arrived(self, arrivals: list[Arrival]) -> None:
        """Take the jobs that blocking claims have delivered; return them to their queues if no
        thread is free or if it may be too late.

        Their numbers were reserved when the wait began, so that :class:`Stale` would consider them
        started: they must not have to wait for a thread.
        """
        for queue, first, payloads in arrivals:
            if payloads is None:
                raise LeaseLost
            self.deliver(first, queue, payloads, room=self.free >= len(payloads))

    def deliver(self, first: int, queue: str, payloads: list[bytes], *, room: bool = True) -> None:
        """Dispatch jobs that may have been delivered long ago. If others may be taking them right
        now, only Redis knows whether they are still ours, so they are returned."""
        self.dispatch(first, queue, payloads, room=room and not self._page.words[RESCUE])

    def _filed(self, queue: str, first: int, payloads: list[bytes] | None) -> None:
        if payloads is None:
            raise LeaseLost
        self.dispatch(first, queue, payloads)

    # -- to the threads --------------------------------------------------------------------------

    def dispatch(self, first: int, queue: str, payloads: list[bytes], *, room: bool = True) -> None:
        """Hand jobs to the threads, numbered from *first*; return them to their queues without
        *room*, or if the worker has gone quiet in the meantime."""
        jobs = [Claimed(sequence, queue, raw) for sequence, raw in enumerate(payloads, first)]
        for job in jobs:
            self._ledger.add(job)
        if self.quiet or not room:
            self._ledger.give_back(jobs)
        elif jobs:
            for job in jobs:
                self._pool.queue.put(job)
            self._stale.dispatched(jobs[-1].sequence)

    def cancel(self, sequences: frozenset[int]) -> None:
        """End those of these jobs as cancelled that have not started."""
        for job in self._pool.take_back():
            if job.sequence in sequences:
                fields = job_name.log_fields(job.payload)
                self._log.info("job_cancelled", **fields, outcome=Outcome.CANCELLED)
                self._ledger.settle(Settlement(job, b"", Outcome.CANCELLED))
            else:
                self._pool.queue.put(job)

    def forget(self, sequences: set[int]) -> None:
        """Drop jobs that belong to another worker now. Those not started will not start here."""
        waiting = self._pool.take_back()
        for job in waiting:
            if job.sequence not in sequences:
                self._pool.queue.put(job)
        self._ledger.forget(sequences, started=sequences - {job.sequence for job in waiting})
