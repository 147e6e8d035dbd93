"""The master's policies: hangs, overdue jobs, memory, recycling, crash loops, undelivered jobs.

Each is a module of its own; this one calls them, most of them once a second, and ensures that none
mistakes a pause of the whole machine for a fault of the children.
"""

from __future__ import annotations

from collections.abc import Callable

from jobd.master.children.child import Child
from jobd.master.children.threaddump import ThreadDump
from jobd.master.daemon import Daemon
from jobd.master.health.crashloop import CrashLoop
from jobd.master.health.hangs import Watch
from jobd.master.health.memory import Memory
from jobd.master.health.overdue_jobs import Overdue
from jobd.master.health.rescue import Rescue
from jobd.master.health.serving import Serving
from jobd.master.rollout.recycle import Recycle
from jobd.runtime.log import log

EVERY = 1.0

PAUSE = 5.0
"""Seconds between two turns of the loop (normally one at most) that only a pause can explain: of
the master (SIGSTOP), of the machine (VM migration) or of all processes of the service."""

logger = log.get("jobd.master")


class Oversight:
    """The policies of one master.

    Args:
        postpone: extends all other deadlines by a number of seconds.
        give_up: stops the daemon, with an exit code and the reason.
    """

    def __init__(
        self,
        daemon: Daemon,
        recycle: Recycle,
        postpone: Callable[[float], None],
        give_up: Callable[[int, str], None],
    ) -> None:
        self._daemon = daemon
        self._postpone = postpone
        self.recycle = recycle
        self._watch = Watch(daemon, self._dump, self.recycle)
        self._overdue = Overdue(daemon, self._dump, self.recycle)
        self._memory = Memory(daemon, self._dump, self.recycle)
        self._crashes = CrashLoop(daemon, give_up)
        self._serving = Serving(daemon)
        self.rescue = Rescue(daemon)
        self._last_turn = 0.0
        self._next_look = 0.0

    @property
    def crash_loop(self) -> str:
        """A description of the crash loop; "" without one."""
        return self._crashes.reason

    def turn(self, now: float) -> None:
        """Called in every turn of the loop, before anything that acts on deadlines."""
        pause, self._last_turn = now - (self._last_turn or now), now
        if pause > PAUSE:
            self._paused(pause, now)
        self.recycle.advance(now)
        self.rescue.turn(now)
        if now < self._next_look:
            return
        self._next_look = now + EVERY
        self._watch.look(now)
        self._overdue.look(now)
        self._memory.look(now)
        self.recycle.look(now)
        self._crashes.look(now)
        self._serving.look(now)

    def _paused(self, seconds: float, now: float) -> None:
        logger.warning("master_was_paused", seconds=round(seconds, 1))
        self._watch.excuse(now)
        self._overdue.excuse(now)
        self._daemon.staff.slots.postpone(seconds)
        self._postpone(seconds)

    def _dump(self, child: Child) -> None:
        """Log the stacks of one child within two seconds."""
        ThreadDump(
            self._daemon.staff,
            lambda role, text: logger.warning(
                "child_stacks", child=role, child_pid=child.pid, stack=text
            ),
            lambda _mute: None,
            [child],
        )

    def child_ready(self, child: Child) -> None:
        """A child has booted."""
        self._memory.started(child)

    def child_gone(self, child: Child, cause: str, now: float) -> None:
        """A child has been reaped."""
        self.recycle.exited(child, cause)
        self._crashes.child_gone(child, cause, now)
        self.rescue.child_gone(child, now)
