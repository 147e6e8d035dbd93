"""Recycling: a worker that is too old, has run too many jobs or has grown too large is replaced.

Workers are replaced one at a time, however many are due: workers that started together reach their
limits together, which randomized limits make rarer but do not prevent. The new worker boots beside
the old one, which keeps working, so there is never a worker too few. The old one may finish its
jobs as in a reload; the next one is replaced when it has exited.

A worker whose jobs keep running after their deadlines is urgent: it comes before the others and
does not wait until those replaced before it have exited, because its stuck threads are missing.
``max_extra`` limits how many may be exiting at once, as in a reload.
"""

from __future__ import annotations

import random

from jobd.master.children.child import Child, Reason, Stage
from jobd.master.daemon import Daemon
from jobd.master.phase import Phase
from jobd.master.rollout.succession import Outcome, Succession, leaving, may_begin
from jobd.runtime.log import log

SPREAD = 0.2
"""Fraction by which a limit may be larger or smaller for one worker."""

FIRST_PAUSE = 30.0
LONGEST_PAUSE = 600.0
"""Seconds until the next attempt if a new worker did not become ready."""

logger = log.get("jobd.master")


class Recycle:
    """The recycling of one master's workers."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._wishes: dict[Child, str] = {}
        self._urgent: dict[Child, str] = {}
        self._spread: dict[Child, float] = {}
        self._now: Succession | None = None
        self._pause = FIRST_PAUSE
        self._not_before = 0.0

    def want(self, child: Child, cause: str) -> None:
        """Replace *child* in its turn; only the first *cause* counts."""
        self._wishes.setdefault(child, cause)

    def hurry(self, child: Child, cause: str) -> None:
        """Replace *child* before those given to :meth:`want`; only the first *cause* counts."""
        self._urgent.setdefault(child, cause)

    def withdraw(self, child: Child) -> None:
        """Withdraw an urgent request; a succession in progress continues."""
        self._urgent.pop(child, None)

    def look(self, now: float) -> None:
        """Check which workers have reached a limit; called once a second."""
        config = self._daemon.config
        workers = self._daemon.staff.slots.worker_children()
        known = self._spread
        self._spread = {
            child: known.get(child) or random.uniform(1 - SPREAD, 1 + SPREAD) for child in workers
        }
        for child, spread in self._spread.items():
            done = child.processed
            if config.max_jobs and done >= config.max_jobs * spread:
                self.want(child, f"it has done {done} jobs (max_jobs is {config.max_jobs})")
            age = now - child.forked_at
            if config.max_age and age >= config.max_age * spread:
                self.want(child, f"it is {age:.0f} s old (max_age is {config.max_age:g})")

    def advance(self, now: float) -> None:
        """Take the next step if possible; called in every turn of the loop."""
        if self._daemon.phase is not Phase.RUNNING:
            self._cancel()
        elif self._now is None:
            self._next(now)
        else:
            self._go_on(self._now, now)

    def _next(self, now: float) -> None:
        slots = self._daemon.staff.slots
        self._wishes = self._still_possible(self._wishes)
        self._urgent = self._still_possible(self._urgent)
        # A worker that was quieted from outside is left alone.
        causes = self._wishes | self._urgent
        due = [child for child in (*self._urgent, *self._wishes) if child.stage is Stage.READY]
        if not due or now < self._not_before or self._crowded(due[0]):
            return
        child = due[0]
        if not may_begin(slots, child.slot):
            return
        logger.info(
            "worker_recycled",
            child=child.role,
            child_pid=child.pid,
            reason=causes[child],
        )
        self._now = Succession(
            slots,
            child.slot,
            self._daemon.generation,
            Reason.RECYCLE,
            self._daemon.config.reload_timeout,
        )

    @staticmethod
    def _still_possible(wishes: dict[Child, str]) -> dict[Child, str]:
        return {
            child: cause
            for child, cause in wishes.items()
            if child.serving and child.slot.child is child
        }

    def _crowded(self, child: Child) -> bool:
        """Whether it must wait until a replaced worker has exited."""
        slots, most = self._daemon.staff.slots, self._daemon.config.max_extra
        if child in self._urgent:
            return 0 < most <= leaving(slots, Reason.ROLL, Reason.RECYCLE)
        return leaving(slots, Reason.RECYCLE) > 0

    def _go_on(self, succession: Succession, now: float) -> None:
        if succession.slot not in self._daemon.staff.slots.workers:
            self._now = None  # the daemon was scaled down, and both have been stopped
            return
        outcome = succession.advance()
        if outcome is Outcome.GOING_ON:
            return
        self._now = None
        if outcome is Outcome.DONE:
            self._pause = FIRST_PAUSE
            return
        logger.error("recycle_failed", reason=succession.error, again_in=self._pause)
        self._not_before = now + self._pause
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def exited(self, child: Child, cause: str) -> None:
        """A child has been reaped."""
        if self._now is not None:
            self._now.exited(child, cause)

    def _cancel(self) -> None:
        """Cancel recycling: a reload replaces all workers anyway, and a quiet or stopping daemon
        needs no new ones. Workers that are due now will still be due later."""
        if self._now is None:
            return
        if self._now.advance() is Outcome.GOING_ON:
            self._now.cancel()
            logger.info("recycle_cancelled", cause=self._daemon.phase)
        self._now = None
