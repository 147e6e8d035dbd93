"""The fetcher: the thread that claims a worker's jobs and reports how they ended.

Every turn is one round trip on one connection: first the ends of jobs (acknowledgements, retries,
deaths, returned jobs), then the claim of new ones. They share one connection so that a job's end
can never overtake its claim. When the queues are empty, one more connection per queue blocks in the
server; with many queues, a single connection watches them all. So an idle worker costs next to
nothing and starts a pushed job at once. If the server allows neither, the queues are polled.

Calls that were not answered when a connection broke are sent again on the next one: every script
is idempotent. Jobs claimed by a call whose reply was lost are found in the in-flight hash.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from functools import partial

import redis

from jobd.runtime.ipc.scoreboard import FETCHER_BEAT, Page
from jobd.runtime.log import log
from jobd.runtime.process.wakeup import Bell
from jobd.store.inflight import InFlight
from jobd.store.loops import Outage
from jobd.store.pipeline import Wire
from jobd.store.scripts import OF_A_WORKER
from jobd.worker.fetch.blocking import BLOCK, Arrival
from jobd.worker.fetch.ends import Ends
from jobd.worker.fetch.intake import Intake, LeaseLost, Look
from jobd.worker.fetch.ledger import Call, Ledger
from jobd.worker.fetch.order import QueueOrder
from jobd.worker.fetch.room import Room
from jobd.worker.fetch.surrender import Surrender
from jobd.worker.fetch.waiting import Waiting
from jobd.worker.run.pool import Pool
from jobd.worker.run.tasks import Tasks

NAP = 0.005
"""Seconds for which ends of jobs are batched while the threads still have claimed jobs to run."""

PAUSED_POLL = 2.0
"""Seconds between polls of paused queues."""

REGISTER_AGAIN = 1.0
"""Seconds between attempts to register while a keeper is still recovering this worker's jobs."""

LOOK_AGAIN = BLOCK + 1.0
"""Seconds after a reconnect until Redis is asked a second time which jobs it holds for this worker.
By then the server has finished whatever it was doing for the broken connection."""


