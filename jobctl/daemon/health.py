"""``jobctl status --check``: the health of the daemon as one line and an exit code."""

from __future__ import annotations

from collections.abc import Iterator

from jobctl.codes import Code
from jobd.master.control.messages import DaemonStatus

SERVING = ("running", "reloading")


def verdict(answer: DaemonStatus) -> tuple[Code, str]:
    """The exit code of the worst problem, and all problems in one line.

    Args:
        answer: the master's answer to ``status``.
    """
    found = sorted(findings(answer), key=lambda one: one[0])
    what = f"{answer.state}, {_ready(answer)} workers ready"
    if not found:
        return Code.DONE, f"ok: {what}"
    return found[0][0], f"{'; '.join(text for _, text in found)} ({what})"


def _ready(answer: DaemonStatus) -> str:
    """How many of the configured workers are ready. A replaced worker that is finishing its jobs is
    not counted in addition; a crashed one counts as not ready."""
    ready = {child.role for child in answer.workers if child.state == "ready"}
    missing = [*(slot.role for slot in answer.backing_off), *answer.empty]
    wanted = {child.role for child in answer.workers} | {
        role for role in missing if role.startswith("worker.")
    }
    return f"{len(ready)} of {len(wanted)}"


def findings(answer: DaemonStatus) -> Iterator[tuple[Code, str]]:
    """All problems, each with its code."""
    if answer.degraded:
        yield Code.DEGRADED, f"crash loop: {answer.crash_loop}"
    if outage := answer.outage:
        since = f"{outage.seconds:.0f} s"
        yield Code.NO_REDIS, f"Redis unavailable for {since}: {outage.error}"
    if answer.state not in SERVING:
        yield Code.NOT_SERVING, f"takes no jobs: {answer.state} ({answer.cause})"
    elif not any(child.state == "ready" for child in answer.workers):
        yield Code.NOT_SERVING, "takes no jobs: no worker is ready"
    for slot in answer.backing_off:
        yield Code.TROUBLE, f"{slot.role} has crashed: {slot.cause}"
    keeper = [answer.keeper] if answer.keeper else []
    for child in [*answer.workers, *answer.zygotes, *keeper]:
        if child.trouble:
            yield Code.TROUBLE, f"{child.role} (pid {child.pid}) {child.trouble}"
        elif child.state == "quiet" and answer.state in SERVING:
            yield Code.TROUBLE, f"{child.role} (pid {child.pid}) is quiet: {child.reason}"
    if answer.reload_trouble:
        yield Code.TROUBLE, answer.reload_trouble
    if answer.memory_short:
        yield Code.TROUBLE, answer.memory_short
    if answer.log_trouble:
        yield Code.TROUBLE, answer.log_trouble
    if answer.unrecovered:
        yield Code.TROUBLE, f"jobs of {answer.unrecovered} dead workers not yet recovered"
