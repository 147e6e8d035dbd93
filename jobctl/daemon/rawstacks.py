"""Stack dumps of a daemon whose master does not answer, taken without running its Python code.

Every process of the daemon has a C handler that writes its stacks to where others can read them:
the master to the file beside its pidfile, a child to memory visible in /proc. The files are only
read here, never truncated: jobctl may run as root, and the service user controls them.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobctl.codes import Code, Problem
from jobctl.daemon.answers import FIRST_ANSWER
from jobctl.daemon.pidfile import Daemon, Elsewhere
from jobd.master.files import paths
from jobd.master.files.statefile import ChildRecord, State
from jobd.runtime.process import processes
from jobd.runtime.process.dumps import MEMORY
from jobd.runtime.process.signals import RAW_DUMP

_WITHIN = 1.0
_LOOK_EVERY = 0.04  # s; if two checks find the same size, the handler has finished
_MOST = 1 << 20
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(slots=True)
class _Patient:
    """A process: *fd* is its dump file, *before* the initial size, *why* the reason for no dump."""

    role: str
    pid: int
    title: str
    process: processes.Process | None = None
    fd: int = -1
    before: int = 0
    seen: int = 0
    why: str = ""

    def ask(self) -> None:
        """Make it write its stacks, if it can."""
        if self.process is None:
            return
        self.why = self.why or processes.UNABLE.get(processes.run_state(self.process.pid), "")
        if self.why:
            return
        self.before = self.seen = os.fstat(self.fd).st_size
        try:
            self.process.send(RAW_DUMP)
        except PermissionError:
            self.why = "no permission to signal it; use sudo"

    def rests(self) -> bool:
        """Whether it has written its stacks, and nothing more since the last check."""
        if self.process is None or self.why:
            return True
        before, self.seen = self.seen, os.fstat(self.fd).st_size
        return self.seen == before != self.before

    def report(self) -> str:
        """Its section of the output."""
        text = ""
        if self.fd >= 0:
            text = os.pread(self.fd, _MOST, self.before).decode(errors="replace").rstrip()
        why = self.why or "it did not respond"
        return f"{self.title}\n{text if text and not self.why else f'no stacks: {why}'}\n"

    def close(self) -> None:
        """Close the file."""
        if self.fd >= 0:
            os.close(self.fd)


def collect(daemon: Daemon, of: list[str]) -> Iterator[str]:
    """The available stacks: a heading, then a section for the master and each child in the state
    file, or only for those whose role or process id is in *of*.

    Raises:
        Problem: the processes are in another PID namespace.
    """
    if isinstance(daemon.process, Elsewhere):
        raise Problem(
            Code.TIMED_OUT,
            "the master does not answer, and runs in another process namespace; run jobctl there",
        )
    patients = [
        patient
        for patient in (_master(daemon, daemon.process), *_children(daemon))
        if not of or {patient.role, str(patient.pid)} & set(of)
    ]
    about = processes.UNABLE.get(
        processes.run_state(daemon.process.pid), "it hangs, or is very busy"
    )
    yield (
        f"The master has not answered within {FIRST_ANSWER:g} s: {about}.\n"
        "These are raw dumps, which the processes write without running Python. They do not "
        "show the jobs.\n"
    )
    for patient in patients:
        patient.ask()
    give_up = time.monotonic() + _WITHIN
    while time.monotonic() < give_up:
        time.sleep(_LOOK_EVERY)
        rested = [patient.rests() for patient in patients]  # a list: rests() must run for each
        if all(rested):
            break
    for patient in patients:
        yield patient.report()
        patient.close()


def _master(daemon: Daemon, process: processes.Process) -> _Patient:
    title = f"== master, pid {process.pid} =="
    patient = _Patient("master", process.pid, title, process)
    path = paths.dump_path(daemon.pidfile)
    try:
        patient.fd = os.open(path, _READ | os.O_NOFOLLOW)
    except OSError as error:
        patient.why = f"cannot read {path}: {error.strerror}"
        return patient
    found = os.fstat(patient.fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != processes.owner(process.pid):
        patient.why = f"{path} is not a file of this daemon"
    return patient


def _children(daemon: Daemon) -> Iterator[_Patient]:
    known = daemon.state()
    if known is None:
        return
    owner = processes.owner(daemon.process.pid)
    if known.keeper is not None:
        yield _child(known, "keeper", known.keeper, owner)
    for record in known.zygotes:
        yield _child(known, "zygote", record, owner)
    for record in known.workers:
        yield _child(known, f"worker.{record.slot}", record, owner)


def _child(known: State, role: str, record: ChildRecord, owner: int | None) -> _Patient:
    title = f"== {role}, pid {record.pid}, {record.state}, generation {record.generation} =="
    patient = _Patient(role, record.pid, title, processes.Process.open(record.pid, record.ticks))
    if patient.process is None or processes.owner(record.pid) != owner:
        patient.why = "it has ended"
        return patient
    # The master holds the descriptor under this number, also for a child of the zygote.
    path = Path(f"/proc/{known.pid}/fd/{record.dump}")
    nonce = record.identity.rpartition(":")[2]
    try:
        if not str(path.readlink()).startswith(f"/memfd:{MEMORY}{nonce}"):
            patient.why = "the master has released its dump memory"
        else:
            patient.fd = os.open(path, _READ)
            # It may have become another file between the two calls.
            if os.fstat(patient.fd).st_uid != owner:
                patient.why = "its dump memory belongs to another user"
    except PermissionError:
        patient.why = "no permission to read its dump memory; use sudo"
    except OSError as error:
        patient.why = f"cannot read {path}: {error.strerror}"
    return patient