class Fetcher(threading.Thread):
    """The fetcher thread of one worker.

    Args:
        client: whose connections are used.
        inflight: packs this owner's calls.
        order: plans the claims.
        pool: the job threads.
        tasks: the async jobs.
        page: this worker's page of the scoreboard.
        notify: called when :attr:`registered` or, while it is quiet, :attr:`holding` has changed.
    """

    def __init__(
        self,
        client: redis.Redis,
        inflight: InFlight,
        order: QueueOrder,
        pool: Pool,
        tasks: Tasks,
        page: Page,
        notify: Callable[[], None],
    ) -> None:
        super().__init__(name="fetcher", daemon=True)
        self._inflight = inflight
        self._page = page
        self._notify = notify
        self._log = log.get("jobd.fetcher")
        self._outage = Outage(self._log, client)
        self._wire = Wire(client)
        self._bell = Bell()
        self._waits = Waiting(client, inflight, order.names, self._bell, page)
        self.ends = Ends(pool, tasks, self._bell.ring)
        self.registered = False
        """Whether it is registered in Redis; from then on its jobs are safe."""

        # Set by the main thread, read by the fetcher.
        self._surrender = Surrender()
        self._ending = threading.Event()
        self._lease_in_doubt = False

        # Used by the fetcher only.
        self._ledger = Ledger(inflight, page, self._log)
        self._room = Room(order.names, self._ledger, pool, tasks, lambda: tasks.names())
        self._intake = Intake(inflight, order, self._ledger, self._room, page)
        # The queues that are not waited on for want of room.
        self._unheard: frozenset[str] = frozenset()
        self._claiming = False
        # Whether replies are outstanding; and whether, because some were lost, Redis may hold
        # jobs for this worker that it does not know about.
        self._unanswered = False
        self._unsure = False
        # The same for the waits: they may have delivered jobs that are not in the ledger yet.
        self._hearing = False
        self._look_again_at = math.inf
        self._released = False

    # -- for the main thread -------------------------------------------------------------------

    @property
    def holding(self) -> int:
        """How many jobs are claimed and not confirmed by Redis as ended."""
        return len(self._ledger)

    @property
    def outage(self) -> str:
        """Why Redis cannot be reached now; "" if it can."""
        return self._outage.error

    @property
    def interrupted(self) -> int:
        """How many started jobs have been returned to their queues, as confirmed by Redis."""
        return self._ledger.interrupted

    @property
    def idle(self) -> bool:
        """Whether it holds no job and no claim is pending. Once it is quiet, this lasts."""
        return self.holds_at_most(0)

    def holds_at_most(self, jobs: int) -> bool:
        """Whether it holds no more than *jobs* jobs and no claim is pending."""
        return not self._claiming and len(self._ledger) <= jobs

    def quiet(self) -> None:
        """Stop claiming, and return jobs that have not started."""
        self._intake.quiet = True
        self._bell.ring()

    def resume(self) -> None:
        """Claim again."""
        self._intake.quiet = False
        self._bell.ring()

    def cancel(self, sequences: frozenset[int]) -> None:
        """End those of these jobs that wait for a thread as cancelled."""
        self._intake.unwanted = sequences
        self._bell.ring()

    def doubt_lease(self) -> None:
        """Register again: the heartbeat found that this worker no longer has a lease."""
        self._lease_in_doubt = True
        self._bell.ring()

    def surrender(self, timeout: float) -> bool:
        """Return every unfinished job to the head of its queue.

        Whatever those jobs do afterwards changes nothing in Redis. Jobs settled before are not
        returned.

        Returns:
            Whether Redis confirmed it within *timeout* seconds.
        """
        self._intake.quiet = self._surrender.asked = True
        self._bell.ring()
        return self._surrender.wait(timeout)

    def close(self, timeout: float) -> bool:
        """Send what is left to send, release the lease, and end the thread.

        Returns:
            Whether Redis holds nothing for this worker any more.
        """
        self._intake.quiet = True
        self._ending.set()
        self._bell.ring()
        self.join(timeout)
        return self._released

    @property
    def may_hold(self) -> bool:
        """Whether Redis may have jobs in flight for this worker: it holds some, or a claim was not
        answered. Ask after :meth:`close`, if that returned False."""
        asked = self._unanswered or self._waits.armed or self._hearing
        return asked or self._unsure or bool(self._ledger)

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
            except Exception as error:  # noqa: BLE001 - a bug of ours must not end the worker
                if isinstance(error, redis.RedisError):
                    pause = self._outage.failed(error)
                else:
                    self._log.exception("fetcher_failed")
                    pause = REGISTER_AGAIN
                self._ledger.repeating = True
                # Otherwise each of their broken connections would count as another failure.
                self._close_waits()

    def _close_waits(self) -> None:
        """Close the waits after a failure, and note whether answers may have been lost."""
        self._hearing = self._hearing or self._waits.armed
        certain = self._waits.close()
        self._unsure = self._unsure or self._unanswered or not certain
        self._hearing = False

    def _turn(self) -> None:
        """Send ends and claims in one round trip, then sleep until there is something to do."""
        self._page.beat(FETCHER_BEAT)
        if not self._wire.alive(prove=self._will_ask):
            self._connect()
        if self._lease_in_doubt:
            self._lease_in_doubt = False
            raise LeaseLost
        if time.monotonic() >= self._look_again_at:
            self._look_again_at = math.inf
            # Otherwise jobs filed by a wait but not read yet would seem to be lost.
            self._hear(partial(self._waits.disarm, self._wire))
            self._intake.reconcile(self._ask, self._waits.queues)
        self._collect()
        log.flush()
        # Set before `quiet` is read, so that a thread that sets `quiet` and then reads `idle` gets
        # False while a claim is pending. After a failure it stays set until a turn succeeds.
        self._claiming = True
        if self._waits.armed and (
            self._intake.quiet or not self._unheard.issuperset(self._room.to_wait().shut)
        ):
            self._hear(partial(self._waits.disarm, self._wire))
        calls = self._ends() + self._intake.filings()
        claims: list[Call] = []
        if not self._intake.quiet and self._worth_asking:
            self._room.doubt()
            claims = [*self._intake.claims(), *self._intake.looks()]
        claiming = bool(claims)
        calls += claims
        if calls:
            self._exchange(calls)
        # Not on connecting: a server may accept connections and refuse every command.
        self._outage.over()
        self._claiming = False
        if self._look_again_at == math.inf:  # the ledger has been compared with Redis
            self._unsure = False
        self._report()
        if not (claiming and self._intake.more):
            self._rest(emptied=claiming and self._intake.emptied)

    @property
    def _will_ask(self) -> bool:
        """Whether this turn will probably send something."""
        ends = self.ends.any or self._intake.delivered or self._intake.quiet or self._ledger
        return bool(ends) or self._worth_asking

    @property
    def _worth_asking(self) -> bool:
        """Whether a claim may find jobs; only a claim can tell whether a queue is still paused."""
        to_claim = self._room.to_claim()
        known = to_claim.shut.issuperset(self._unheard) and not self._room.to_look_at()
        if not (known and self._waits.covers(self._intake.paused | to_claim.shut)):
            return True
        return bool(self._intake.paused) and time.monotonic() - self._intake.asked_at >= PAUSED_POLL

    def _exchange(self, calls: list[Call]) -> None:
        """One round trip. If one answer is an error, the others are still used."""
        self._unanswered = True
        self._wire.send(b"".join(call for call, _ in calls))
        failure: redis.ResponseError | None = None
        for _, use in calls:
            try:
                reply = self._wire.read()
            except redis.ResponseError as error:
                if isinstance(use, Look):
                    use(None)
                else:
                    failure = failure or error
            else:
                use(reply)
        self._unanswered = False
        if failure is not None:
            raise failure
        self._ledger.repeating = False

    def _rest(self, *, emptied: bool) -> None:
        """Sleep until a job arrives or ends or the bell rings; not at all if there may be more."""
        if self._intake.delivered:
            return
        look_in = self._room.forget_heads()
        shut = self._room.to_wait().shut
        deaf = len(shut) == len(self._room.names)
        if self._intake.quiet or self._ending.is_set():
            seconds = BLOCK
        elif self._room.waiting:
            # There is work for a while. Ends of jobs are batched, so that one round trip carries
            # many; the end of the job that leaves none waiting wakes the fetcher early.
            seconds = NAP
        elif not deaf and not emptied and not self._waits.covers(self._intake.paused | shut):
            return
        else:
            seconds = PAUSED_POLL if self._intake.paused else BLOCK
            if not deaf:
                paused, numbers = self._intake.paused | shut, self._intake.numbers
                busy = self._ledger.unfinished > 0
                self._unheard = shut
                look_in = min(look_in, self._waits.arm(paused, numbers, busy=busy))
            seconds = min(seconds, look_in)
        self.ends.napping = seconds == NAP
        seconds = max(0.0, min(seconds, self._look_again_at - time.monotonic()))
        self.ends.asleep = True
        # A job may have ended after the turn looked and before `finish` could see that it must
        # ring. Everything else always rings, and the bell is not silenced before the sleep.
        seconds = 0.0 if self.ends.urgent else seconds
        if self._hear(partial(self._waits.sleep, seconds)):
            # Release the GIL, so that the job starts before this thread continues.
            time.sleep(0)

    def _hear(self, waits: Callable[[], list[Arrival]]) -> bool:
        """Take the jobs that the waits have delivered; returns whether there are any."""
        self._hearing = self._waits.armed
        arrivals = waits()
        self._page.beat(FETCHER_BEAT)
        self.ends.asleep = False
        self._intake.arrived(arrivals)
        self._hearing = False
        return bool(arrivals)

    # -- connecting and leaving ----------------------------------------------------------------

    def _pause(self, seconds: float) -> None:
        """Pause between attempts to connect; only the end of the process cuts it short."""
        until = time.monotonic() + seconds
        while not self._ending.is_set() and (left := until - time.monotonic()) > 0:
            # During an outage this thread must not look hung.
            self._page.beat(FETCHER_BEAT)
            log.flush()
            self._waits.sleep(left)

    def _connect(self) -> None:
        """Open the connection, take the lease (again), and compare the ledger with Redis."""
        self._close_waits()
        self._wire.connect(OF_A_WORKER)
        while not self._ask(self._inflight.register()):
            self._pause(REGISTER_AGAIN)
            if self._ending.is_set():
                return
        self._lease_in_doubt = False
        self._intake.reconcile(self._ask, self._waits.queues)
        self._look_again_at = time.monotonic() + LOOK_AGAIN
        if not self.registered:
            self.registered = True
            self._notify()

    def _ask(self, call: bytes) -> object:
        self._wire.send(call)
        return self._wire.read()

    def _leave(self) -> None:
        """Send the last ends, and release the lease if no job is left under it."""
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

    def _collect(self) -> None:
        """Take over the ends that the job threads have reported."""
        ended, on_loop = self.ends.hand_over(self._ledger)
        self._room.threads.ahead.note(ended)
        self._room.loop.ahead.note(on_loop)

    def _ends(self) -> list[Call]:
        """Calls for all jobs whose outcome is decided."""
        self._intake.cancel_unwanted()
        self._intake.give_back()
        self._surrender.carry_out(self._ledger, self._collect)
        return self._ledger.calls()

    def _report(self) -> None:
        self._ledger.show()
        self._surrender.look(self._ledger)
        if self._intake.quiet and not self._ledger:
            self._notify()
