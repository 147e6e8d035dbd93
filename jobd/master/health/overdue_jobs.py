"""Jobs that go on after their deadline: their worker is replaced, as no thread can be ended alone.

Every job with a time limit shows its deadline on the scoreboard. When that has passed, the worker
raises JobTimeout in the job's thread, and most jobs end. One that is inside a long call into C, or
catches everything, does not, and its thread is lost to the worker. After ``job_kill_grace`` the
worker is retired as in recycling: a new one boots, the old one finishes its other jobs; when the
stuck ones are all that is left it fails those and leaves (jobd/worker/overdue.py).
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
"""Seconds since the last beat of a worker whose main thread is well. Only such a one can raise
JobTimeout, and leave when it is asked to; to the others the watch sees."""

DUMP_AGAIN = 300.0
"""Seconds between two dumps of the same worker."""

logger = log.get("jobd.master")


@dataclass(slots=True)
class _Case:
    """What is known of a worker and its jobs, by their sequence numbers. The grace of those whose
    deadline had passed before counts from *excused*."""

    excused: float = 0.0
    told: set[int] = field(default_factory=set)
    trouble: str = ""
    dumped_at: float = float("-inf")


class Overdue:
    """The jobs of one master's workers that go on after their deadline."""

    def __init__(self, daemon: Daemon, dump: Callable[[Child], None], recycle: Recycle) -> None:
        self._daemon = daemon
        self._dump = dump
        self._recycle = recycle
        self._cases: dict[Child, _Case] = {}

    def excuse(self, now: float) -> None:
        """Nobody could run until now: no job could be told that its time is over."""
        for case in self._cases.values():
            case.excused = now

    def look(self, now: float) -> None:
        """Look at every worker; called once a second."""
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
        self._recycle.hurry(child, "a job of it goes on after its timeout")

    def _late(self, child: Child, case: _Case, now: float) -> list[Running]:
        """The jobs to be acted upon, the longest overdue first."""
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
            **({"class": name.class_, "jid": name.jid} if name else {"sequence": job.sequence}),
        )

    def _show(self, child: Child, case: _Case, late: list[Running], now: float) -> None:
        if child.trouble not in ("", case.trouble):
            return  # the watch sees something in it that is worse
        first, others = late[0], len(late) - 1
        which = f"job {name.jid}" if (name := first.name) and name.jid else "a job"
        more = f", and {others} more" if others else ""
        seconds = now - first.deadline / 1e9
        if not child.trouble:
            self._daemon.changed()
        # Not each time that it counts on: the state file would be written every second.
        child.trouble = case.trouble = f"{which} is {seconds:.0f} s past its timeout{more}"

    def _over(self, child: Child, case: _Case) -> None:
        self._recycle.withdraw(child)
        if case.trouble:
            logger.info("jobs_not_overdue", child=child.role, child_pid=child.pid)
            if child.trouble == case.trouble:
                child.trouble = ""
                self._daemon.changed()
            case.trouble = ""
