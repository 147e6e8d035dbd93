"""``jobctl status --check``: whether all is well, in one line and an exit code, for monitoring."""

from __future__ import annotations

from collections.abc import Iterator

from jobctl.codes import Code
from jobd.master.control.messages import DaemonStatus

_SERVING = ("running", "reloading")


def verdict(answer: DaemonStatus) -> tuple[Code, str]:
    """The exit code of the worst that is wrong, and everything that is wrong in one line.

    Args:
        answer: that of the master to ``status``.
    """
    found = sorted(_findings(answer), key=lambda one: one[0])
    what = f"{answer.state}, {_ready(answer)} workers ready"
    if not found:
        return Code.DONE, f"ok: {what}"
    return found[0][0], f"{'; '.join(text for _, text in found)} ({what})"


def _ready(answer: DaemonStatus) -> str:
    """Of how many workers that there are to be, so many are ready: a replaced one that still ends
    its jobs is no further one, and one that has crashed is one that is missing."""
    ready = {child.role for child in answer.workers if child.state == "ready"}
    missing = [*(slot.role for slot in answer.backing_off), *answer.empty]
    wanted = {child.role for child in answer.workers} | {
        role for role in missing if role.startswith("worker.")
    }
    return f"{len(ready)} of {len(wanted)}"


def _findings(answer: DaemonStatus) -> Iterator[tuple[Code, str]]:
    if answer.degraded:
        yield Code.DEGRADED, f"crash loop: {answer.crash_loop}"
    if outage := answer.outage:
        since = f"{outage.seconds:.0f} s"
        yield Code.NO_REDIS, f"Redis unavailable for {since}: {outage.error}"
    if answer.state not in _SERVING:
        yield Code.NOT_SERVING, f"takes no jobs: {answer.state} ({answer.cause})"
    elif not any(child.state == "ready" for child in answer.workers):
        yield Code.NOT_SERVING, "takes no jobs: no worker is ready"
    for slot in answer.backing_off:
        yield Code.TROUBLE, f"{slot.role} has crashed: {slot.cause}"
    keeper = [answer.keeper] if answer.keeper else []
    for child in [*answer.workers, *answer.zygotes, *keeper]:
        if child.trouble:
            yield Code.TROUBLE, f"{child.role} (pid {child.pid}) {child.trouble}"
        elif child.state == "quiet" and answer.state in _SERVING:
            yield Code.TROUBLE, f"{child.role} (pid {child.pid}) is quiet: {child.reason}"
    if answer.reload_trouble:
        yield Code.TROUBLE, answer.reload_trouble
    if answer.memory_short:
        yield Code.TROUBLE, answer.memory_short
    if answer.unrecovered:
        yield Code.TROUBLE, f"jobs of {answer.unrecovered} dead workers not yet recovered"
