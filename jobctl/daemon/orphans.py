"""The children of a master that died without stopping them.

They notice its death and stop by themselves, with the daemon's timeout but at most 20 seconds.
Until then they run jobs, so a daemon has not stopped before they have exited.
"""

from __future__ import annotations

import time
from pathlib import Path
from signal import Signals
from typing import NamedTuple

from jobctl.codes import Code, NotRunning, Problem
from jobctl.daemon import way
from jobd.master.files import paths, statefile
from jobd.master.files.statefile import ChildRecord, State
from jobd.runtime.process.processes import Process, boot_id, owner

_LEAVING = 40.0  # s, within which they exit, or never will
_AFTER_KILL = 5.0


class Orphan(NamedTuple):
    """A child that is still alive."""

    role: str
    record: ChildRecord

    def __str__(self) -> str:
        return f"{self.role} (pid {self.record.pid})"

    def open(self) -> Process | None:
        """Its process; None if it has exited."""
        return Process.open(self.record.pid, self.record.ticks)

    def exited(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds for its exit; returns whether it has exited."""
        process = self.open()
        if process is None:
            return True
        try:
            return process.wait(timeout)
        finally:
            process.close()


class MasterDied(NotRunning):
    """The daemon is not running, but children of its master may be.

    Attributes:
        pidfile: the one that it left.
        uid: owner of the pidfile.
        orphans: the children that are alive.
    """

    def __init__(self, path: Path, uid: int, known: State) -> None:
        self.pidfile = path
        self.uid = uid
        self.orphans = _living(known)
        died = f"its master, pid {known.pid}, died; the next start recovers its jobs"
        left = f". Its children will exit within half a minute: {self.named()}"
        super().__init__(
            f"not running (stale pidfile {path}: {died}{left if self.orphans else ''})"
        )

    def named(self) -> str:
        """The orphans for a message."""
        return ", ".join(map(str, self.orphans))

    def wait(self, *, kill: bool) -> Code:
        """Wait until the orphans have exited.

        Args:
            kill: whether to kill those that do not.

        Raises:
            Problem: they have not exited.
        """
        self._outlive(_LEAVING)
        if not self.orphans:
            return Code.DONE
        if kill:
            way.check(self.pidfile, self.uid)
            for orphan in self.orphans:
                self._kill(orphan)
            self._outlive(_AFTER_KILL)
            if not self.orphans:
                return Code.PARTIAL
        hint = "" if kill else "; use --kill to kill them"
        raise Problem(
            Code.TIMED_OUT,
            f"the master has died, but its children have not exited: {self.named()}{hint}; the "
            "next start ends them and recovers their jobs",
        )

    def _outlive(self, seconds: float) -> None:
        give_up = time.monotonic() + seconds
        self.orphans = [
            orphan for orphan in self.orphans if not orphan.exited(give_up - time.monotonic())
        ]

    def _kill(self, orphan: Orphan) -> None:
        process = orphan.open()
        if process is not None:
            if owner(process.pid) == self.uid:
                process.send(Signals.SIGKILL)
            process.close()


def _living(known: State) -> list[Orphan]:
    keeper = [Orphan("keeper", known.keeper)] if known.keeper else []
    zygotes = [Orphan("zygote", record) for record in known.zygotes]
    workers = [Orphan(f"worker.{record.slot}", record) for record in known.workers]
    found = [*workers, *zygotes, *keeper]
    return [orphan for orphan in found if not orphan.exited(0)]


def of(path: Path, pid: int | None, uid: int) -> MasterDied | None:
    """What is known of the master *pid* that left the pidfile *path*; None if nothing is."""
    known = statefile.load(paths.state_path(path), uid)
    if known is None or known.pid != pid or known.boot_id not in ("", boot_id()):
        return None
    return MasterDied(path, uid, known)
