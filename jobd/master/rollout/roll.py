"""The rolling restart: replaces every worker by one with new code, one slot at a time.

A slot's new worker boots beside the old one; only when it is ready is the old one asked to stop,
and it may finish its jobs. The next slot follows at once, unless too many old workers are still
finishing; the roll is complete when the last new worker is ready. If a new worker does not become
ready, the roll fails and the remaining old workers stay.

With ``preload`` a zygote with the new code comes first. If the code cannot be imported, the roll
fails there. The old zygote is kept until a worker of the new one is ready: if the roll fails
before, it still serves to replace dead workers.
"""

from __future__ import annotations

from collections.abc import Callable

from jobd.master.children.child import Child, Reason, Slot
from jobd.master.children.child_events import Staff
from jobd.master.rollout.succession import Outcome, Succession, leaving, may_begin
from jobd.settings.daemon import Config
from jobd.wire.job_name import listed

_REPLACED = (Reason.ROLL, Reason.RECYCLE)


class Roll:
    """One roll to *generation*; *progress* is called with a description of each step.

    Attributes:
        again: another reload was requested meanwhile; it follows after this slot.
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
        self._now: Succession | None = None
        # It is ready, and takes over when all workers are: until then a rollback is possible.
        self._zygote: Succession | None = None

    def advance(self) -> Outcome:
        """Take the next step if possible; called in every turn of the loop."""
        outcome = self._advance()
        if outcome is not Outcome.GOING_ON:
            self.cancel()
        return outcome

    def _advance(self) -> Outcome:
        for succession in filter(None, (self._zygote, self._now)):
            if succession.look() is Outcome.FAILED:
                self.error = succession.error
                return Outcome.FAILED
        if self._now is not None:
            if self._now.look() is Outcome.GOING_ON:
                return Outcome.GOING_ON
            ready, self._now = self._now, None
            self._ready(ready)
        if self.again:
            return Outcome.DONE
        if not self._waiting:
            if self._zygote is not None:
                self._zygote.take_over()
                self._zygote = None
            return Outcome.DONE
        self._next_slot(self._waiting[0])
        return Outcome.GOING_ON

    def _ready(self, succession: Succession) -> None:
        new = succession.new
        self._progress(f"{succession.slot.role}: pid {new.pid if new else '?'} is ready")
        if succession.slot is self._slots.zygote:
            self._zygote = succession
            return
        succession.take_over()

    def _next_slot(self, slot: Slot) -> None:
        if self._crowded or not may_begin(self._slots, slot):
            return
        self._waiting.remove(slot)
        timeout = 0.0 if slot is self._slots.zygote else self._config.reload_timeout
        self._now = Succession(self._slots, slot, self.generation, Reason.ROLL, timeout)

    def waits_for(self) -> str:
        """What the next step waits for, as a phrase."""
        if self._now is not None:
            new = self._now.new
            if new is None:
                return f"the new {self._now.slot.role} to be forked"
            return f"the new {new.role} (pid {new.pid}) to get ready" + (
                f", which is {new.note}" if new.note else ""
            )
        if self._crowded:
            old = [child for child in self._slots.worker_children() if child.reason in _REPLACED]
            names = listed([f"{child.role} (pid {child.pid})" for child in old])
            return f"{names} to finish (max_extra is {self._config.max_extra})"
        return "other processes to boot"

    @property
    def _crowded(self) -> bool:
        # Includes those of an earlier roll.
        return 0 < self._config.max_extra <= leaving(self._slots, *_REPLACED)

    def exited(self, child: Child, cause: str) -> None:
        """A child has been reaped."""
        for succession in filter(None, (self._zygote, self._now)):
            succession.exited(child, cause)

    def cancel(self) -> None:
        """Give up: stop booting replacements and the new zygote."""
        for succession in filter(None, (self._now, self._zygote)):
            succession.cancel()
        self._now = self._zygote = None
