"""One slot changes hands: a new child boots beside the old one, which leaves when it is ready.

A reload does this to slot after slot, recycling to a single one. However it goes wrong, the old one
stays.
"""

from __future__ import annotations

import time
from enum import Enum, auto

from jobd.master.children.child import Child, Reason, Slot
from jobd.master.children.slots import Slots


class Outcome(Enum):
    """How it stands."""

    GOING_ON = auto()
    DONE = auto()
    FAILED = auto()


def may_begin(slots: Slots, slot: Slot) -> bool:
    """Whether there is room for a new child in *slot* now."""
    # It may still get, or lose, what was asked for before.
    taken = slot.order is not None or slot.replacement is not None
    return not taken and slots.may_fork(slot)


def leaving(slots: Slots, *reasons: Reason) -> int:
    """How many workers that have been replaced, for one of these reasons, are still at their
    jobs."""
    return sum(child.reason in reasons for child in slots.worker_children())


class Succession:
    """The succession in *slot*, which begins at once.

    Args:
        generation: of the new child.
        reason: why the old one leaves.
        timeout: seconds that its jobs get to end.

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
        """The new child; None until it is born."""
        return self._order.child

    def look(self) -> Outcome:
        """Whether the new child can take over; it is the caller who lets it."""
        self.error = self.error or self._order.error
        if self.error:
            return Outcome.FAILED
        # It is to be born, boots, or was told from outside to leave again.
        if self.new is None or not self.new.serving:
            return Outcome.GOING_ON
        return Outcome.DONE

    def take_over(self) -> None:
        """The new child is the slot's from now on, and the old one leaves."""
        old, self.slot.child, self.slot.replacement = self.slot.child, self.new, None
        self.slot.backoff.healthy()
        if old is not None:
            self._slots.stop(old, self._reason, time.monotonic() + self._timeout)

    def advance(self) -> Outcome:
        """Let the new child take over if it can."""
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
        """Give up: the new child is sent away, now or as soon as it is there."""
        if not self.error:
            self._slots.dismiss(self._order, self._reason)
