"""Forking one child from the master.

Signals are blocked around the fork, because a child inherits the master's handlers and its wake-up
descriptor: without the mask, a TERM for the child could be handled by the master's handler or
appear in the master's loop. The child continues in :mod:`jobd.runtime.child.birth`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module

from jobd.runtime.child.birth import Birth
from jobd.runtime.child.seat import Seat
from jobd.runtime.ipc.channel import MasterEnd, pair
from jobd.runtime.ipc.shared_memory import Workplace
from jobd.runtime.log.file import LogFile
from jobd.runtime.process import processes
from jobd.runtime.process.signals import BLOCKED
from jobd.settings.daemon import Config

KEEPER = "keeper"
ZYGOTE = "zygote"

_SHARED = ("jobd.jobs.loading", "jobd.wire.transitions", "ssl")
"""Modules that workers need and that neither connect to anything nor start threads: the master has
them, so that a worker that replaces another one is ready sooner."""

for _name in _SHARED:
    import_module(_name)

Main = Callable[[Seat], int]
"""The main function of a child; returns its exit code."""


@dataclass(frozen=True, slots=True)
class Forked:
    """The master's side of a new child."""

    pid: int
    pidfd: int
    ticks: int
    nonce: str
    channel: MasterEnd


@dataclass(frozen=True, slots=True)
class Forker:
    """Forks the children of one master.

    *since* is when the generation that it forks began (monotonic s). *leave_behind* closes, in the
    child, all descriptors of the master and of other children.
    """

    config: Config
    logfile: LogFile
    leave_behind: Callable[[], None]
    since: float = field(default_factory=time.monotonic)

    def fork(
        self,
        role: str,
        index: int,
        generation: int,
        nonce: str,
        workplace: Workplace,
        main: Main | None = None,
    ) -> Forked:
        """Fork one child; returns in the master only.

        Args:
            main: its main function, if not the usual one of its role.

        Raises:
            OSError: the process or descriptor limit is reached.
            RuntimeError: the master has threads, whose locks a child would inherit.
        """
        if processes.thread_count() != 1:
            raise RuntimeError("the master has more than one thread and must not fork")
        master = os.getpid()
        ours, theirs = pair()

        def leave_behind() -> None:
            ours.close()
            workplace.taken()
            self.leave_behind()

        before = signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)
        try:
            pid = os.fork()
            if pid == 0:
                Birth(
                    self.config,
                    self.logfile,
                    role,
                    index,
                    generation,
                    self.since,
                    nonce,
                    theirs,
                    workplace.page,
                    workplace.dump.fd,
                    leave_behind,
                    main or main_of(role),
                    imports=role != KEEPER,
                ).live(master)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            return adopt(pid, nonce, ours)
        except OSError:
            os.waitpid(pid, 0)
            raise


def adopt(pid: int, nonce: str, channel: MasterEnd) -> Forked:
    """Take control of a new child, which only this process can reap.

    Raises:
        OSError: out of descriptors; the child could not be supervised and has been killed.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        channel.close()
        os.kill(pid, signal.SIGKILL)
        raise
    return Forked(pid, pidfd, processes.start_ticks(pid) or 0, nonce, channel)


def main_of(role: str) -> Main:
    """The main function of a role.

    It is imported in the child: the master has neither a Redis client nor an application.
    """
    return _keep if role == KEEPER else _work


def _keep(seat: Seat) -> int:
    from jobd.keeper.main import main

    return main(seat)


def _work(seat: Seat) -> int:
    from jobd.worker.main import main

    return main(seat)
