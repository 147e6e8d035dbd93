"""Whether this daemon takes jobs, for the health listener of its keeper.

Only the master knows: from the scoreboard when each fetcher has beaten, and from the workers
whether they can reach Redis.
"""

from __future__ import annotations

from jobd.master.children.child import Child, Stage
from jobd.master.daemon import Daemon
from jobd.master.phase import Phase
from jobd.runtime.ipc.scoreboard import FETCHER_BEAT

LATELY = 15.0
"""Seconds within which a worker must have claimed or waited; an idle one waits for five at a
time."""

AGAIN = 5.0
"""Seconds after which the keeper is told what it knows: from that it sees that the master lives."""


class Serving:
    """Tells the keeper, if it listens."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._told: tuple[int, str, Child | None] = (-1, "", None)
        self._told_at = 0.0

    def look(self, now: float) -> None:
        """Called once a second."""
        if not self._daemon.config.health:
            return
        workers, why = self._found()
        told = workers, why, self._daemon.staff.slots.keeper.child
        if told == self._told and now < self._told_at + AGAIN:
            return
        if self._daemon.staff.tell_serving(workers, why):
            self._told, self._told_at = told, now

    def _found(self) -> tuple[int, str]:
        """How many workers take jobs, and why none does."""
        if self._daemon.phase not in (Phase.RUNNING, Phase.RELOADING):
            return 0, f"the daemon takes no jobs: {self._daemon.phase}"
        ready = [
            child
            for child in self._daemon.staff.slots.worker_children()
            if child.stage is Stage.READY and child.reason is None
        ]
        if not ready:
            return 0, "no worker is ready"
        reach = [child for child in ready if not child.outage]
        if not reach:
            return 0, f"Redis is unavailable: {ready[0].outage}"
        taking = sum(child.workplace.page.age(FETCHER_BEAT) < LATELY for child in reach)
        return taking, "" if taking else f"no worker has asked for jobs within {LATELY:g} seconds"
