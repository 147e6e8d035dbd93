"""Crash loop detection: too many crashes in a short time, for any reason.

The daemon keeps running, because other workers may be fine. But it reports the loop in its status
and log, and restarts workers with the longest back-off: each restart costs a boot, and each crash
may count as a crash of its jobs. During the start, boot.py decides instead.

One crash per worker is not a loop: if something kills all workers at once, they must come back at
once.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import NamedTuple

from jobd.errors import Exit
from jobd.master.children.child import BACKOFF_CAP, Child
from jobd.master.children.slots import Slots
from jobd.master.daemon import Daemon
from jobd.master.phase import Phase
from jobd.runtime.log import log
from jobd.wire.job_name import JobName

WITHIN = 60.0
"""Seconds within which crashes are counted, and without a crash after which a loop is over."""

REPORT_EVERY = 60.0

_CLASSES = 3
"""Most job classes named as the probable cause."""

logger = log.get("jobd.master")


def crashes_of_a_loop(workers: int) -> int:
    """The number of crashes that make a loop. A single worker that dies whenever it is ready can
    reach seven: then its back-off is at its maximum anyway.

    >>> [crashes_of_a_loop(workers) for workers in (1, 2, 16)]
    [6, 10, 66]
    """
    return 4 * workers + 2


class _Crash(NamedTuple):
    at: float
    jobs: list[JobName]


class CrashLoop:
    """The crashes of one master's children.

    Attributes:
        reason: a description of the crash loop, with the probable job; "" without one.
    """

    def __init__(self, daemon: Daemon, give_up: Callable[[int, str], None]) -> None:
        self.reason = ""
        self._daemon = daemon
        self._give_up = give_up
        self._crashes: deque[_Crash] = deque()
        self._last = ""
        self._next_report = 0.0

    @property
    def _slots(self) -> Slots:
        return self._daemon.staff.slots

    def child_gone(self, child: Child, cause: str, now: float) -> None:
        """A child has been reaped."""
        if child.planned or child.beside:
            return
        if self._daemon.phase is Phase.STARTING or self._daemon.phase.ending:
            return
        running = child.workplace.page.running()
        self._crashes.append(_Crash(now, [name for job in running if (name := job.name)]))
        self._last = f"{child.role} {cause}"
        self._forget(now)
        limit = crashes_of_a_loop(len(self._slots.workers))
        begins = len(self._crashes) >= limit and not self._slots.degraded
        if begins or self._slots.degraded:
            self.reason = self._explained()
        if begins:
            self._enter(now)

    def _explained(self) -> str:
        total = len(self._crashes)
        parts = [f"{total} crashes within {WITHIN:g} s"]
        times = Counter(
            class_
            for crash in self._crashes
            for class_ in dict.fromkeys(job.class_ for job in crash.jobs)
        )
        # The class seen most often is the probable cause; ties cannot be decided.
        if classes := [class_ for class_, count in times.items() if count == max(times.values())]:
            often = f"{times[classes[0]]} of them" if times[classes[0]] < total else "all of them"
            parts.append(f"{often} while {' and '.join(classes[:_CLASSES])} ran")
        return f"{', '.join(parts)}; the last: {self._last}"

    def _enter(self, now: float) -> None:
        self._report(now)
        # Also slots whose short back-off has just begun.
        self._slots.hold_back(BACKOFF_CAP)
        self._daemon.retitle()
        if self._daemon.config.exit_on_crash_loop:
            self._give_up(
                Exit.SOFTWARE,
                f"crash loop (exit_on_crash_loop): {self.reason}",
            )

    def look(self, now: float) -> None:
        """Called once a second."""
        self._forget(now)
        if not self._slots.degraded:
            return
        if not self._crashes:
            self.reason = ""
            self._slots.hold_back(0.0)
            self._daemon.retitle()
            logger.info("crash_loop_over")
        elif now >= self._next_report:
            self._report(now)

    def _forget(self, now: float) -> None:
        while self._crashes and now - self._crashes[0].at >= WITHIN:
            self._crashes.popleft()

    def _report(self, now: float) -> None:
        self._next_report = now + REPORT_EVERY
        logger.error("crash_loop", crashes=len(self._crashes), seconds=WITHIN, reason=self.reason)
