"""Identification of processes that is safe against the reuse of PIDs.

Neither a PID alone nor the errno of ``kill(pid, 0)`` identifies a process. A process is identified
by its PID, its start time in clock ticks since boot (which clock adjustments do not change) and the
boot id; once verified, it is held by a pidfd, which never refers to another process.
"""

from __future__ import annotations

import os
import pwd
import select
import signal
import time
from pathlib import Path

_PROC = Path("/proc")

STOPPED = {
    "T": "it is stopped (SIGSTOP or a terminal); SIGCONT resumes it",
    "t": "it is stopped by a debugger",
}
"""States of :func:`run_state` in which a process was stopped on purpose."""

UNINTERRUPTIBLE = "D"
"""State of a process that waits in the kernel, for example for a disk."""

UNABLE = {
    **STOPPED,
    UNINTERRUPTIBLE: "it is waiting in the kernel and cannot be interrupted",
}
"""States in which a process cannot run its signal handlers, with an explanation."""


def boot_id() -> str:
    """The boot id, or "" if /proc hides it (systemd's ``ProcSubset=pid``)."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _read(pid: int | str, file: str) -> str:
    # The kernel keeps 15 bytes of a title, and may cut inside a character.
    return (_PROC / str(pid) / file).read_text(errors="replace")


def _stat_fields(pid: int | str) -> list[str] | None:
    try:
        text = _read(pid, "stat")
    except OSError:
        return None
    # The second field is the command in parentheses, which may contain spaces and parentheses.
    return text[text.rindex(")") + 2 :].split()


def start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, or None if the process does not exist or is not visible."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else None


def owner(pid: int) -> int | None:
    """The uid that the process runs as, or None if it does not exist."""
    try:
        return (_PROC / str(pid)).stat().st_uid
    except OSError:
        return None


def innermost_pid(pid: int) -> int | None:
    """The PID of the process in its own PID namespace, or None if it does not exist."""
    try:
        status = _read(pid, "status")
    except OSError:
        return None
    return next(
        (int(line.split()[-1]) for line in status.splitlines() if line.startswith("NSpid:")), None
    )


def run_state(pid: int) -> str:
    """The kernel's state letter: R, S, D (uninterruptible), T (stopped), Z ...; "" if there is no
    such process."""
    fields = _stat_fields(pid)
    return fields[0] if fields else ""


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    fields = _stat_fields("self")
    return fields is not None and fields[4] != "0"


def tracer(pid: int) -> int:
    """PID of the debugger that is attached to the process; 0 for none."""
    try:
        text = _read(pid, "status")
    except OSError:
        return 0
    return int(text.partition("\nTracerPid:")[2].partition("\n")[0] or 0)


def proportional_bytes(pid: int) -> int:
    """Proportional set size (PSS) in bytes: a page shared by n processes counts as 1/n.

    Resident memory if the kernel does not report it; 0 if the process does not exist.
    """
    try:
        text = _read(pid, "smaps_rollup")
        return int(text.partition("\nPss:")[2].split(maxsplit=1)[0]) * 1024
    except (OSError, IndexError):
        return resident_bytes(pid)


def resident_bytes(pid: int) -> int:
    """Resident memory in bytes; 0 if the process does not exist."""
    try:
        pages = int(_read(pid, "statm").split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def thread_count() -> int:
    """Number of threads of this process, according to the kernel."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names only, no Path objects


def _command(pid: int) -> str:
    """The title of a process of jobd, or the name of another process."""
    title = (_PROC / str(pid) / "cmdline").read_bytes().rstrip(b"\0 ").decode(errors="replace")
    if title.startswith("jobd "):
        return title.partition(":")[0].partition(",")[0]
    return _read(pid, "comm").strip()


def describe(pid: int) -> str:
    """Description of a process for messages: ``pid 812 (nginx, uid 33)``."""
    try:
        command = _command(pid)
        uid = (_PROC / str(pid)).stat().st_uid
    except OSError:
        return f"pid {pid} (no longer running)"
    try:
        owner = f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        owner = f"uid {uid}"
    started = ""
    ticks = start_ticks(pid)
    if ticks is not None:
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
        started = time.strftime(", started %Y-%m-%d %H:%M:%S", time.localtime(time.time() - age))
    return f"pid {pid} ({command}, {owner}{started})"


class Process:
    """A verified process, held by its pidfd."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd

    @classmethod
    def open(cls, pid: int, ticks: int | None) -> Process | None:
        """The process *pid*, if it started at *ticks* (None: any process).

        The start time is read after the pidfd has been opened: if the PID was reused in between,
        the ticks differ.
        """
        try:
            pidfd = os.pidfd_open(pid)
        except (OSError, OverflowError):
            return None
        process = cls(pid, pidfd)
        actual = start_ticks(pid)
        if actual is None or (ticks is not None and actual != ticks) or not process.alive():
            process.close()
            return None
        return process

    def alive(self) -> bool:
        """Whether it has not exited; a zombie has."""
        return not self.wait(0)

    def wait(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds for its exit; returns whether it has exited."""
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        return bool(poller.poll(max(0.0, timeout) * 1000))

    def send(self, signum: signal.Signals) -> None:
        """Send a signal; ignored if the process has already exited.

        Raises:
            PermissionError: it belongs to another user.
        """
        try:
            signal.pidfd_send_signal(self._pidfd, signum)
        except ProcessLookupError:
            pass  # it has exited

    def close(self) -> None:
        os.close(self._pidfd)
