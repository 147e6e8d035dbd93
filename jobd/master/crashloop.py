"""The crash loop of a running daemon: too many crashes in a short time, for whatever reason.

The daemon does not end by itself, for other workers may be fine. But it says so where people look,
and tries at its slowest pace: each attempt costs a boot, and each crash may cost jobs an attempt.
While the daemon starts, boot.py decides.

It takes more than one crash of each: when something kills all workers at once, they are to come
back at once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from jobd import log
from jobd.errors import Exit
from jobd.master.child import Child
from jobd.master.phase import Phase
from jobd.master.slot import BACKOFF_CAP
from jobd.master.slots import Slots

if TYPE_CHECKING:
    from jobd.master.master import Master

WITHIN = 60.0
"""Seconds in which so many crashes are a loop, and without any after which it is over."""

REPORT_EVERY = 60.0

logger = log.get("jobd.master")


def crashes_of_a_loop(workers: int) -> int:
    """How many crashes are too many. One worker that dies whenever it is ready manages seven: then
    its back-off has reached the cap anyway.

    >>> [crashes_of_a_loop(workers) for workers in (1, 2, 16)]
    [6, 10, 66]
    """
    return 4 * workers + 2


class CrashLoop:
    """The crashes of one master's children."""

    def __init__(self, master: Master) -> None:
        self._master = master
        self._times: deque[float] = deque()
        self._last = ""
        self._next_report = 0.0

    @property
    def _slots(self) -> Slots:
        return self._master.staff.slots

    def child_gone(self, child: Child, cause: str, now: float) -> None:
        """A child has been reaped."""
        if child.planned or child.beside:
            return
        if self._master.phase is Phase.STARTING or self._master.phase.ending:
            return
        self._times.append(now)
        self._last = f"{child.role} {cause}"
        self._forget(now)
        limit = crashes_of_a_loop(len(self._slots.workers))
        if len(self._times) >= limit and not self._slots.degraded:
            self._enter(now)

    def _enter(self, now: float) -> None:
        self._report(now)
        # Also those whose short back-off has just begun.
        self._slots.hold_back(BACKOFF_CAP)
        self._master.retitle()
        if self._master.config.exit_on_crash_loop:
            self._master.ending.give_up(
                Exit.SOFTWARE,
                f"{len(self._times)} processes crashed within {WITHIN:g} s "
                f"(exit_on_crash_loop), the last: {self._last}",
            )

    def look(self, now: float) -> None:
        """Called once a second."""
        self._forget(now)
        if not self._slots.degraded:
            return
        if not self._times:
            self._slots.hold_back(0.0)
            self._master.retitle()
            logger.info("crash_loop_over")
        elif now >= self._next_report:
            self._report(now)

    def _forget(self, now: float) -> None:
        while self._times and now - self._times[0] >= WITHIN:
            self._times.popleft()

    def _report(self, now: float) -> None:
        self._next_report = now + REPORT_EVERY
        logger.error("crash_loop", crashes=len(self._times), seconds=WITHIN, last=self._last)
