"""The intake: how jobs come into this worker, by claims that ask and by waits that deliver.

It numbers them, enters them in the ledger, and hands them to the threads; where the worker has gone
quiet or has no thread for them, it gives them back. Belongs to the fetcher's thread.
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
from jobd.worker.fetch.blocking import FILE_AT_MOST, Arrival
from jobd.worker.fetch.ledger import Call, Ledger
from jobd.worker.fetch.order import QueueOrder
from jobd.worker.fetch.stale import Stale
from jobd.worker.run.pool import Pool

CLAIM_AT_MOST = 5000
"""Jobs of one claim: everybody else must wait while the script runs."""


class LeaseLost(Exception):
    """A keeper took this worker for dead; what it held is in the queues again."""


class Intake:
    """The jobs that come into one worker.

    Args:
        inflight: packs the calls.
        order: plans the claims.
        ledger: is told every job that comes.
        pool: the job threads.
        page: where the master says that others take what has been delivered.

    Attributes:
        quiet: nothing more is wanted. Set by the main thread.
        paused: the queues that were paused when a claim last looked, or whose key was no list.
        asked_at: when a claim was last made (monotonic s).
        emptied: whether the newest claim took all that there was.
        more: whether it has brought as much as one claim may, and more is wanted.
        delivered: queues whose claim list may hold something that has not been filed.
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
        """Threads for which there is no job; negative when jobs have been claimed ahead."""
        return self._pool.size - self._ledger.unfinished

    def give_back(self) -> None:
        """Have what has waited too long, or waits for nothing any more, go back to its queue."""
        if self.quiet or self._stale.overdue():
            self._ledger.give_back(self._pool.take_back())

    def numbers(self, most: int) -> int:
        """Set *most* sequence numbers aside; returns the first. None is ever given out twice, as
        a claim whose answer was lost may have used them."""
        first = self._next
        self._next += most
        return first

    # -- claims --------------------------------------------------------------------------------

    def claim(self, wanted: int, behind: int) -> Call:
        """A call that claims up to *wanted* jobs, within the bound; of queues that have others
        before them in strict order only up to *behind*."""
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
        # Every queue would have given as many.
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
        # Position 0: they were too large for one claim, so there may be more.
        cut = any(head[0] == 0 for head in portions)
        for position, *payloads in portions:
            if position > 0:
                self.dispatch(first, queues[position - 1], payloads)
                first += len(payloads)
        self.emptied = first < enough and not cut
        self.more = first >= full or cut

    def _tell_broken(self, broken: dict[str, bytes]) -> None:
        """Say once of each queue why no job of it can be claimed."""
        for queue in broken.keys() - self._broken:
            error = broken[queue].decode(errors="replace")
            self._log.error("queue_unusable", queue=queue, error=error)
        self._broken = frozenset(broken)

    # -- what blocking claims deliver ------------------------------------------------------------

    def look_everywhere(self, queues: Iterable[str]) -> None:
        """Any of their claim lists may hold something: a connection that broke tells nothing."""
        self.delivered = list(queues)

    def filings(self) -> list[Call]:
        """Calls that file what blocking claims have delivered, or return it when quiet."""
        calls: list[Call] = []
        for queue in self.delivered:
            first = self.numbers(FILE_AT_MOST)
            call = self._inflight.file(first, queue, wanted=not self.quiet)
            calls.append((call, partial(self._filed, queue, first)))
        self.delivered = []
        return calls

    def arrived(self, arrivals: list[Arrival]) -> None:
        """Take what blocking claims have brought, or give it back where no thread is free for it,
        or where it may be too late.

        Its numbers were set aside when the wait began. Who looks for jobs that wait too long would
        take it for one that has started, so it must not have to wait.
        """
        for queue, first, payloads in arrivals:
            if payloads is None:
                raise LeaseLost
            self.deliver(first, queue, payloads, room=self.free >= len(payloads))

    def deliver(self, first: int, queue: str, payloads: list[bytes], *, room: bool = True) -> None:
        """Dispatch what may have been delivered long ago. Others may be taking it just now: then
        that it is still ours would be known only from Redis, so it goes back."""
        self.dispatch(first, queue, payloads, room=room and not self._page.words[RESCUE])

    def _filed(self, queue: str, first: int, payloads: list[bytes] | None) -> None:
        if payloads is None:
            raise LeaseLost
        self.dispatch(first, queue, payloads)

    # -- to the threads --------------------------------------------------------------------------

    def dispatch(self, first: int, queue: str, payloads: list[bytes], *, room: bool = True) -> None:
        """Hand jobs to the threads, numbered from *first*; without *room*, or when it has gone
        quiet while they were on their way, give them back."""
        jobs = [Claimed(sequence, queue, raw) for sequence, raw in enumerate(payloads, first)]
        for job in jobs:
            self._ledger.add(job)
        if self.quiet or not room:
            self._ledger.give_back(jobs)
        elif jobs:
            for job in jobs:
                self._pool.queue.put(job)
            self._stale.dispatched(jobs[-1].sequence)

    def forget(self, sequences: set[int]) -> None:
        """These belong to somebody else now. Those that have not started never will here."""
        waiting = self._pool.take_back()
        for job in waiting:
            if job.sequence not in sequences:
                self._pool.queue.put(job)
        self._ledger.forget(sequences, started=sequences - {job.sequence for job in waiting})
