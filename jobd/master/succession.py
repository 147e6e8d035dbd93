"""One slot changes hands: a new worker boots beside the old one, which leaves when it is ready.

A rolling restart does this to slot after slot, recycling to a single one. However it goes wrong,
the old worker stays.
"""

from __future__ import annotations

import time
from enum import Enum, auto

from jobd.master.child import Child, Reason
from jobd.master.slot import Slot
from jobd.master.staff import Staff


class Outcome(Enum):
    """How it stands."""

    GOING_ON = auto()
    DONE = auto()
    FAILED = auto()


def one_goes_on(staff: Staff) -> bool:
    """Whether an old worker of some succession has not left yet: the next one has to wait for it,
    so that there is never more than one worker too many."""
    return any(
        child.reason in (Reason.ROLL, Reason.RECYCLE) for child in staff.slots.worker_children()
    )


class Succession:
    """The succession in *slot*, which begins at once.

    Args:
        generation: of the new worker.
        reason: why the old one leaves.
        timeout: seconds that its jobs get to end.

    Attributes:
        new: the new worker; None if it could not be forked, or has ended.
        error: why it failed.
    """

    def __init__(
        self, staff: Staff, slot: Slot, generation: int, reason: Reason, timeout: float
    ) -> None:
        self.slot = slot
        self.new: Child | None = None
        self.error = ""
        self._staff = staff
        self._reason = reason
        self._timeout = timeout
        try:
            self.new = slot.replacement = staff.slots.fork(slot, generation)
        except OSError as error:
            self.error = f"{slot.role}: cannot fork: {error.strerror}"
        else:
            staff.entered(self.new)

    def advance(self) -> Outcome:
        """Let the new worker take over if it can; called by every turn of the loop."""
        if self.new is None:
            return Outcome.FAILED
        if not self.new.serving:  # it boots, or was told from outside to leave again
            return Outcome.GOING_ON
        old, self.slot.child, self.slot.replacement = self.slot.child, self.new, None
        self.slot.backoff.healthy()
        if old is not None:
            self._staff.slots.stop(old, self._reason, time.monotonic() + self._timeout)
        return Outcome.DONE

    def exited(self, child: Child, cause: str) -> None:
        """A child has been reaped."""
        if child is self.new:
            self.new = None
            reason = child.failure.reason if child.failure else cause
            self.error = f"the new {child.role} did not get ready: {reason}"

    def cancel(self) -> None:
        """Give up: a new worker that still boots is sent away."""
        if self.advance() is Outcome.GOING_ON and self.new is not None:
            self._staff.slots.stop(self.new, self._reason, time.monotonic())
