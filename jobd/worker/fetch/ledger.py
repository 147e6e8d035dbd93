"""The ledger: the jobs that this worker holds, from their claim until Redis confirms their end.

The end of a job is decided first (done, settled, given back) and stays decided until the call that
says so has been answered, however often it must be sent: every such call does nothing the second
time. Whoever decides first, decides: a job that was failed for its time may end after all. Belongs
to the fetcher's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial

from structlog.typing import FilteringBoundLogger

from jobd.runtime.ipc.scoreboard import FAILED, IN_FLIGHT, PROCESSED, Page
from jobd.store.inflight import Claimed, InFlight
from jobd.worker.run.settlement import Settlement

Call = tuple[bytes, Callable[[object], None]]
"""A packed call, and what uses its answer."""


class Ledger:
    """The jobs that one worker holds.

    Args:
        inflight: packs the calls.
        page: where the counters are shown.
        log: told what became of jobs that are not ours any more.
    """

    def __init__(self, inflight: InFlight, page: Page, log: FilteringBoundLogger) -> None:
        self._inflight = inflight
        self._page = page
        self._log = log
        self._held: dict[int, Claimed] = {}
        # A held job whose end is decided is in exactly one of these.
        self._done: dict[int, Claimed] = {}
        self._settled: dict[int, Settlement] = {}
        self._returning: dict[int, Claimed] = {}
        self._cut_short: frozenset[int] = frozenset()
        # Not held any more, and still running here.
        self._strangers: set[int] = set()
        self.interrupted = 0
        """Jobs that had started and are certainly back in their queues."""
        self.repeating = False
        """Calls may have been sent before: that one finds nothing to do says nothing then."""

    def __len__(self) -> int:
        return len(self._held)

    @property
    def unfinished(self) -> int:
        """Jobs that wait for a thread or run in one, those included that are not ours any more."""
        decided = len(self._done) + len(self._settled) + len(self._returning)
        return len(self._held) + len(self._strangers) - decided

    @property
    def returning(self) -> bool:
        """Whether jobs are on their way back."""
        return bool(self._returning)

    def add(self, job: Claimed) -> None:
        """*job* has been claimed."""
        self._held[job.sequence] = job

    # -- deciding ------------------------------------------------------------------------------

    def done(self, job: Claimed) -> bool:
        """It succeeded. False if it is not ours any more: then it runs elsewhere, and its end
        here means nothing."""
        sequence = job.sequence
        self._strangers.discard(sequence)
        if sequence not in self._held or sequence in self._returning or sequence in self._settled:
            return False
        self._done[sequence] = job
        return True

    def settle(self, settlement: Settlement) -> bool:
        """It failed, and this ends it. False as for :meth:`done`."""
        sequence = settlement.job.sequence
        self._strangers.discard(sequence)
        decided = (self._returning, self._settled, self._done)
        if sequence not in self._held or any(sequence in one for one in decided):
            return False
        self._settled[sequence] = settlement
        return True

    def give_back(self, jobs: Iterable[Claimed]) -> None:
        """These have not started, and go back to their queues."""
        for job in jobs:
            if job.sequence in self._held:
                self._returning[job.sequence] = job

    def give_back_running(self) -> None:
        """Everything whose end is not decided goes back to its queue, cut short."""
        running = self._held.keys() - self._decided()
        self._cut_short |= running
        self._returning |= {sequence: self._held[sequence] for sequence in running}

    def _decided(self) -> set[int]:
        return self._done.keys() | self._settled.keys() | self._returning.keys()

    # -- telling Redis ---------------------------------------------------------------------------

    def calls(self) -> list[Call]:
        """Calls for every end that is decided."""
        calls: list[Call] = []
        if self._done:
            jobs = list(self._done.values())
            calls.append((self._inflight.acknowledge(jobs), partial(self._acknowledged, jobs)))
        for settlement in self._settled.values():
            calls.append((settlement.call, partial(self._ended, settlement)))
        if self._returning:
            call = self._inflight.give_back(self._returning.values(), self._cut_short)
            calls.append((call, partial(self._returned, tuple(self._returning))))
        return calls

    def show(self) -> None:
        """Show on the scoreboard how many are held."""
        self._page.words[IN_FLIGHT] = len(self._held)

    def _acknowledged(self, jobs: list[Claimed], removed: int) -> None:
        self._done = {}
        for job in jobs:
            del self._held[job.sequence]
        self._page.words[PROCESSED] += removed
        self._lost(len(jobs) - removed)

    def _ended(self, settlement: Settlement, changed: int) -> None:
        del self._settled[settlement.job.sequence]
        del self._held[settlement.job.sequence]
        self._page.words[PROCESSED] += changed
        self._page.words[FAILED] += changed
        self._lost(1 - changed)

    def _returned(self, sequences: tuple[int, ...], changed: int) -> None:
        for sequence in sequences:
            del self._held[sequence]
            del self._returning[sequence]
        lost = len(sequences) - changed
        if self._cut_short:  # what has not started may have been taken over; it does no harm
            self._lost(lost)
        self.interrupted += max(0, len(self._cut_short.intersection(sequences)) - lost)
        level = "info" if self._cut_short else "debug"
        getattr(self._log, level)("jobs_given_back", jobs=changed, started=len(self._cut_short))

    # -- comparing notes -------------------------------------------------------------------------

    def missing(self, there: Collection[int]) -> set[int]:
        """Jobs that run or wait here and are not among those that Redis has in flight for us."""
        return self._held.keys() - set(there) - self._decided()

    def unknown(self, there: Collection[int]) -> list[int]:
        """Jobs that Redis has in flight for us and we know nothing of, in order."""
        return sorted(set(there) - self._held.keys())

    def forget(self, sequences: Collection[int], started: Collection[int]) -> None:
        """They belong to somebody else now; those in *started* still keep a thread of ours busy."""
        self._strangers.update(started)
        for sequence in sequences:
            del self._held[sequence]
        self._lost(len(sequences), certain=True)

    def _lost(self, jobs: int, *, certain: bool = False) -> None:
        if jobs and (certain or not self.repeating):
            self._log.warning("jobs_no_longer_ours", jobs=jobs)
