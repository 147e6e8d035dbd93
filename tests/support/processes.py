"""The processes that a test has started, directly or not.

The test runner is a subreaper: a process whose parent dies, such as the worker of a killed
master or a detached daemon, becomes our child. So none can get lost, and all can be reaped.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import psutil

from jobd.testing import EmbeddedServer

_PR_SET_CHILD_SUBREAPER = 36
_END_SECONDS = 5.0

_LISTS_CHILDREN = Path("/proc/thread-self/children").exists()

# Servers that outlive one test; whoever starts such a one enters it here.
servers: list[EmbeddedServer] = []

# Process ids of other helpers that outlive one test.
kept: set[int] = set()

# Roots of whole trees that are their own world, such as a booted systemd.
worlds: set[int] = set()


def become_subreaper() -> None:
    """Adopt the orphans among our descendants from now on."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this system has no subreapers")


def descendants() -> list[psutil.Process]:
    """Every process below us, zombies too; those that outlive a test left out."""
    above = _parents()
    known = {server.pid for server in servers} | kept

    def is_of_a_world(pid: int) -> bool:
        while pid in above and pid not in worlds:
            pid = above[pid]
        return pid in worlds

    found = []
    for pid in above:
        if pid not in known and not is_of_a_world(pid):
            with suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(pid))
    return found


def _parents() -> dict[int, int]:
    """The parent of every process below us.

    The kernel lists the children of each thread. To look at all processes of the machine instead,
    before and after each of thousands of tests, takes a minute of processor time.
    """
    parents: dict[int, int] = {}
    to_do = [os.getpid()]
    while to_do:
        parent = to_do.pop()
        try:
            threads = list(Path(f"/proc/{parent}/task").iterdir())
            told = [(thread / "children").read_text() for thread in threads]
        except (FileNotFoundError, ProcessLookupError):
            if not _LISTS_CHILDREN:
                below = psutil.Process().children(recursive=True)
                return {process.pid: process.ppid() for process in below}
            if parent == os.getpid() or not Path(f"/proc/{parent}").exists():
                return _parents()  # it ended just now, and its children are ours
            to_do.append(parent)  # one of its threads did
            continue
        children = [int(pid) for pid in " ".join(told).split()]
        parents.update(dict.fromkeys(children, parent))
        to_do += children
    return parents


def reap(own: Collection[int] = ()) -> None:
    """Take the exit status of adopted processes that have ended.

    *own* are children that somebody else waits for; their status is left alone.
    """
    while (ended := _first_ended()) is not None and ended not in own:
        os.waitpid(ended, os.WNOHANG)
    if ended is None:
        return
    # It hides those that ended after it. To find them, all processes of the machine are looked at.
    for process in psutil.Process().children():
        try:
            if process.pid not in own and process.status() == psutil.STATUS_ZOMBIE:
                os.waitpid(process.pid, os.WNOHANG)
        except (psutil.NoSuchProcess, ChildProcessError):
            continue


def _first_ended() -> int | None:
    """A child whose exit status waits to be taken, which it still does afterwards."""
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if found is None else found.si_pid


def freeze(pid: int | None) -> None:
    """Stop the process *pid*; returns when all its threads have stopped.

    After ``kill`` alone, its other threads run on until the one to which the kernel gave the
    signal has its turn on a processor.
    """
    assert pid is not None, "it does not run"
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + _END_SECONDS
    while not _stopped(pid):
        assert time.monotonic() < deadline, f"pid {pid} does not stop"
        time.sleep(0.001)


def _stopped(pid: int) -> bool:
    """Whether no thread of *pid* runs: stopped, or ended and not yet reaped."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    states = [(thread / "stat").read_bytes().rpartition(b")")[2].split()[0] for thread in threads]
    return all(state in b"TtZ" for state in states)


def describe(process: psutil.Process) -> str:
    """One line about *process* for a message."""
    try:
        command = " ".join(process.cmdline())[:120] or process.name()
        return f"pid {process.pid} ({process.status()}, parent {process.ppid()}): {command}"
    except psutil.NoSuchProcess:
        return f"pid {process.pid}: gone"


def end_all(known: Collection[psutil.Process] = ()) -> list[str]:
    """End what a test left behind; one line about each process that should not have been there.

    Processes that are ending get a moment to do so. Those in *known* were there before the test.
    """
    deadline = time.monotonic() + _END_SECONDS
    while left := [p for p in descendants() if p not in known]:
        reap()
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    report = [describe(process) for process in left]
    for process in left:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=_END_SECONDS)
    reap()
    return report
