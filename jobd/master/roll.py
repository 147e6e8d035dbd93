"""The rolling restart: every worker is replaced by one with fresh code, one slot at a time.

A slot's new worker boots beside the old one, and only when it is ready is the old one asked to
stop, which leaves it time to finish its jobs. The next slot follows at once, unless too many old
ones are still at it: the roll is through when the last new worker is ready. A new worker that does
not get ready ends the roll with all remaining old ones untouched.

With ``preload`` a zygote with the fresh code comes first. Code that cannot be imported ends the
roll there. The old zygote is kept until a worker of the new one is ready: should the roll fail
before, it is the one that replaces a worker that dies.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum, auto

from jobd.config import Config
from jobd.master.child import Child, Reason
from jobd.master.slot import Order, Slot
from jobd.master.staff import Staff


class Outcome(Enum):
    """How a roll stands."""

    GOING_ON = auto()
    DONE = auto()
    FAILED = auto()


class Roll:
    """One roll up to *generation*; *progress* is told each step in words.

    Attributes:
        again: another reload was asked for meanwhile; it follows when this slot is through.
        error: why it failed.
    """

    def __init__(
        self, staff: Staff, generation: int, config: Config, progress: Callable[[str], None]
    ) -> None:
        self.generation = generation
        self.again = False
        self.error = ""
        self._slots = staff.slots
        self._config = config
        self._progress = progress
        zygote = [staff.slots.zygote] if staff.slots.zygote else []
        self._waiting: list[Slot] = [*zygote, *staff.slots.workers]
        self._slot: Slot | None = None
        self._order: Order | None = None
        self._zygote: Child | None = None

    def advance(self) -> Outcome:
        """Take the next step if it can be taken; called by every turn of the loop."""
        outcome = self._advance()
        if outcome is not Outcome.GOING_ON:
            self._dismiss_zygote()
        return outcome

    def _advance(self) -> Outcome:
        if self._order is not None:
            self.error = self.error or self._order.error
        if self.error:
            return Outcome.FAILED
        if self._order is not None:
            child = self._order.child
            # It is to be born, boots, or was told from outside to leave again.
            if child is None or not child.serving:
                return Outcome.GOING_ON
            self._order = None
            self._ready(child)
        if self.again:
            return Outcome.DONE
        return self._next_slot()

    def _ready(self, child: Child) -> None:
        self._progress(f"{child.role}: pid {child.pid} is ready")
        if not child.is_worker:
            self._zygote = child
            return
        zygote, self._zygote = self._zygote, None
        if zygote is not None:
            self._promote(zygote, 0.0)
        self._promote(child, self._config.reload_timeout)

    def _promote(self, child: Child, timeout: float) -> None:
        slot = self._slots.slot_of(child)
        old, slot.child, slot.replacement = slot.child, child, None
        slot.backoff.healthy()
        if old is not None:
            self._slots.stop(old, Reason.ROLL, time.monotonic() + timeout)

    def _dismiss_zygote(self) -> None:
        """Send the new zygote away, if no worker of it has been ready."""
        if self._zygote is not None:
            self._slots.stop(self._zygote, Reason.ROLL, time.monotonic())
            self._zygote = None

    def _next_slot(self) -> Outcome:
        if self._slot is None:
            if not self._waiting:
                return Outcome.DONE
            self._slot = self._waiting.pop(0)
        # Also those of an earlier roll.
        leaving = sum(child.reason is Reason.ROLL for child in self._slots.worker_children())
        crowded = 0 < self._config.max_extra <= leaving
        # A slot may still get, or lose, what was asked for before.
        taken = self._slot.order is not None or self._slot.replacement is not None
        if crowded or taken or not self._slots.may_fork(self._slot):
            return Outcome.GOING_ON
        slot, self._slot = self._slot, None
        self._order = self._slots.fork(slot, self.generation, beside=True)
        return Outcome.GOING_ON

    def exited(self, child: Child, cause: str) -> None:
        """A child has been reaped."""
        if self._order is not None and child is self._order.child:
            self._order = None
            reason = child.failure.reason if child.failure else cause
            self.error = f"the new {child.role} did not get ready: {reason}"
        elif child is self._zygote:
            self._zygote = None
            self.error = f"the new {child.role} died: {cause}"

    def cancel(self) -> None:
        """Give up; what boots as a replacement is sent away."""
        if self._order is not None:
            self._slots.dismiss(self._order, Reason.ROLL)
        self._dismiss_zygote()
