"""The rolling restart: every worker is replaced by one with fresh code, one slot at a time.

A slot's new worker boots beside the old one, and only when it is ready is the old one asked to
stop, which leaves it time to finish its jobs. The next slot follows at once, unless too many old
ones are still at it: the roll is through when the last new worker is ready. A new worker that does
not get ready ends the roll with all remaining old ones untouched.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum, auto

from jobd.config import Config
from jobd.master.child import Child, Reason
from jobd.master.slots import Slot
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
        self._staff = staff
        self._slots = staff.slots
        self._config = config
        self._progress = progress
        self._waiting: list[Slot] = list(staff.slots.workers)
        self._slot: Slot | None = None
        self._booting: Child | None = None

    def advance(self) -> Outcome:
        """Take the next step if it can be taken; called by every turn of the loop."""
        if self.error:
            return Outcome.FAILED
        if self._booting is not None:
            if not self._booting.serving:  # it boots, or was told from outside to leave again
                return Outcome.GOING_ON
            self._promote(self._booting)
        if self.again:
            return Outcome.DONE
        return self._next_slot()

    def _promote(self, child: Child) -> None:
        slot = self._slots.slot_of(child)
        old, slot.child, slot.replacement = slot.child, child, None
        self._booting = None
        slot.backoff.healthy()
        self._progress(f"{slot.role}: pid {child.pid} is ready")
        if old is not None:
            self._slots.stop(old, Reason.ROLL, time.monotonic() + self._config.reload_timeout)

    def _next_slot(self) -> Outcome:
        if self._slot is None:
            if not self._waiting:
                return Outcome.DONE
            self._slot = self._waiting.pop(0)
        # Also those of an earlier roll.
        leaving = sum(child.reason is Reason.ROLL for child in self._slots.children())
        crowded = 0 < self._config.max_extra <= leaving
        if crowded or not self._slots.may_fork():
            return Outcome.GOING_ON
        slot, self._slot = self._slot, None
        try:
            self._booting = slot.replacement = self._slots.fork(slot, self.generation)
        except OSError as error:
            self.error = f"{slot.role}: cannot fork: {error.strerror}"
            return Outcome.FAILED
        self._staff.entered(self._booting)
        return Outcome.GOING_ON

    def exited(self, child: Child, cause: str) -> None:
        """A child has been reaped."""
        if child is self._booting:
            self._booting = None
            reason = child.failure.reason if child.failure else cause
            self.error = f"the new {child.role} did not get ready: {reason}"

    def cancel(self) -> None:
        """Give up; a worker that boots as a replacement is sent away."""
        if self._booting is not None:
            self._slots.stop(self._booting, Reason.ROLL, time.monotonic())
