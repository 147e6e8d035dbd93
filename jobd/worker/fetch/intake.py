"""The intake: receives jobs from claims and from blocking waits.

It numbers them, enters them in the ledger and hands them to the threads and the event loop; if the
worker is quiet or has no room for them, it returns them to their queues. Used by the fetcher thread
only.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from jobd.runtime.ipc.scoreboard import RESCUE, Page
from jobd.runtime.log import log
from jobd.store.inflight import InFlight, split_tag
from jobd.store.protocol import Reply
from jobd.wire import job_name
from jobd.worker.fetch.blocking import FILE_AT_MOST, Arrival
from jobd.worker.fetch.ledger import Call, Ledger
from jobd.worker.fetch.order import QueueOrder
from jobd.worker.fetch.room import Room, Side
from jobd.worker.run.settlement import Outcome, Settlement

CLAIM_AT_MOST = 5000
"""Most jobs of one claim: while the script runs, all other clients wait."""


class Look:
    """The callback for the answer of a call that may be refused: then it gets None."""

    def __init__(self, use: Callable[[object], None]) -> None:
        self._use = use

    def __call__(self, answer: object) -> None:
        self._use(answer)


class LeaseLost(Exception):
    """A keeper considered this worker dead and returned its jobs to their queues."""


class Intake:
    """Receives the jobs of one worker.

    Args:
        inflight: packs the calls.
        order: plans the claims.
        ledger: records every job received.
        room: where they run.
        page: shows whether the master has others take delivered jobs.

    Attributes:
        quiet: no more jobs are wanted. Set by the main thread.
        unwanted: the numbers of jobs to be cancelled. Set by the main thread.
        paused: queues that were paused at the last claim, or whose key was not a list.
        asked_at: time of the last claim (monotonic s).
        emptied: whether the last claims emptied their queues.
        more: whether one of them reached the limit and more jobs are wanted.
        delivered: queues whose claim list may hold jobs that have not been filed.
    """

    def __init__(
        self, inflight: InFlight, order: QueueOrder, ledger: Ledger, room: Room, page: Page
    ) -> None:
        self._page = page
        self._inflight = inflight
        self._order = order
        self._ledger = ledger
        self._room = room
        self._next = 1
        self._log = log.get("jobd.fetcher")
        self._broken: frozenset[str] = frozenset()
        self.quiet = False
        self.unwanted: frozenset[int] = frozenset()
        self.paused: frozenset[str] = frozenset()
        self.asked_at = 0.0
        self.emptied = False
        self.more = False
        self.delivered: list[str] = []

    def give_back(self) -> None:
        """Return jobs that have waited too long for their start; all waiting ones when quiet."""
        late = self._room.take_back() if self.quiet else self._room.overdue()
        if late:
            self._ledger.give_back(late)

    def numbers(self, most: int) -> int:
        """Reserve *most* sequence numbers; returns the first. None is ever reused, because a claim
        whose answer was lost may have used it."""
        first = self._next
        self._next += most
        return first

    # -- claims --------------------------------------------------------------------------------

    def claims(self) -> list[Call]:
        """Calls that claim jobs for all the room that there is, one for each kind."""
        self.asked_at = time.monotonic()
        self.emptied = True
        self.more = False
        to_claim = self._room.to_claim()
        sides = ((self._room.threads, to_claim.threads), (self._room.loop, to_claim.loop))
        return [self._claim(side, names) for side, names in sides if names]

    def looks(self) -> list[Call]:
        """Calls that read the heads of queues, to find out what kind of room they need."""
        names = self._room.to_look_at()
        return [(self._inflight.head(name), Look(partial(self._seen, name))) for name in names]

    def _seen(self, queue: str, raw: bytes | None) -> None:
        if self._room.seen(queue, raw):
            self.emptied = False

    def _claim(self, side: Side, names: tuple[str, ...]) -> Call:
        """A call that claims as many jobs as *side* wants, at most CLAIM_AT_MOST, from the queues
        *names*; in strict order, from all but the first only a few milliseconds of work."""
        free = side.free
        wanted, behind = free + side.ahead.jobs, free + side.ahead.behind
        bounded = wanted > CLAIM_AT_MOST
        wanted = min(wanted, CLAIM_AT_MOST)
        order = self._order.only(names)
        limits = order.strict
        shares = order.shares(wanted, min(behind, wanted))
        first = self.numbers(wanted)
        call = self._inflight.claim(first, wanted, shares, limits=limits)
        queues = [name for name, _ in shares]
        # Fewer than this means that some queue has run empty.
        enough = min(share for _, share in shares) if limits else wanted
        full = first + wanted if bounded else math.inf
        return call, partial(self._claimed, queues, first, first + enough, full)

    def _claimed(
        self,
        queues: list[str],
        first: int,
        enough: int,
        full: float,
        portions: list[list[Reply]] | None,
    ) -> None:
        if portions is None:
            raise LeaseLost
        closed = {queues[-head - 1]: reason for head, *reason in portions if head < 0}
        self.paused = self.paused.difference(queues).union(closed)
        if closed or self._broken:
            broken = {queue: reason[0] for queue, reason in closed.items() if reason}
            self._tell_broken(queues, broken)
        # Position 0: the payloads were too large for one claim, so there may be more.
        cut = any(head[0] == 0 for head in portions)
        for position, *payloads in portions:
            if position > 0:
                self.dispatch(first, queues[position - 1], payloads)
                first += len(payloads)
        self.emptied = self.emptied and first < enough and not cut
        self.more = self.more or first >= full or cut

    def _tell_broken(self, asked: Sequence[str], broken: dict[str, bytes]) -> None:
        """Log once per queue why no job can be claimed from it."""
        for queue in broken.keys() - self._broken:
            error = broken[queue].decode(errors="replace")
            self._log.error("queue_unusable", queue=queue, error=error)
        self._broken = self._broken.difference(asked).union(broken)

    # -- what blocking claims deliver ------------------------------------------------------------

    def reconcile(self, ask: Callable[[bytes], Reply], waited_on: Iterable[str]) -> None:
        """Find jobs claimed by calls whose answer was lost, and jobs no longer ours.

        Args:
            ask: sends one call and returns the answer.
            waited_on: the queues whose claim lists may hold jobs.
        """
        # Fields in an unknown format are left to the keeper, when this worker has exited.
        tags = (split_tag(field) for field in ask(self._inflight.held()))
        there = dict(tag for tag in tags if tag is not None)
        if gone := self._ledger.missing(there):
            self.forget(gone)
        for sequence in self._ledger.unknown(there):
            queue = there[sequence]
            payload = ask(self._inflight.payload(sequence, queue))
            if payload is not None:
                self.deliver(sequence, queue, [payload])
        self.delivered = list(waited_on)  # after a broken connection any may hold some

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
        """Take the jobs that blocking claims have delivered; return them to their queues if there
        is no room or if it may be too late.

        Their numbers were reserved when the wait began, so that :class:`Stale` would consider them
        started: they must not have to wait for their start.
        """
        for queue, first, payloads in arrivals:
            if payloads is None:
                raise LeaseLost
            self.deliver(first, queue, payloads, now=True)

    def deliver(self, first: int, queue: str, payloads: list[bytes], *, now: bool = False) -> None:
        """Dispatch jobs that may have been delivered long ago. If others may be taking them right
        now, only Redis knows whether they are still ours, so they are returned."""
        self.dispatch(first, queue, payloads, now=now, ours=not self._page.words[RESCUE])

    def _filed(self, queue: str, first: int, payloads: list[bytes] | None) -> None:
        if payloads is None:
            raise LeaseLost
        self.dispatch(first, queue, payloads)

    # -- to where they run -----------------------------------------------------------------------

    def dispatch(
        self,
        first: int,
        queue: str,
        payloads: list[bytes],
        *,
        now: bool = False,
        ours: bool = True,
    ) -> None:
        """Hand over jobs, numbered from *first*. Those without room return to their queues; all of
        them if they may not be *ours*, or the worker has gone quiet in the meantime.

        Args:
            now: they must be able to start at once.
        """
        if not payloads:
            return
        jobs = self._room.claimed(first, queue, payloads)
        if self.quiet or not ours:
            for job in jobs:
                self._ledger.add(job)
            self._ledger.give_back(jobs)
        elif refused := self._room.distribute(jobs, queue, now=now):
            self._ledger.give_back(refused)

    def cancel_unwanted(self) -> None:
        """End the unwanted jobs as cancelled that have not started."""
        if not self.unwanted:
            return
        unwanted, self.unwanted = self.unwanted, frozenset()
        waiting = self._room.take_back()
        self._room.keep_waiting([job for job in waiting if job.sequence not in unwanted])
        for job in waiting:
            if job.sequence in unwanted:
                fields = job_name.log_fields(job.payload)
                self._log.info("job_cancelled", **fields, outcome=Outcome.CANCELLED)
                self._ledger.leave_loop(job.sequence)
                self._ledger.settle(Settlement(job, b"", Outcome.CANCELLED))

    def forget(self, sequences: set[int]) -> None:
        """Drop jobs that belong to another worker now. Those not started will not start here."""
        waiting = self._room.take_back()
        self._room.keep_waiting([job for job in waiting if job.sequence not in sequences])
        self._ledger.forget(sequences, started=sequences - {job.sequence for job in waiting})
