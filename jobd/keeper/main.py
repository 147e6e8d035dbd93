"""The main thread of the keeper process: starts the loops and passes on the master's messages."""

from __future__ import annotations

import time
from signal import Signals
from typing import TYPE_CHECKING

from jobd.errors import Exit
from jobd.keeper.eviction import Eviction
from jobd.keeper.leases import Leases
from jobd.keeper.periodic import Periodic
from jobd.keeper.prune import Prune
from jobd.keeper.reconcile import Reconcile
from jobd.keeper.recovery import Death, Recovery
from jobd.keeper.scheduler import Scheduler
from jobd.keeper.takeover import Takeover
from jobd.keeper.troubles import Troubles
from jobd.keeper.workflows import Workflows
from jobd.runtime.child.mainloop import TURN, Child, signals_blocked
from jobd.runtime.ipc import messages
from jobd.runtime.ipc.messages import FromChild, FromMaster, Unknown
from jobd.runtime.process import stacks
from jobd.store.connection import connect
from jobd.store.keys import Keys

if TYPE_CHECKING:
    import redis

    from jobd.keeper.health.health import Health
    from jobd.runtime.child.seat import Seat

FINISH = 5.0
"""Seconds for the last recoveries during a stop."""

RESIGN = 0.3
"""Seconds of these to give the lead up, and to take away what it has told of its daemon."""


def main(seat: Seat) -> int:
    """Run the keeper; returns its exit code."""
    return Keeper(seat).run()


class Keeper(Child):
    """The main thread and the loops."""

    def __init__(self, seat: Seat) -> None:
        super().__init__(seat)
        config = seat.config
        client, keys = connect(config.redis), Keys(config.prefix)
        self._scheduler = Scheduler(client, keys, config.poll_interval)
        self._leases = Leases(client, keys)
        self._recovery = Recovery(client, keys, self._leases, self._on_recovered)
        self._takeover = Takeover(client, keys, self._on_taken_over)
        self._troubles = Troubles(client, keys, config.tag)
        self._periodic = Periodic(
            client, keys, seat.identity if config.leader else "", self._on_lead
        )
        others = (
            self._periodic,
            self._takeover,
            Prune(client, keys),
            Eviction(client, self._on_short),
            Reconcile(client, keys, lambda: self._periodic.leadership.token),
            self._troubles,
            Workflows(client, keys),
        )
        self._loops = (self._scheduler, self._leases, self._recovery, *others)
        self._health = self._health_listener(client) if config.health else None
        self._done: list[FromChild] = []
        self._short = self._short_told = ""
        self._deadline: float | None = None

    def run(self) -> int:
        with signals_blocked():
            for loop in self._loops:
                loop.start()
            if self._health is not None:
                self._health.start()
        # Ready with or without Redis: there is nothing to boot, and the loops wait for it.
        self.tell(messages.Ready())
        while self.exit_code is None:
            if self._deadline is None:
                self.turn(TURN)
            else:
                self.turn(min(RESIGN, self._deadline - time.monotonic()))
        if self._health is not None:
            self._health.close()
        return self.exit_code

    def on_signal(self, signal: Signals) -> None:
        if signal in (Signals.SIGTERM, Signals.SIGQUIT):
            self._stop()

    def on_message(self, message: FromMaster | Unknown) -> None:
        match message:
            case messages.Workers():
                self._leases.vouch_for(message.identities)
            case messages.Recover():
                self._recovery.recover(
                    Death(
                        message.identity,
                        frozenset(message.running),
                        message.cause,
                        dict(message.stacks),
                    )
                )
            case messages.TakeOver():
                self._takeover.take_over(message.identity, message.waits)
            case messages.Quiet():
                self._be_quiet()
            case messages.Resume():
                self._scheduler.quiet = self._periodic.quiet = False
                self._scheduler.wake()
                self._periodic.wake()
            case messages.Stop():
                self._stop()
            case messages.Serving():
                if self._health is not None:
                    self._health.heard(message)
            case messages.Trouble():
                self._troubles.tell(message.text)
            case _:
                self.log.warning("message_unknown", message=messages.type_of(message))

    def tick(self) -> None:
        # The scheduler polls most often; when quiet, it does not poll at all.
        missed = "" if self._scheduler.quiet else self._scheduler.outage
        self.tell_outage(missed or self._recovery.outage)
        if (short := self._short) != self._short_told:
            self._short_told = short
            self.tell(messages.MemoryShort(short))
        pending = self._recovery.pending  # before its reports are told: none comes in between
        while self._done:
            self.tell(self._done.pop(0))
        if self._deadline is None or self.exit_code is not None:
            return
        left = self._deadline - time.monotonic()
        # A server that does not answer must not delay the stop: all of this ends by itself.
        away = bool(self._periodic.outage)
        resigned = self._periodic.resigned and self._troubles.left
        if not pending and (resigned or away or left < FINISH - RESIGN):
            self.exit_code = int(Exit.OK)
        elif time.monotonic() >= self._deadline:
            self.log.error("jobs_left_in_flight", workers=pending)
            self.exit_code = int(Exit.JOBS_LEFT)

    def _stop(self) -> None:
        if self._deadline is None:
            self._deadline = time.monotonic() + FINISH
            self._be_quiet()
            self._troubles.leave()

    def _be_quiet(self) -> None:
        self._scheduler.quiet = self._periodic.quiet = True
        self._periodic.wake()

    def _health_listener(self, client: redis.Redis) -> Health:
        # Loaded where it is wanted: most keepers do without.
        from jobd.keeper.health.health import Health

        must_turn = (self._scheduler, self._leases, self._recovery, self._takeover, self._periodic)
        config = self.seat.config
        return Health(config, client, must_turn, self.seat.page, self._on_listener)

    def _on_listener(self, error: str) -> None:
        """Called by the thread of the health listener."""
        self._done.append(messages.Listener(error))
        self.bell.ring()

    def _on_lead(self, token: int) -> None:
        """Called by the thread of the periodic jobs."""
        self._done.append(messages.Leading(token))
        self.bell.ring()

    def _on_recovered(self, identity: str, jobs: int) -> None:
        """Called by the recovery thread."""
        self._done.append(messages.Recovered(identity, jobs))
        self.bell.ring()

    def _on_taken_over(self, identity: str, jobs: int) -> None:
        """Called by the takeover thread."""
        self._done.append(messages.TakenOver(identity, jobs))
        self.bell.ring()

    def _on_short(self, why: str) -> None:
        """Called by the thread that checks the server's memory."""
        self._short = why

    def stacks(self, **_which: bool) -> str:
        return stacks.dump(f"{self.seat.role} {self.seat.identity}", {})
