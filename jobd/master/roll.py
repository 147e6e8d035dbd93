"""The rolling restart: every worker is replaced by one with fresh code, one slot at a time.

The next slot follows when the old worker of the one before has left; the last one may finish its
jobs after the roll. A new worker that does not get ready ends the roll with all remaining old ones
untouched.
"""

from __future__ import annotations

from collections.abc import Callable

from jobd.master.child import Child, Reason
from jobd.master.slot import Slot
from jobd.master.staff import Staff
from jobd.master.succession import Outcome, Succession, one_goes_on


class Roll:
    """One rolling restart up to *generation*; *progress* is told each step in words.

    Attributes:
        again: another restart was asked for meanwhile; it follows when this slot is through.
        error: why it failed.
    """

    def __init__(
        self, staff: Staff, generation: int, timeout: float, progress: Callable[[str], None]
    ) -> None:
        self.generation = generation
        self.again = False
        self.error = ""
        self._staff = staff
        self._timeout = timeout
        self._progress = progress
        self._waiting: list[Slot] = list(staff.slots.workers)
        self._now: Succession | None = None

    def advance(self) -> Outcome:
        """Take the next step if it can be taken; called by every turn of the loop."""
        if self._now is not None:
            outcome = self._now.advance()
            if outcome is Outcome.FAILED:
                self.error = self._now.error
            if outcome is not Outcome.DONE:
                return outcome
            new = self._now.new
            self._progress(f"{self._now.slot.role}: pid {new.pid if new else '?'} is ready")
            self._now = None
        if self.again or not self._waiting:
            return Outcome.DONE
        if not one_goes_on(self._staff) and self._staff.slots.may_fork():
            slot = self._waiting.pop(0)
            self._now = Succession(self._staff, slot, self.generation, Reason.ROLL, self._timeout)
        return Outcome.GOING_ON

    def exited(self, child: Child, cause: str) -> None:
        """A child has been reaped."""
        if self._now is not None:
            self._now.exited(child, cause)

    def cancel(self) -> None:
        """Give up; a worker that boots as a replacement is sent away."""
        if self._now is not None:
            self._now.cancel()
