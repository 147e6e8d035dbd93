"""The fetcher: the one thread through which a worker claims jobs and says what became of them.

Every turn is one round trip on one connection: first the ends of jobs (acknowledgements, retries,
deaths, jobs given back), then the claim of new ones. Because all of them travel in order on that
connection, a job's end can never overtake its claim. When the queues are empty, one more connection
per queue blocks in the server, or with many queues one for all watches them, so that an idle worker
costs next to nothing and starts a job the moment it is pushed. Where neither is granted the queues
are polled.

What was sent and not answered when a connection broke is sent again on the next one: every script
does nothing the second time. What a lost reply had claimed is found in the in-flight hash.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import redis

from jobd.runtime.ipc.scoreboard import FETCHER_BEAT, Page
from jobd.runtime.log import log
from jobd.runtime.process.wakeup import Bell
from jobd.store.inflight import Claimed, InFlight, split_tag
from jobd.store.loops import Outage
from jobd.store.pipeline import Wire
from jobd.store.scripts import OF_A_WORKER
from jobd.worker.fetch.blocking import BLOCK, Arrival
from jobd.worker.fetch.intake import Intake, LeaseLost
from jobd.worker.fetch.ledger import Call, Ledger
from jobd.worker.fetch.order import QueueOrder
from jobd.worker.fetch.prefetch import Ahead
from jobd.worker.fetch.waiting import Waiting
from jobd.worker.run.pool import Pool
from jobd.worker.run.settlement import Settlement

NAP = 0.005
"""Seconds for which ends of jobs are collected while the threads still have claimed jobs to run."""

PAUSED_POLL = 2.0
"""Seconds between looks at queues that are paused."""

REGISTER_AGAIN = 1.0
"""Seconds between attempts to register while a keeper still recovers what this worker had."""

LOOK_AGAIN = BLOCK + 1.0
"""Seconds after a new connection until a second look at what Redis holds for this worker. By then
the server has done what it was still going to do for a connection that broke."""


class Fetcher(threading.Thread):
    """The fetcher thread of one worker.

    Args:
        client: whose connections are used.
        inflight: packs this owner's calls.
        order: plans the claims.
        pool: the job threads.
        page: this worker's page of the scoreboard.
        notify: called when :attr:`registered` or, while it is quiet, :attr:`holding` has changed.
    """

    def __init__(
        self,
        client: redis.Redis,
        inflight: InFlight,
        order: QueueOrder,
        pool: Pool,
        page: Page,
        notify: Callable[[], None],
    ) -> None:
        super().__init__(name="fetcher", daemon=True)
        self._inflight = inflight
        self._pool = pool
        self._page = page
        self._notify = notify
        self._log = log.get("jobd.fetcher")
        self._outage = Outage(self._log, client)
        self._ahead = Ahead(pool.size)
        self._wire = Wire(client)
        self._bell = Bell()
        self._waits = Waiting(client, inflight, order.names, self._bell, page)

        # Job threads append, the fetcher takes; both ends of a deque are atomic.
        self._finished: deque[Claimed] = deque()
        self._settled: deque[Settlement] = deque()
        self._asleep = False
        self._napping = False

        self.registered = False
        """Whether it has told Redis that it is here; from then on its jobs are safe."""

        # The main thread writes, the fetcher obeys.
        self._surrendering = False
        self._ending = threading.Event()
        self._lease_in_doubt = False
        self._surrendered = threading.Event()

        # The fetcher's own.
        self._ledger = Ledger(inflight, page, self._log)
        self._intake = Intake(inflight, order, self._ledger, pool, page)
        self._claiming = False
        # Whether replies are still to be read; and whether, because some never came, Redis may hold
        # jobs for us that we do not know of.
        self._unanswered = False
        self._unsure = False
        # The same of the waits: they may have brought what is not in the ledger yet.
        self._hearing = False
        self._look_again_at = math.inf
        self._surrender_begun = False
        self._released = False

    # -- for job threads -----------------------------------------------------------------------

    def finish(self, job: Claimed) -> None:
        """*job* is done: acknowledge it with the next round trip, which begins now if idle."""
        self._finished.append(job)
        if self._asleep and (not self._napping or self._pool.queue.empty()):
            self._asleep = False
            self._bell.ring()

    def settle(self, settlement: Settlement) -> None:
        """A job ended otherwise: send the call that says so."""
        self._settled.append(settlement)
        self._bell.ring()

    # -- for the main thread -------------------------------------------------------------------

    @property
    def holding(self) -> int:
        """How many jobs are claimed and not known to have ended in Redis."""
        return len(self._ledger)

    @property
    def outage(self) -> str:
        """Why it cannot talk to Redis now; "" if it can."""
        return self._outage.error

    @property
    def interrupted(self) -> int:
        """How many jobs that had started are back in their queues by Redis' own word."""
        return self._ledger.interrupted

    @property
    def idle(self) -> bool:
        """Whether it holds no job, and no claim is on its way. Once it is quiet, this lasts."""
        return self.holds_at_most(0)

    def holds_at_most(self, jobs: int) -> bool:
        """Whether it holds no more than so many, and no claim is on its way."""
        return not self._claiming and len(self._ledger) <= jobs

    def quiet(self) -> None:
        """Claim nothing more, and give back what has not started."""
        self._intake.quiet = True
        self._bell.ring()

    def resume(self) -> None:
        """Claim again."""
        self._intake.quiet = False
        self._bell.ring()

    def doubt_lease(self) -> None:
        """Somebody saw that this worker has no lease any more: register again."""
        self._lease_in_doubt = True
        self._bell.ring()

    def surrender(self, timeout: float) -> bool:
        """Return every unfinished job to the head of its queue.

        What those jobs do afterwards changes nothing in Redis. Those that have been settled before
        are not among them.

        Returns:
            Whether Redis confirmed it within *timeout* seconds.
        """
        self._intake.quiet = self._surrendering = True
        self._bell.ring()
        return self._surrendered.wait(timeout)

    def close(self, timeout: float) -> bool:
        """Send what is left to send, give up the lease, and end.

        Returns:
            Whether nothing is left under this worker's name.
        """
        self._intake.quiet = True
        self._ending.set()
        self._bell.ring()
        self.join(timeout)
        return self._released

    @property
    def may_hold(self) -> bool:
        """Whether Redis may have jobs in flight for this worker: it holds some, or a claim of its
        got no answer. To be asked after :meth:`close`, where that could not make sure."""
        asked = self._unanswered or self._waits.armed or self._hearing
        return bool(self._ledger or self._unsure or asked)

    # -- the loop ------------------------------------------------------------------------------

    def run(self) -> None:
        pause = 0.0
        while not self._ending.is_set():
            try:
                self._pause(pause)
                self._connect()
                while not self._ending.is_set():
                    self._turn()
                self._leave()
            except LeaseLost:
                self._log.warning("lease_lost", holding=len(self._ledger))
                pause = 0.0
            except redis.RedisError as error:
                pause = self._outage.failed(error)
                self._ledger.repeating = True
                # Else each of their broken connections would count as one more failure.
                self._close_waits()
            except Exception:  # noqa: BLE001 - a bug of ours must not end the worker; logged
                self._log.exception("fetcher_failed")
                pause = REGISTER_AGAIN
                self._ledger.repeating = True
                self._close_waits()

    def _close_waits(self) -> None:
        """After a failure, whatever it was: what has been asked and not been answered?"""
        self._hearing = self._hearing or self._waits.armed
        certain = self._waits.close()
        self._unsure = self._unsure or self._unanswered or not certain
        self._hearing = False

    def _turn(self) -> None:
        """Ends and claims in one round trip, then rest until there is something to do."""
        self._page.beat(FETCHER_BEAT)
        if not self._wire.alive():
            self._connect()
        if self._lease_in_doubt:
            self._lease_in_doubt = False
            raise LeaseLost
        if time.monotonic() >= self._look_again_at:
            self._look_again_at = math.inf
            # What a wait has filed and not been read yet would seem to be lost.
            self._hear(partial(self._waits.disarm, self._wire))
            self._compare_notes()
        self._collect()
        log.flush()
        # Said before `quiet` is read, so that whoever sets it and then asks `idle` is not told
        # that it is, while a claim is still to be answered. After a failure it stays said until
        # a turn has succeeded.
        self._claiming = True
        if self._waits.armed and (self._intake.quiet or self._intake.free <= 0):
            self._hear(partial(self._waits.disarm, self._wire))
        calls = self._ends() + self._intake.filings()
        free = self._intake.free
        wanted = free + self._ahead.jobs
        claiming = wanted > 0 and not self._intake.quiet and self._worth_asking
        if claiming:
            calls.append(self._intake.claim(wanted, free + self._ahead.behind))
        if calls:
            self._exchange(calls)
        # Not when it has connected: a server may grant that, and refuse the rest again and again.
        self._outage.over()
        self._claiming = False
        if self._look_again_at == math.inf:  # by now it has been looked what there is
            self._unsure = False
        self._report()
        if not (claiming and self._intake.more):
            self._rest(emptied=claiming and self._intake.emptied)

    @property
    def _worth_asking(self) -> bool:
        """Whether a claim may find something; whether a queue is paused, only a claim can tell."""
        if not self._waits.covers(self._intake.paused):
            return True
        return bool(self._intake.paused) and time.monotonic() - self._intake.asked_at >= PAUSED_POLL

    def _exchange(self, calls: list[Call]) -> None:
        """One round trip. Every answer is used, also those beside one that is an error."""
        self._unanswered = True
        self._wire.send(b"".join(call for call, _ in calls))
        failure: redis.ResponseError | None = None
        for _, use in calls:
            try:
                reply = self._wire.read()
            except redis.ResponseError as error:
                failure = failure or error
            else:
                use(reply)
        self._unanswered = False
        if failure is not None:
            raise failure
        self._ledger.repeating = False

    def _rest(self, *, emptied: bool) -> None:
        """Sleep until a job arrives or ends, or somebody rings; not at all if there may be more."""
        free = self._intake.free
        if self._intake.delivered:
            return
        if self._intake.quiet or self._ending.is_set():
            seconds = BLOCK
        elif not self._pool.queue.empty():
            # Threads have work for a while. Their ends are collected, so that one round trip
            # carries many; the thread that takes the last job wakes the fetcher early.
            seconds = NAP
        elif free > 0 and not emptied and not self._waits.covers(self._intake.paused):
            return
        else:
            seconds = PAUSED_POLL if self._intake.paused else BLOCK
            if free > 0:
                paused, numbers = self._intake.paused, self._intake.numbers
                busy = self._ledger.unfinished > 0
                seconds = min(seconds, self._waits.arm(paused, numbers, busy=busy))
        self._napping = seconds == NAP
        seconds = max(0.0, min(seconds, self._look_again_at - time.monotonic()))
        self._asleep = True
        # A job may have ended after the turn looked and before `finish` could know that it must
        # ring. Everything else rings in any case, and the bell is not silenced before the sleep.
        if self._finished and (not self._napping or self._pool.queue.empty()):
            seconds = 0.0
        if self._hear(partial(self._waits.sleep, seconds)):
            # Let go of the interpreter, so that the job starts before this thread does the rest.
            time.sleep(0)

    def _hear(self, waits: Callable[[], list[Arrival]]) -> bool:
        """Take what the waits have brought; returns whether they have."""
        self._hearing = self._waits.armed
        arrivals = waits()
        self._page.beat(FETCHER_BEAT)
        self._asleep = False
        self._intake.arrived(arrivals)
        self._hearing = False
        return bool(arrivals)

    # -- connecting and leaving ----------------------------------------------------------------

    def _pause(self, seconds: float) -> None:
        """Pause between attempts to connect; only the end of the process cuts it short."""
        until = time.monotonic() + seconds
        while not self._ending.is_set() and (left := until - time.monotonic()) > 0:
            # An outage is no reason to take this thread for a hung one.
            self._page.beat(FETCHER_BEAT)
            log.flush()
            self._waits.sleep(left)

    def _connect(self) -> None:
        """Open the connection, take (or take back) the lease, and compare notes with Redis."""
        self._close_waits()
        self._wire.connect(OF_A_WORKER)
        while not self._ask(self._inflight.register()):
            self._pause(REGISTER_AGAIN)
            if self._ending.is_set():
                return
        self._lease_in_doubt = False
        self._compare_notes()
        self._look_again_at = time.monotonic() + LOOK_AGAIN
        if not self.registered:
            self.registered = True
            self._notify()

    def _compare_notes(self) -> None:
        """Learn what claims whose answer was lost have taken, and what is ours no more."""
        self._reconcile()
        self._intake.look_everywhere(self._waits.queues)

    def _reconcile(self) -> None:
        # Of a field that is not ours, the keeper makes what it can when this worker has left.
        tags = (split_tag(field) for field in self._ask(self._inflight.held()))
        there = dict(tag for tag in tags if tag is not None)
        if gone := self._ledger.missing(there):
            self._intake.forget(gone)
        for sequence in self._ledger.unknown(there):
            queue = there[sequence]
            payload = self._ask(self._inflight.payload(sequence, queue))
            if payload is not None:
                self._intake.deliver(sequence, queue, [payload])

    def _ask(self, call: bytes) -> Any:
        self._wire.send(call)
        return self._wire.read()

    def _leave(self) -> None:
        """Send the last ends, and hand in the lease if nothing is left under it."""
        self._hear(partial(self._waits.disarm, self._wire))
        self._collect()
        while calls := self._ends() + self._intake.filings():
            log.flush()
            self._exchange(calls)
            self._collect()
        self._released = bool(self._ask(self._inflight.release()))
        self._waits.close()
        self._wire.close()

    # -- ends of jobs --------------------------------------------------------------------------

    @property
    def _unsurrendered(self) -> bool:
        return self._surrendering and not self._surrendered.is_set()

    def _collect(self) -> None:
        """Take over what the job threads have said."""
        ended = 0
        while self._finished:
            ended += self._ledger.done(self._finished.popleft())
        while self._settled:
            ended += self._ledger.settle(self._settled.popleft())
        self._ahead.note(ended)

    def _ends(self) -> list[Call]:
        """Calls for all jobs whose end is decided."""
        self._intake.give_back()
        if self._unsurrendered:
            self._surrender_begun = True
            self._collect()  # what was settled before `surrender` must not be given back
            self._ledger.give_back_running()
        return self._ledger.calls()

    def _report(self) -> None:
        self._ledger.show()
        # Not `_surrendering`: that may have been set in the middle of this turn.
        if self._surrender_begun and not self._ledger.returning:
            self._surrendered.set()
        if self._intake.quiet and not self._ledger:
            self._notify()
