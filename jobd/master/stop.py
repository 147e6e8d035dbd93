"""Stopping the daemon: first the workers, then the keeper, the master last.

The deadline is set when the stop begins and can only move forward. At the deadline the workers
return unfinished jobs; a worker that does not exit soon after is dumped and killed, and the keeper
recovers its jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from jobd.errors import Exit
from jobd.master.children.child import Reason
from jobd.master.children.killing import kill
from jobd.master.children.slots import GRACE, PUSH_BACK
from jobd.master.control.messages import Waiting
from jobd.master.daemon import Daemon
from jobd.master.phase import Phase
from jobd.runtime.ipc.launch import Verdict
from jobd.runtime.log import log
from jobd.wire.job_name import listed

AFTERWARDS = 2 * (PUSH_BACK + GRACE)
"""Seconds that a stop may take after its deadline: the workers', then the keeper's."""

_REPORT_EVERY = 5.0
_AGAIN = "press Ctrl-C again to stop at once; unfinished jobs go back to their queues"
_INSIST_AFTER = 1.0  # s: ignores a repeated key

logger = log.get("jobd.master")


class Stop:
    """The stop protocol of one master."""

    def __init__(self, daemon: Daemon, cancel_reload: Callable[[str], None]) -> None:
        self._daemon = daemon
        self._cancel_reload = cancel_reload
        self._began = 0.0
        self._deadline = 0.0
        self._insisted = 0
        self._keeper_told = False
        self._next_report = 0.0
        self._returned_before = 0

    def gracefully(self, cause: str, timeout: float | None = None) -> None:
        """Let jobs run for another *timeout* seconds (default: the configured timeout)."""
        seconds = self._daemon.config.timeout if timeout is None else timeout
        if not self._daemon.phase.ending:
            self._begin(Phase.STOPPING, cause, seconds)
        elif timeout is not None:
            self._sooner(time.monotonic() + seconds, cause)
        else:
            left = max(0.0, self._deadline - time.monotonic())
            logger.info("already_stopping", cause=cause, seconds_left=round(left, 1))

    def at_once(self, cause: str) -> None:
        """Return running jobs now."""
        if not self._daemon.phase.ending:
            self._begin(Phase.STOPPING, cause, 0.0)
        else:
            self._sooner(time.monotonic(), cause)

    def insist(self, cause: str) -> None:
        """Ctrl-C: stop, then stop at once, then kill."""
        now = time.monotonic()
        if not self._daemon.phase.ending:
            self.gracefully(cause)
            self._report(now, advice=_AGAIN)
        elif now - self._began < _INSIST_AFTER:
            return
        elif self._insisted == 0:
            self._insisted = 1
            self._began = now
            self.at_once(cause)
        else:
            self._kill_all(cause)

    def fail(self, code: int, text: str) -> None:
        """The daemon cannot start."""
        if not self._daemon.phase.ending:
            logger.error("start_failed", reason=text, code=int(code))
            self.give_up(code, text)

    def give_up(self, code: int, text: str) -> None:
        """Stop: continuing is pointless."""
        if not self._daemon.phase.ending:
            self._daemon.verdict = Verdict(code, text)
            self._begin(Phase.FAILED, text, self._daemon.config.timeout)

    @property
    def limit(self) -> float:
        """Seconds from now after which everything will have ended."""
        rest = max(0.0, self._deadline - time.monotonic())
        return rest + AFTERWARDS

    def waits_for(self) -> Waiting:
        """What it still waits for, as a phrase, and for how many seconds at most."""
        staff, now = self._daemon.staff, time.monotonic()
        workers = staff.slots.worker_children()
        busy = [
            f"{child.role} (pid {child.pid}), which runs {jobs}"
            for child in workers
            if (jobs := child.jobs)
        ]
        if busy and now < self._deadline:
            return Waiting(listed(busy), self._deadline - now)
        if busy:
            late = f"{listed(busy)}, past the deadline: it is killed if it does not exit"
            return Waiting(late, max(0.0, self._deadline + PUSH_BACK + GRACE - now))
        rest = [f"{child.role} (pid {child.pid})" for child in workers or staff.slots.children()]
        return Waiting(f"{listed(rest)} to exit", self.limit)

    @property
    def returned(self) -> int:
        """Jobs known to have been returned to Redis unfinished since it began."""
        return self._daemon.staff.returned - self._returned_before

    def _begin(self, phase: Phase, cause: str, timeout: float) -> None:
        daemon = self._daemon
        self._cancel_reload("the daemon is stopping")
        self._began = now = time.monotonic()
        self._deadline = now + timeout
        self._next_report = now + _REPORT_EVERY
        self._returned_before = daemon.staff.returned
        daemon.enter(phase, cause)
        daemon.notifier.stopping(daemon.line(), self.limit)
        self._tell()

    def _sooner(self, deadline: float, cause: str) -> None:
        if deadline < self._deadline:
            logger.info("stop_deadline_nearer", cause=cause)
            self._deadline = deadline
            self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        for child in self._daemon.staff.slots.worker_children():
            self._daemon.staff.slots.stop(child, Reason.STOP, self._deadline)
        for zygote in self._daemon.staff.slots.zygotes():
            self._daemon.staff.slots.stop(zygote, Reason.STOP, now)

    def _kill_all(self, cause: str) -> None:
        self._daemon.verdict = Verdict(
            Exit.INTERRUPTED,
            f"killed by {cause}: jobs that were running are recovered by the next start",
        )
        for child in self._daemon.staff.slots.children():
            child.reason = child.reason or Reason.STOP
            kill(child)

    def advance(self, now: float) -> None:
        """Take the next step if it is due; called in every turn of the loop."""
        staff = self._daemon.staff
        if staff.slots.worker_children() or staff.slots.zygotes() or staff.slots.unborn:
            if now >= self._next_report:
                self._next_report = now + _REPORT_EVERY
                self._report(now)
            return
        keeper = staff.slots.keeper.child
        if keeper is None:
            self._finish()
        elif not self._keeper_told:
            self._keeper_told = True
            staff.slots.stop(keeper, Reason.STOP, now)

    def _report(self, now: float, **advice: str) -> None:
        """Log which jobs it waits for, if any."""
        workers = self._daemon.staff.slots.worker_children()
        busy = [f"{child.role} runs {jobs}" for child in workers if (jobs := child.jobs)]
        if busy:
            left = round(max(0.0, self._deadline - now), 1)
            logger.info("waiting_for_jobs", jobs=listed(busy), seconds_left=left, **advice)

    def _finish(self) -> None:
        daemon = self._daemon
        left = len(daemon.staff.recoveries)
        if (left or daemon.staff.jobs_left) and daemon.verdict.code == Exit.OK:
            daemon.verdict = Verdict(
                Exit.JOBS_LEFT,
                "some jobs could not be returned to Redis and may still be in flight; a keeper "
                "recovers them as soon as it reaches Redis",
            )
        daemon.enter(Phase.STOPPED, "all children have ended")
