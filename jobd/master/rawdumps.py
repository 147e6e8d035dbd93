"""Stack dumps of children that the master takes by itself, on their way to the log.

The child's C-level handler writes them (see dump.py), which takes some milliseconds and none of
its Python; the master looks at them with its next tick.
"""

from __future__ import annotations

import signal

from jobd import log
from jobd.master import procs
from jobd.master.child import Child

WITHIN = 0.5
"""Seconds that the handler gets."""

logger = log.get("jobd.master")


class RawDumps:
    """The dumps that have been asked for and not been logged yet."""

    def __init__(self) -> None:
        self._due: dict[Child, float] = {}

    def take(self, child: Child, now: float) -> None:
        """Have *child* write its stacks; a stopped one could do that only later, so it must not."""
        if procs.run_state(child.pid) in procs.STOPPED:
            return
        child.workplace.dump.clear()
        child.send_signal(signal.SIGTTIN)
        self._due[child] = now + WITHIN

    def turn(self, now: float) -> None:
        """Log what has been written."""
        for child in [child for child, due in self._due.items() if now >= due]:
            self._log(child)

    def gone(self, child: Child) -> None:
        """A child has been reaped; the memory of its dump is about to be another one's."""
        if child in self._due:
            self._log(child)

    def _log(self, child: Child) -> None:
        del self._due[child]
        text = child.workplace.dump.read().rstrip()
        logger.warning(
            "child_stacks",
            child=child.role,
            child_pid=child.pid,
            stack=text or "none: it did not react to SIGTTIN",
        )
