"""The end of a child that does not end itself: its stacks are asked for, then it is killed."""

from __future__ import annotations

import signal

from jobd.master.children.child import Child, Reason
from jobd.runtime.log import log
from jobd.runtime.process import processes
from jobd.runtime.process.signals import RAW_DUMP

DUMP_TIME = 0.3
"""Seconds between asking for the stacks and the KILL."""

logger = log.get("jobd.master")


def end(child: Child, now: float) -> None:
    """Ask for its stacks; the next time kill it."""
    if child.reason is None:
        child.reason = Reason.MUTE
    known = {"child": child.role, "child_pid": child.pid, "reason": child.reason}
    if jobs := child.jobs:
        known["running"] = jobs
    if held := processes.STOPPED.get(processes.run_state(child.pid)):
        # To write its stacks it would have to be resumed; its threads would run meanwhile, which
        # has been seen to crash it.
        logger.error("child_killed", **known, held=held)
        kill(child)
    elif child.dumped:
        logger.error("child_killed", **known)
        if text := child.workplace.dump.read():
            logger.error("child_last_stacks", child=child.role, child_pid=child.pid, stack=text)
        kill(child)
    else:
        child.dumped = True
        child.workplace.dump.clear()
        child.send_signal(RAW_DUMP)
        child.kill_at = now + DUMP_TIME


def kill(child: Child) -> None:
    """Kill it now; its jobs are recovered."""
    child.send_signal(signal.SIGKILL)
    child.kill_at = float("inf")
