"""Memory limits: measures each child, and replaces or kills workers that use too much.

The limits apply to PSS: a page that all workers share with the master must not count fully for
each. Reading PSS takes the kernel up to a tenth of a second per gigabyte, so it is read every 30
seconds, and sooner for a process whose resident memory, which is cheap to read, grows fast.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from jobd.master.children.child import Child, Reason, Stage
from jobd.master.daemon import Daemon
from jobd.master.rollout.recycle import Recycle
from jobd.runtime.ipc import messages
from jobd.runtime.log import log
from jobd.runtime.process import processes

MEASURE_EVERY = 30.0
GROWN = 1.25
"""Growth factor of the resident memory at which the next measurement is due at once."""

BUDGET = 0.05
"""Seconds for the measurements of one check; the rest wait for the next."""

KILL_AFTER = 10.0
"""Seconds that a worker above the hard limit has to end its jobs."""

_MEGABYTE = 1 << 20

logger = log.get("jobd.master")


@dataclass(slots=True)
class _Sample:
    at: float
    resident: int
    over: bool = False


class Memory:
    """The memory of one master's children."""

    def __init__(self, daemon: Daemon, dump: Callable[[Child], None], recycle: Recycle) -> None:
        self._daemon = daemon
        self._dump = dump
        self._recycle = recycle
        self._samples: dict[Child, _Sample] = {}
        self._at_start: dict[Child, float] = {}

    def started(self, child: Child) -> None:
        """*child* is ready and has no job yet. A limit that it already exceeds cannot be met:
        replacing it would not help, and killing it would be blamed on a job."""
        if not child.is_worker:
            return
        used = self._at_start[child] = processes.proportional_bytes(child.pid) / _MEGABYTE
        config = self._daemon.config
        for name in ("memory_soft", "memory_hard"):
            limit = getattr(config, name)
            if limit and used > limit:
                logger.error(
                    "memory_limit_too_low",
                    child=child.role,
                    child_pid=child.pid,
                    setting=name,
                    limit=limit,
                    megabytes=round(used),
                    advice="it uses more before its first job, so the limit is not applied",
                )

    def look(self, now: float) -> None:
        """Measure children that are due, and apply the limits; called once a second."""
        known = self._samples
        self._samples = {
            child: known.get(child) or _Sample(float("-inf"), 0)
            for child in self._daemon.staff.slots.children()
            if child.stage is not Stage.BOOTING
        }
        self._at_start = {child: self._at_start.get(child, 0.0) for child in self._samples}
        give_up = time.monotonic() + BUDGET
        for child, sample in self._samples.items():
            if time.monotonic() < give_up:
                self._measure(child, sample, now)
            if child.is_worker:
                self._judge(child, sample, now)

    def _measure(self, child: Child, sample: _Sample, now: float) -> None:
        resident = processes.resident_bytes(child.pid)
        if now - sample.at >= MEASURE_EVERY or resident > GROWN * sample.resident:
            sample.at = now
            sample.resident = resident
            child.memory = processes.proportional_bytes(child.pid)
            self._daemon.changed()

    def _judge(self, child: Child, sample: _Sample, now: float) -> None:
        config = self._daemon.config
        used = child.memory / _MEGABYTE
        start = self._at_start.get(child, 0.0)
        if config.memory_hard and start <= config.memory_hard < used and not sample.over:
            sample.over = True
            self._end(child, used, now)
        elif config.memory_soft and start <= config.memory_soft < used:
            self._recycle.want(
                child, f"it uses {used:.0f} MB (memory_soft is {config.memory_soft})"
            )
        if sample.over and child.idle and child.stage is not Stage.STOPPING:
            self._daemon.staff.slots.stop(child, Reason.MEMORY, now)

    def _end(self, child: Child, used: float, now: float) -> None:
        logger.error(
            "memory_hard_exceeded",
            child=child.role,
            child_pid=child.pid,
            megabytes=round(used),
            limit=self._daemon.config.memory_hard,
            running=child.jobs,
        )
        self._dump(child)
        child.reason = child.reason or Reason.MEMORY
        child.tell(messages.Quiet())
        child.kill_at = min(child.kill_at, now + KILL_AFTER)
