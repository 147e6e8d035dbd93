"""The start of the daemon: waits until every worker is ready, or clearly will not be.

A bad deploy must fail at the prompt, with the worker's own error, instead of forking forever.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from jobd.errors import Exit
from jobd.master.children.child import Child, Failure, Reason
from jobd.master.children.fork import KEEPER
from jobd.master.daemon import Daemon

_EXTEND_EVERY = 10.0
_FAILURES_PER_WORKER = 3


class Boot:
    """Decides whether the start of one master has succeeded or failed."""

    def __init__(self, daemon: Daemon, fail: Callable[[int, str], None]) -> None:
        self._daemon = daemon
        self._fail = fail
        self._failures = 0
        self._sound = False
        self._last: Failure | None = None
        self._start_by = time.monotonic() + daemon.config.start_timeout
        self._next_extension = time.monotonic() + _EXTEND_EVERY

    def advance(self, now: float) -> None:
        """Called in every turn of the loop while the daemon starts."""
        if self._daemon.staff.slots.complete():
            self._daemon.ready()
        elif now >= self._start_by:
            self._not_in_time()
        elif now >= self._next_extension:
            self._next_extension = now + _EXTEND_EVERY
            self._daemon.notifier.extend(2 * _EXTEND_EVERY)

    def postpone(self, seconds: float) -> None:
        """Extend the deadline: the whole machine was paused for *seconds*."""
        self._start_by += seconds

    def _not_in_time(self) -> None:
        daemon = self._daemon
        children = daemon.staff.slots.children()
        notes = {child.note for child in children if child.note}
        # A child that has reached Redis may still be refused something it needs to start.
        notes |= {
            f"Redis: {child.outage}"
            for child in children
            if child.outage and not any(child.outage in note for note in notes)
        }
        text = f"not ready within {daemon.config.start_timeout:g} seconds (start_timeout)"
        if notes:
            self._fail(Exit.UNAVAILABLE, f"{text}: {'; '.join(sorted(notes))}")
        elif self._last is not None:
            self._fail(self._last.code, f"{text}: {self._last.reason}")
        else:
            self._fail(Exit.SOFTWARE, f"{text}; see the log for what the workers did")

    def child_ready(self, child: Child) -> None:
        """A child has booted; if it is a worker, the application works. A zygote that has imported
        it proves less: a hook may still fail in every worker."""
        self._sound = self._sound or child.is_worker

    def child_gone(self, child: Child, cause: str) -> None:
        """A child has ended; unless that was planned or it had been ready, it could not boot."""
        if child.planned or child.ready_at:
            return
        failure = self._last = child.failure or self._explain(child, cause)
        self._failures += 1
        too_many = self._failures >= _FAILURES_PER_WORKER * self._daemon.config.workers
        # If one could boot, the others may as well: they are retried until the timeout.
        if (failure.permanent or too_many) and not self._sound:
            self._fail(failure.code, failure.reason)

    def _explain(self, child: Child, cause: str) -> Failure:
        if child.reason is Reason.LATE:
            return Failure(
                Exit.NO_APPLICATION if child.role != KEEPER else Exit.SOFTWARE,
                False,
                f"{child.role} did not get ready within {self._daemon.config.boot_timeout:g} "
                "seconds (boot_timeout); its last stacks are in the log",
            )
        return Failure(Exit.SOFTWARE, False, f"{child.role} died while it was starting: {cause}")
