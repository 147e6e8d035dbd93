"""The ledger: the jobs that this worker holds, from their claim until Redis confirms their end.

The outcome of a job (done, settled, given back) is decided once, and its call is sent until it has
been answered; every such call is idempotent. The first decision wins: a job that was failed for
its timeout may still end. Used by the fetcher thread only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial

from structlog.typing import FilteringBoundLogger

from jobd.runtime.ipc.scoreboard import FAILED, IN_FLIGHT, PROCESSED, Page
from jobd.store.inflight import Claimed, InFlight
from jobd.wire import job_name
from jobd.worker.run.settlement import TOGETHER, Outcome, Settlement

CANCELLED = 2
"""The answer of a script if the job has ended as cancelled instead."""

END_AT_MOST = 1000
"""Most jobs on which something hangs that end in one call: while the script runs, all other clients
wait, some 10 ms for so many."""

Call = tuple[bytes, Callable[[object], None]]
"""A packed call, and the callback for its answer."""


class Ledger:
    """The jobs that one worker holds.

    Args:
        inflight: packs the calls.
        page: the scoreboard page that shows the counters.
        log: for jobs that are no longer ours.
    """

    def __init__(self, inflight: InFlight, page: Page, log: FilteringBoundLogger) -> None:
        self._inflight = inflight
        self._page = page
        self._log = log
        self._held: dict[int, Claimed] = {}
        # A held job whose outcome is decided is in exactly one of these.
        self._done: dict[int, Claimed] = {}
        self._settled: dict[int, Settlement] = {}
        self._together: dict[int, Settlement] = {}
        self._returning: dict[int, Claimed] = {}
        self._cut_short: frozenset[int] = frozenset()
        # No longer held, but still running here.
        self._strangers: set[int] = set()
        # Async jobs that wait for a place on the loop or run there, ours or not.
        self._on_loop: set[int] = set()
        self.interrupted = 0
        """Jobs that had started and are confirmed to be back in their queues."""
        self.repeating = False
        """Whether calls may have been sent before: then a call without effect means nothing."""

    def __len__(self) -> int:
        return len(self._held)

    @property
    def _outcomes(self) -> tuple[Collection[int], ...]:
        return self._done, self._together, self._settled, self._returning

    @property
    def unfinished(self) -> int:
        """Jobs that wait for a thread or run in one, including those no longer ours."""
        return len(self._held) + len(self._strangers) - sum(map(len, self._outcomes))

    @property
    def on_loop(self) -> int:
        """Those of the unfinished jobs that wait for a place on the event loop or run there."""
        return len(self._on_loop)

    @property
    def in_threads(self) -> int:
        """The other unfinished jobs."""
        return self.unfinished - len(self._on_loop)

    @property
    def returning(self) -> bool:
        """Whether jobs are being returned to their queues."""
        return bool(self._returning)

    def add(self, job: Claimed) -> None:
        """Add a claimed job."""
        self._held[job.sequence] = job

    def add_on_loop(self, job: Claimed) -> None:
        """Add a claimed job that runs on the event loop."""
        self._held[job.sequence] = job
        self._on_loop.add(job.sequence)

    def leave_loop(self, sequence: int) -> bool:
        """Note that a job no longer needs the event loop; returns whether it did."""
        if sequence in self._on_loop:
            self._on_loop.remove(sequence)
            return True
        return False

    # -- deciding ------------------------------------------------------------------------------

    def done(self, job: Claimed) -> bool:
        """Record that *job* succeeded. False if it is no longer ours: then it runs elsewhere, and
        its end here has no effect."""
        sequence = job.sequence
        self._strangers.discard(sequence)
        if sequence not in self._held or sequence in self._returning or sequence in self._settled:
            return False
        self._done[sequence] = job
        return True

    def settle(self, settlement: Settlement) -> bool:
        """Record how a job ends otherwise. False as for :meth:`done`."""
        sequence = settlement.job.sequence
        self._strangers.discard(sequence)
        if (
            sequence not in self._held
            or sequence in self._together
            or sequence in self._done
            or sequence in self._settled
            or sequence in self._returning
        ):
            return False
        into = self._settled if settlement.call else self._together
        into[sequence] = settlement
        return True

    def give_back(self, jobs: Iterable[Claimed]) -> None:
        """Return *jobs*, which have not started, to their queues."""
        for job in jobs:
            self.leave_loop(job.sequence)
            if job.sequence in self._held:
                self._returning[job.sequence] = job

    def give_back_running(self) -> None:
        """Return all jobs whose outcome is not decided to their queues."""
        running = self._held.keys() - self._decided()
        self._cut_short |= running
        self._returning |= {sequence: self._held[sequence] for sequence in running}

    def _decided(self) -> set[int]:
        return set().union(*self._outcomes)

    # -- telling Redis ---------------------------------------------------------------------------

    def calls(self) -> list[Call]:
        """Calls for every outcome that is decided."""
        calls: list[Call] = []
        if self._done:
            jobs = list(self._done.values())
            calls.append((self._inflight.acknowledge(jobs), partial(self._acknowledged, jobs)))
        groups: dict[Outcome, list[Settlement]] = {}
        for settlement in self._together.values():
            groups.setdefault(settlement.outcome, []).append(settlement)
        for outcome, all_of_it in groups.items():
            for first in range(0, len(all_of_it), END_AT_MOST):
                group = all_of_it[first : first + END_AT_MOST]
                ends = [(each.job, each.detail) for each in group]
                call = self._inflight.end(TOGETHER[outcome], ends)
                calls.append((call, partial(self._ended_together, outcome, group)))
        for settlement in self._settled.values():
            calls.append((settlement.call, partial(self._ended, settlement)))
        if self._returning:
            call = self._inflight.give_back(self._returning.values(), self._cut_short)
            calls.append((call, partial(self._returned, tuple(self._returning))))
        return calls

    def show(self) -> None:
        """Show the number of held jobs on the scoreboard."""
        self._page.words[IN_FLIGHT] = len(self._held)

    def _acknowledged(self, jobs: list[Claimed], removed: int) -> None:
        self._done = {}
        self._page.words[PROCESSED] += removed
        self._removed(jobs, removed)

    def _ended_together(self, outcome: Outcome, ended: list[Settlement], removed: int) -> None:
        for each in ended:
            del self._together[each.job.sequence]
        if outcome is Outcome.DONE:
            self._page.words[PROCESSED] += removed
        self._removed([each.job for each in ended], removed)

    def _removed(self, jobs: list[Claimed], removed: int) -> None:
        for job in jobs:
            del self._held[job.sequence]
        self._lost(len(jobs) - removed)

    def _ended(self, settlement: Settlement, changed: int) -> None:
        del self._settled[settlement.job.sequence]
        del self._held[settlement.job.sequence]
        if changed == CANCELLED:
            fields = job_name.log_fields(settlement.job.payload)
            self._log.info("job_cancelled", **fields, outcome=Outcome.CANCELLED)
            return
        if settlement.outcome.executed:
            self._page.words[PROCESSED] += changed
            self._page.words[FAILED] += changed
        self._lost(1 - changed)

    def _returned(self, sequences: tuple[int, ...], changed: int) -> None:
        for sequence in sequences:
            del self._held[sequence]
            del self._returning[sequence]
        lost = len(sequences) - changed
        if self._cut_short:  # jobs that had not started may have been taken over; no harm done
            self._lost(lost)
        self.interrupted += max(0, len(self._cut_short.intersection(sequences)) - lost)
        level = "info" if self._cut_short else "debug"
        getattr(self._log, level)("jobs_given_back", jobs=changed, started=len(self._cut_short))

    # -- comparing with Redis --------------------------------------------------------------------

    def missing(self, there: Collection[int]) -> set[int]:
        """Jobs that run or wait here but are not in flight for us in Redis."""
        return self._held.keys() - set(there) - self._decided()

    def unknown(self, there: Collection[int]) -> list[int]:
        """Jobs in flight for us in Redis that are unknown here, in order."""
        return sorted(set(there) - self._held.keys())

    def forget(self, sequences: Collection[int], started: Collection[int]) -> None:
        """Drop jobs that belong to another worker now; those in *started* still occupy a thread."""
        self._strangers.update(started)
        self._on_loop -= set(sequences) - set(started)
        for sequence in sequences:
            del self._held[sequence]
        self._lost(len(sequences), certain=True)

    def _lost(self, jobs: int, *, certain: bool = False) -> None:
        if jobs and (certain or not self.repeating):
            self._log.warning("jobs_no_longer_ours", jobs=jobs)
