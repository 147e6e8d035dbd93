"""Jobs that run past their deadline: their worker is replaced, as a thread cannot be killed alone.

Every job with a time limit shows its deadline on the scoreboard. At the deadline the worker raises
JobTimeout in the job's thread, and most jobs end. A job inside a long C call, or one that catches
everything, does not, and blocks its thread. So may one that has been cancelled by force: its
deadline is the time of that. After ``job_kill_grace`` the worker is replaced as in recycling: a new
one boots, the old one finishes its other jobs; when only stuck jobs are left, it ends them and
exits (jobd/worker/overdue.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from jobd.master.children.child import Child, Stage
from jobd.master.daemon import Daemon
from jobd.master.rollout.recycle import Recycle
from jobd.runtime.ipc.scoreboard import MAIN_BEAT, Running
from jobd.runtime.log import log

HEALTHY = 5.0
"""Most seconds since the last beat of a responsive worker. Only such a worker can raise JobTimeout
and stop when asked; the watch handles the others."""

DUMP_AGAIN = 300.0
"""Seconds between two dumps of the same worker."""

logger = log.get("jobd.master")


@dataclass(slots=True)
class _Case:
    """The state of a worker and its jobs, by sequence number. For jobs whose deadline passed before
    *excused*, the grace period counts from then."""

    excused: float = 0.0
    told: set[int] = field(default_factory=set)
    trouble: str = ""
    dumped_at: float = float("-inf")


class Overdue:
    """The overdue jobs of one master's workers."""

    def __init__(self, daemon: Daemon, dump: Callable[[Child], None], recycle: Recycle) -> None:
        self._daemon = daemon
        self._dump = dump
        self._recycle = recycle
        self._cases: dict[Child, _Case] = {}

    def excuse(self, now: float) -> None:
        """The whole machine was paused: no job could get JobTimeout until *now*."""
        for case in self._cases.values():
            case.excused = now

    def look(self, now: float) -> None:
        """Check every worker; called once a second."""
        known = self._cases
        self._cases = {
            child: known.get(child) or _Case()
            for child in self._daemon.staff.slots.worker_children()
            if child.stage is not Stage.BOOTING
        }
        for child, case in self._cases.items():
            self._look_at(child, case, now)

    def _look_at(self, child: Child, case: _Case, now: float) -> None:
        if now - child.workplace.page.last(MAIN_BEAT) >= HEALTHY:
            case.excused = now
            return
        late = self._late(child, case, now)
        if not late:
            self._over(child, case)
            return
        new = [job for job in late if job.sequence not in case.told]
        for job in new:
            case.told.add(job.sequence)
            self._log(child, job, now)
        if new:
            self._daemon.changed()
            if now - case.dumped_at >= DUMP_AGAIN:
                case.dumped_at = now
                self._dump(child)
        self._show(child, case, late, now)
        self._recycle.hurry(child, f"a job of it goes on after its {_cause(late[0])}")

    def _late(self, child: Child, case: _Case, now: float) -> list[Running]:
        """The jobs past their grace period, the longest overdue first."""
        grace = self._daemon.config.job_kill_grace
        if not grace:
            return []
        late = [
            job
            for job in child.workplace.page.running()
            if job.deadline and now - max(job.deadline / 1e9, case.excused) >= grace
        ]
        return sorted(late, key=lambda job: job.deadline)

    def _log(self, child: Child, job: Running, now: float) -> None:
        name = job.name
        logger.error(
            "job_overdue",
            child=child.role,
            child_pid=child.pid,
            seconds=round(now - job.deadline / 1e9, 1),
            cause=_cause(job),
            **({"class": name.class_, "jid": name.jid} if name else {"sequence": job.sequence}),
        )

    def _show(self, child: Child, case: _Case, late: list[Running], now: float) -> None:
        if child.trouble not in ("", case.trouble):
            return  # the watch reports something worse
        first, others = late[0], len(late) - 1
        which = f"job {name.jid}" if (name := first.name) and name.jid else "a job"
        more = f", and {others} more" if others else ""
        seconds = now - first.deadline / 1e9
        if not child.trouble:
            self._daemon.changed()
        # Not on every tick: the state file would be written every second.
        child.trouble = case.trouble = f"{which} is {seconds:.0f} s past its {_cause(first)}{more}"

    def _over(self, child: Child, case: _Case) -> None:
        self._recycle.withdraw(child)
        if case.trouble:
            logger.info("jobs_not_overdue", child=child.role, child_pid=child.pid)
            if child.trouble == case.trouble:
                child.trouble = ""
                self._daemon.changed()
            case.trouble = ""


def _cause(job: Running) -> str:
    return "cancellation" if job.forced else "timeout"
