"""Hang detection: a process whose main thread does not run is dumped, and killed if that lasts.

The main thread of every child does nothing slow and beats once a second in shared memory. If the
beats stop, C code holds the GIL, the machine is overloaded, or the process has been stopped; only
in the first case does killing it help. Job threads may take any time.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, auto

from jobd.master.children.child import Child, Reason, Stage
from jobd.master.children.slots import GRACE, PUSH_BACK
from jobd.master.daemon import Daemon
from jobd.master.rollout.recycle import Recycle
from jobd.runtime.ipc.scoreboard import FETCHER_BEAT, MAIN_BEAT
from jobd.runtime.log import log
from jobd.runtime.process import processes

ALARM = 15.0
"""Seconds of silence after which a process is dumped."""

LEAST_ALARM = 2.0
"""The minimum, if ``worker_timeout`` is so short that a quarter of it is used instead."""

DUMP_AGAIN = 300.0
"""Seconds between two dumps of the same process."""

DUMP_TIME = 2.0
"""Seconds for the last dump."""

STEP = 5.0
"""Seconds between TERM, ABRT and KILL."""

FETCHER_LIMIT = 15.0
"""Seconds of silence that a fetcher is always allowed: it waits for Redis, 5 seconds at a time."""

logger = log.get("jobd.master")


class _Step(IntEnum):
    """The escalation for one process; each step acts and logs when it is entered."""

    FINE = auto()
    SILENT = auto()
    HELD = auto()
    IN_KERNEL = auto()
    # From here on the process is being killed.
    DUMPED = auto()
    TERMINATED = auto()
    ABORTED = auto()
    KILLED = auto()


@dataclass(slots=True)
class _Pulse:
    """The state of one child. Silence counts from *excused*, if that is after its last beat."""

    excused: float
    step: _Step = _Step.FINE
    since: float = 0.0
    dumped_at: float = float("-inf")
    fetcher_told: bool = False


class Watch:
    """The watch over all children of one master."""

    def __init__(self, daemon: Daemon, dump: Callable[[Child], None], recycle: Recycle) -> None:
        self._daemon = daemon
        self._dump = dump
        self._recycle = recycle
        self._pulses: dict[Child, _Pulse] = {}

    def excuse(self, now: float) -> None:
        """The whole machine was paused: ignore silence before *now*."""
        for pulse in self._pulses.values():
            pulse.excused = now

    def look(self, now: float) -> None:
        """Check every child; called once a second."""
        known = self._pulses
        self._pulses = {
            child: known.get(child) or _Pulse(now)
            for child in self._daemon.staff.slots.children()
            if child.stage is not Stage.BOOTING  # boots have a limit of their own
        }
        for child, pulse in self._pulses.items():
            self._look_at(child, pulse, now)

    def _look_at(self, child: Child, pulse: _Pulse, now: float) -> None:
        silence = now - max(child.workplace.page.last(MAIN_BEAT), pulse.excused)
        if silence < self._alarm:
            if pulse.step is not _Step.FINE:
                self._reacts_again(child, pulse, now)
            self._look_at_fetcher(child, pulse, now)
        elif pulse.step >= _Step.DUMPED:
            self._climb(child, pulse, now)
        elif now < child.kill_at - PUSH_BACK - GRACE:  # otherwise it is killed within seconds
            self._judge(child, pulse, silence, now)

    @property
    def _alarm(self) -> float:
        limit = self._daemon.config.worker_timeout
        return min(ALARM, max(LEAST_ALARM, limit / 4)) if limit else ALARM

    def _judge(self, child: Child, pulse: _Pulse, silence: float, now: float) -> None:
        state = processes.run_state(child.pid)
        if state in processes.STOPPED or processes.tracer(child.pid):
            if pulse.step is not _Step.HELD:
                why = processes.STOPPED.get(state, "a debugger is attached")
                self._enter(child, pulse, _Step.HELD, "stopped", now)
                logger.warning("child_stopped", child=child.role, child_pid=child.pid, reason=why)
            return
        if pulse.step is _Step.HELD:
            # It was resumed a moment ago and has not had time to beat.
            pulse.excused = now
            self._reacts_again(child, pulse, now)
            return
        if pulse.step is _Step.FINE:
            self._enter(child, pulse, _Step.SILENT, "does not react", now)
            self._log(child, "child_silent", silence)
            if now - pulse.dumped_at >= DUMP_AGAIN:
                pulse.dumped_at = now
                self._dump(child)
        limit = self._daemon.config.worker_timeout
        if not limit or silence < limit:
            return
        if state == processes.UNINTERRUPTIBLE and silence < 2 * limit:
            if pulse.step is not _Step.IN_KERNEL:
                self._enter(child, pulse, _Step.IN_KERNEL, "waits in the kernel", now)
                self._log(child, "child_waits_in_kernel", silence)
            return
        self._enter(child, pulse, _Step.DUMPED, "hung", now)
        self._log(child, "child_hung", silence)
        self._dump(child)

    def _climb(self, child: Child, pulse: _Pulse, now: float) -> None:
        """Take the next step towards killing it, if it is due."""
        if pulse.step is _Step.DUMPED:
            if now - pulse.since < DUMP_TIME:
                return
            child.reason = child.reason or Reason.HUNG
            child.stage = Stage.STOPPING
            self._signal(child, pulse, _Step.TERMINATED, signal.SIGTERM, now)
            child.send_signal(signal.SIGCONT)
        elif now - pulse.since < STEP:
            return
        elif pulse.step is _Step.TERMINATED:
            self._signal(child, pulse, _Step.ABORTED, signal.SIGABRT, now)
        elif pulse.step is _Step.ABORTED:
            self._signal(child, pulse, _Step.KILLED, signal.SIGKILL, now)

    def _signal(
        self, child: Child, pulse: _Pulse, step: _Step, signum: signal.Signals, now: float
    ) -> None:
        logger.error("child_signalled", child=child.role, child_pid=child.pid, signal=signum.name)
        child.send_signal(signum)
        self._enter(child, pulse, step, "hung", now)

    def _enter(self, child: Child, pulse: _Pulse, step: _Step, trouble: str, now: float) -> None:
        pulse.step = step
        pulse.since = now
        child.trouble = trouble
        self._daemon.changed()

    def _reacts_again(self, child: Child, pulse: _Pulse, now: float) -> None:
        if pulse.step >= _Step.TERMINATED:
            # It has received the TERM, and stops as if it came from outside.
            within = self._daemon.config.timeout + PUSH_BACK + GRACE
            child.kill_at = min(child.kill_at, now + within)
        self._enter(child, pulse, _Step.FINE, "", now)
        logger.info("child_reacts_again", child=child.role, child_pid=child.pid)

    def _look_at_fetcher(self, child: Child, pulse: _Pulse, now: float) -> None:
        limit = self._daemon.config.worker_timeout
        beat = child.workplace.page.last(FETCHER_BEAT)
        if not limit or not beat or child.stage is Stage.STOPPING:
            return
        silence = now - max(beat, pulse.excused)
        if silence < max(limit, FETCHER_LIMIT):
            pulse.fetcher_told = False
        elif not pulse.fetcher_told:
            pulse.fetcher_told = True
            self._log(child, "fetcher_silent", silence)
            self._dump(child)
            self._recycle.want(child, "its fetcher does not react")

    def _log(self, child: Child, event: str, silence: float) -> None:
        logger.error(
            event,
            child=child.role,
            child_pid=child.pid,
            seconds=round(silence, 1),
            running=child.jobs,
        )
