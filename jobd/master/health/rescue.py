"""Rescue of jobs delivered to a worker that cannot start them.

A worker with a free thread waits for jobs inside Redis. If C code holds its GIL, a pushed job is
still delivered, and would wait. The worker shows on the scoreboard which deliveries it has not
read; its fetcher beats ten times a second while jobs run, its main thread once a second in any
case. When these beats stop and a delivery may be unread, the keeper returns the jobs in flight
under the sequence numbers of those deliveries to the head of their queue.

No job is started twice. The master first sets a flag on the page (``RESCUE``), and only a moment
later reads which deliveries are unread. A worker that reads a delivery first notes that and then
checks the flag; so either the master sees that it has been read and leaves it alone, or the worker
sees the flag and returns the job, too, instead of starting it. The flag stays until the keeper is
done and the worker beats again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from jobd.master.children.child import Child
from jobd.master.children.fork import KEEPER
from jobd.master.daemon import Daemon
from jobd.runtime.child.mainloop import TURN
from jobd.runtime.ipc.scoreboard import FETCHER_BEAT, MAIN_BEAT, RESCUE, Page
from jobd.runtime.log import log

LIMIT = 0.25
"""Seconds within which a delivered job must have started."""

EVERY = 1.0
"""Seconds between checks while no worker that waits for jobs is running one."""

SETTLE = 0.02
"""Seconds from setting the flag to reading which deliveries are unread."""

logger = log.get("jobd.master")


@dataclass(slots=True)
class _Case:
    """An unresponsive worker: since when, when to act next, and whether the keeper has been
    asked."""

    since: float
    due: float
    asked: bool = False


class Rescue:
    """All workers of one master.

    Attributes:
        next_look: when the next check is due (monotonic s).
    """

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._cases: dict[Child, _Case] = {}
        self.next_look = 0.0

    def turn(self, now: float) -> None:
        """Check the workers, if due."""
        if now < self.next_look:
            return
        workers = self._daemon.staff.slots.worker_children()
        for child in workers:
            self._look_at(child, child.workplace.page, now)
        pages = [child.workplace.page for child in workers]
        busy = any(page.waits() and page.sequences() for page in pages)
        due = (case.due for case in self._cases.values() if not case.asked)
        self.next_look = min(now + (LIMIT if busy else EVERY), *due, math.inf)

    def _look_at(self, child: Child, page: Page, now: float) -> None:
        late = page.waits() if _held(page, now) else []
        case = self._cases.get(child)
        if case is None:
            if late:
                self._cases[child] = _Case(now, now + SETTLE)
                page.words[RESCUE] = 1
        elif case.asked or now < case.due:
            pass
        elif late:
            case.asked = self._daemon.staff.take_over(child, late)
            case.due = now + LIMIT
        else:
            page.words[RESCUE] = 0
            del self._cases[child]

    def taken_over(self, identity: str, jobs: int, now: float) -> None:
        """The keeper has returned *jobs* jobs of that worker."""
        for child, case in self._cases.items():
            if child.identity == identity:
                self._answered(case, now)
                if jobs:
                    logger.warning(
                        "jobs_taken_over",
                        child=child.role,
                        child_pid=child.pid,
                        jobs=jobs,
                        seconds=round(now - case.since, 2),
                    )

    def child_gone(self, child: Child, now: float) -> None:
        """A worker has been reaped, or the keeper, which will no longer answer."""
        self._cases.pop(child, None)
        if child.role == KEEPER:
            for case in self._cases.values():
                self._answered(case, now)

    def _answered(self, case: _Case, now: float) -> None:
        case.asked = False
        # By then the server has processed whatever was sent on a broken connection.
        case.due = now + LIMIT
        self.next_look = min(self.next_look, case.due)


def _held(page: Page, now: float) -> bool:
    """Whether the worker has been silent for so long that deliveries to it cannot start."""
    if (last := page.last(MAIN_BEAT)) and now - last > TURN + LIMIT:
        return True
    return now - page.last(FETCHER_BEAT) > LIMIT and bool(page.sequences())
