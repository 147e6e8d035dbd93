"""Replacement of one slot's child: a new one boots beside the old one, which then exits.

A reload does this slot by slot, recycling for a single one. On any failure the old child stays.
"""

from __future__ import annotations

import time
from enum import Enum, auto

from jobd.master.children.child import Child, Reason, Slot
from jobd.master.children.slots import Slots


class Outcome(Enum):
    """The state of a replacement."""

    GOING_ON = auto()
    DONE = auto()
    FAILED = auto()


def may_begin(slots: Slots, slot: Slot) -> bool:
    """Whether a new child can boot in *slot* now."""
    # It may still get, or lose, a child requested before.
    taken = slot.order is not None or slot.replacement is not None
    return not taken and slots.may_fork(slot)


def leaving(slots: Slots, *reasons: Reason) -> int:
    """How many workers replaced for one of *reasons* have not exited yet."""
    return sum(child.reason in reasons for child in slots.worker_children())


class Succession:
    """The replacement in *slot*; it begins at once.

    Args:
        generation: of the new child.
        reason: why the old one exits.
        timeout: seconds that its jobs have to end.

    Attributes:
        error: why it failed.
    """

    def __init__(
        self, slots: Slots, slot: Slot, generation: int, reason: Reason, timeout: float
    ) -> None:
        self.slot = slot
        self.error = ""
        self._slots = slots
        self._reason = reason
        self._timeout = timeout
        self._order = slots.fork(slot, generation, beside=True)

    @property
    def new(self) -> Child | None:
        """The new child; None until it is forked."""
        return self._order.child

    def look(self) -> Outcome:
        """Whether the new child can take over; the caller then calls :meth:`take_over`."""
        self.error = self.error or self._order.error
        if self.error:
            return Outcome.FAILED
        # It is not forked yet, boots, or was asked from outside to stop.
        if self.new is None or not self.new.serving:
            return Outcome.GOING_ON
        return Outcome.DONE

    def take_over(self) -> None:
        """Make the new child the slot's, and stop the old one."""
        old, self.slot.child, self.slot.replacement = self.slot.child, self.new, None
        self.slot.backoff.healthy()
        if old is not None:
            self._slots.stop(old, self._reason, time.monotonic() + self._timeout)

    def advance(self) -> Outcome:
        """Let the new child take over if possible."""
        outcome = self.look()
        if outcome is Outcome.DONE:
            self.take_over()
        return outcome

    def exited(self, child: Child, cause: str) -> None:
        """A child has been reaped."""
        if child is self.new:
            why = child.failure.reason if child.failure else cause
            how = "died" if child.ready_at else "did not get ready"
            self.error = f"the new {child.role} {how}: {why}"

    def cancel(self) -> None:
        """Give up: stop the new child, now or as soon as it exists."""
        if not self.error:
            self._slots.dismiss(self._order, self._reason)
