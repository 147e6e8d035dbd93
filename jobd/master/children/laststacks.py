"""The last known stacks of a dead worker's jobs.

A crash in C code leaves the stacks at that moment. A dump requested earlier (SIGTTIN) is used, too,
for jobs that had started by then. For a process killed without either there are none.
"""

from __future__ import annotations

import re
import signal
import time
from typing import NamedTuple

from jobd.runtime.ipc.scoreboard import Running
from jobd.runtime.process.dumps import StackDump

STACK_BYTES = 4096
"""Most bytes of one thread's stack; the innermost calls are kept."""

DEATH_BYTES = 64 * 1024
"""Most bytes of all stacks of one worker: they stay in memory until a keeper has used them."""

_FATAL = {-signal.SIGSEGV, -signal.SIGFPE, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGILL}
_THREAD = re.compile(r"^(Current thread|Thread) 0x([0-9a-f]+)\b.*((?:\n  .*)+)", re.MULTILINE)
_ORDER = "(most recent call first):"


class _Thread(NamedTuple):
    current: bool
    calls: str


def of_jobs(dump: StackDump, running: list[Running], status: int) -> dict[int, str]:
    """The last known stacks of the *running* jobs, by sequence number, if there are any.

    Args:
        status: how the worker ended: its exit code, negative for a signal.
    """
    crash = dump.crash() if status in _FATAL else ""
    threads = _last_dump(crash or dump.read())
    age, now = dump.age(), time.monotonic_ns()
    stacks: dict[int, str] = {}
    room = DEATH_BYTES
    for job in running:
        if crash:
            stack = _in_crash(job, threads)
        elif age < (now - job.started) / 1e9:
            stack = _before_end(job, threads, age)
        else:
            stack = ""  # taken before this job started
        if stack and len(stack) <= room:
            stacks[job.sequence] = stack
            room -= len(stack)
    return stacks


def _last_dump(text: str) -> dict[int, _Thread]:
    """The threads of the newest dump, by ident.

    Dumps follow each other without a mark, but each begins with the newest thread and ends with the
    main thread: read backwards, an older one begins where a thread comes a second time.
    """
    threads: dict[int, _Thread] = {}
    for kind, ident, calls in reversed(_THREAD.findall(text)):
        if int(ident, 16) in threads:
            break
        threads[int(ident, 16)] = _Thread(kind == "Current thread", calls)
    return threads


def _in_crash(job: Running, threads: dict[int, _Thread]) -> str:
    own = threads.get(job.thread_ident)
    parts = []
    if own is not None:
        what = "which got the signal" if own.current else "when another one got the signal"
        parts.append(_part(f"The thread of this job, {what}", own))
    if own is None or not own.current:
        # The cause is there, and perhaps a coroutine of this job.
        current = (one for one in threads.values() if one.current)
        parts += [_part("The thread that got the signal", one) for one in current]
    return "\n".join(parts)


def _before_end(job: Running, threads: dict[int, _Thread], age: float) -> str:
    own = threads.get(job.thread_ident)
    if own is None:
        return ""
    return _part(f"The thread of this job, {age:.1f} s before the end of its process", own)


def _part(heading: str, thread: _Thread) -> str:
    calls = thread.calls
    if len(calls) > STACK_BYTES:
        calls = calls[: calls.rindex("\n", 0, STACK_BYTES)] + "\n  ..."
    return f"{heading} {_ORDER}{calls}"
