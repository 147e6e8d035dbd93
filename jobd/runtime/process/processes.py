"""Which process is that? Identity that survives the reuse of a PID.

A PID alone proves nothing, and neither does the errno of ``kill(pid, 0)``. A process is known by
its PID together with its start time in clock ticks since boot (raw, so that no clock correction
moves it) and the boot it belongs to; once verified it is held by a pidfd, which can never come to
mean another process.
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
    "T": "it is stopped (SIGSTOP or a terminal); SIGCONT lets it go on",
    "t": "a debugger holds it",
}
"""By :func:`run_state`: somebody has stopped it on purpose."""

UNINTERRUPTIBLE = "D"
"""The same for a process that waits in the kernel, for a disk for example."""

UNABLE = {
    **STOPPED,
    UNINTERRUPTIBLE: "it waits in the kernel and cannot be interrupted",
}
"""All that cannot run their signal handlers now, and what that means."""


def boot_id() -> str:
    """This boot's identifier, or "" where /proc hides it (systemd's ``ProcSubset=pid``)."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _stat_fields(pid: int | str) -> list[str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The second field is the command in parentheses and may itself hold blanks and parentheses.
    return text[text.rindex(")") + 2 :].split()


def start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat, or None when there is no such process (or it may not be seen)."""
    fields = _stat_fields(pid)
    return int(fields[19]) if fields else None


def owner(pid: int) -> int | None:
    """The uid that the process runs as, or None when there is no such process."""
    try:
        return (_PROC / str(pid)).stat().st_uid
    except OSError:
        return None


def innermost_pid(pid: int) -> int | None:
    """The number that the process has in its own PID namespace, or None when it is gone."""
    try:
        status = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return None
    return next(
        (int(line.split()[-1]) for line in status.splitlines() if line.startswith("NSpid:")), None
    )


def run_state(pid: int) -> str:
    """The kernel's letter: R, S, D (uninterruptible), T (stopped), Z ...; "" when it is gone."""
    fields = _stat_fields(pid)
    return fields[0] if fields else ""


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    fields = _stat_fields("self")
    return fields is not None and fields[4] != "0"


def tracer(pid: int) -> int:
    """PID of the debugger that is attached to the process; 0 when there is none."""
    try:
        text = (_PROC / str(pid) / "status").read_text()
    except OSError:
        return 0
    return int(text.partition("\nTracerPid:")[2].partition("\n")[0] or 0)


def proportional_bytes(pid: int) -> int:
    """Memory in bytes, of which a page that n processes share counts as 1/n (PSS).

    Resident memory where the kernel does not tell; 0 when the process is gone.
    """
    try:
        text = (_PROC / str(pid) / "smaps_rollup").read_text()
        return int(text.partition("\nPss:")[2].split(maxsplit=1)[0]) * 1024
    except (OSError, IndexError):
        return resident_bytes(pid)


def resident_bytes(pid: int) -> int:
    """Resident memory in bytes; 0 when the process is gone."""
    try:
        pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def thread_count() -> int:
    """How many threads this process has, as the kernel counts them."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names only, no Path objects


def _command(pid: int) -> str:
    """What a process calls itself: of ours the title, of others the name, which is shorter."""
    title = (_PROC / str(pid) / "cmdline").read_bytes().rstrip(b"\0 ").decode(errors="replace")
    if title.startswith("jobd "):
        return title.partition(":")[0].partition(",")[0]
    return (_PROC / str(pid) / "comm").read_text().strip()


def describe(pid: int) -> str:
    """A process in words, for messages: ``pid 812 (nginx, uid 33)``."""
    try:
        command = _command(pid)
        uid = (_PROC / str(pid)).stat().st_uid
    except OSError:
        return f"pid {pid} (no longer there)"
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
        """The process *pid* if it is the one that started at *ticks* (None: whoever it is now).

        The pidfd is opened first and the start time read afterwards: had the PID been reused in
        between, the ticks would differ.
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
        """Whether it has not ended (a zombie has)."""
        return not self.wait(0)

    def wait(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds for its end; True when it has ended."""
        poller = select.poll()
        poller.register(self._pidfd, select.POLLIN)
        return bool(poller.poll(max(0.0, timeout) * 1000))

    def send(self, signum: signal.Signals) -> None:
        """Send a signal; one that comes too late is no error.

        Raises:
            PermissionError: it belongs to another user.
        """
        try:
            signal.pidfd_send_signal(self._pidfd, signum)
        except ProcessLookupError:
            pass  # ended already: what was wanted

    def close(self) -> None:
        os.close(self._pidfd)
