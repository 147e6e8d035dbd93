"""Initialization of a forked child; the order of the steps matters.

The child first closes everything that belongs to its parent, and always exits with ``os._exit``: it
must never return into the stack of the process that forked it, or run that process's exit hooks.
Nothing that the application has changed in the process can prevent this exit
(:mod:`jobd.runtime.process.leaving`).

Children are forked by the master or by the zygote (:mod:`jobd.zygote.main`). The zygote forks an
intermediate process, which exits at once, so that the kernel reparents the worker to the master.
Only then does the worker request a signal for its parent's death and introduce itself on its
channel; it continues when the master has answered.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass
from os import _exit
from pathlib import Path
from time import sleep as _sleep  # the application may replace it
from typing import NoReturn

from jobd.errors import Exit, JobdError
from jobd.runtime.child.seat import Seat
from jobd.runtime.ipc import messages
from jobd.runtime.ipc.channel import ChannelClosed, ChildEnd
from jobd.runtime.ipc.scoreboard import Page
from jobd.runtime.log import log
from jobd.runtime.log.file import LogFile
from jobd.runtime.process import forks, leaving
from jobd.runtime.process.signals import CHILD_DEAF_TO, MASTER_SIGNALS, install_for_child
from jobd.runtime.process.titles import set_title
from jobd.settings import workdir
from jobd.settings.daemon import Config

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_OOM_PENALTY = 200
_PAUSE = 0.0005  # s; the intermediate process exits at once

# Loaded before any fork, because loading a library in the child could fail.
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Birth:
    """The parameters of a child; see :class:`jobd.runtime.child.seat.Seat`.

    *leave_behind* closes, in the child, all descriptors that belong to other processes. *main* runs
    the child and returns the exit code. A child that *imports* the application enters the working
    directory by its path first.
    """

    config: Config
    logfile: LogFile
    role: str
    index: int
    generation: int
    since: float
    nonce: str
    channel: ChildEnd
    page: Page
    dump_fd: int
    leave_behind: Callable[[], None]
    main: Callable[[Seat], int]
    imports: bool = False

    def live(self, master: int, intermediate: int = 0) -> NoReturn:
        """Run the child. *intermediate* is its parent if that is not *master* yet."""
        code = int(Exit.SOFTWARE)
        last_words = None
        try:
            signal.set_wakeup_fd(-1)
            self.leave_behind()
            seat = self._adopted(master, intermediate) if intermediate else self._forked(master)
            code = int(self.main(seat))
            if seat.is_worker:
                last_words = leaving.run_exit_handlers
        except JobdError as error:
            forks.end(error)
            code = int(error.exit_code)
            log.get("jobd.master").error(
                "process_cannot_start", role=self.role, error=str(error), exc_info=error.__cause__
            )
            self.channel.send(messages.Failed(code, permanent=True, reason=str(error)))
        except BaseException as error:  # noqa: BLE001 - nothing may return into the parent's stack
            forks.end(error)
            log.get("jobd.master").exception("process_failed", role=self.role)
        finally:
            leaving.leave(code, last_words)

    def _forked(self, master: int) -> Seat:
        """Initialize a child forked by the master."""
        leaving.forget_exit_handlers()
        os.setpgid(0, 0)
        _close_stdin()
        _prefer_for_oom()
        seat = self._seat(master)
        log.configure(
            self.logfile,
            self.config.log_level,
            self.config.log_format,
            self.role,
            self.config.log_max_value,
        )
        if self.imports:
            workdir.enter(self.config.directory)
        return seat

    def _adopted(self, master: int, intermediate: int) -> Seat:
        """Initialize a child forked by the zygote, which has done the above."""
        os.setpgid(0, 0)
        while os.getppid() == intermediate:
            _sleep(_PAUSE)
        seat = self._seat(master)
        # Not configured again, to keep what the application has set up at its import.
        log.rename(self.role)
        self._introduce()
        return seat

    def _seat(self, master: int) -> Seat:
        inbox = install_for_child()
        _die_with(master)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        set_title(self.role, self.config.tag)
        seat = Seat(
            config=self.config,
            role=self.role,
            index=self.index,
            generation=self.generation,
            since=self.since,
            nonce=self.nonce,
            channel=self.channel,
            signals=inbox,
            page=self.page,
            dump_fd=self.dump_fd,
            logfile=self.logfile,
        )
        seat.listen()
        forks.guard(seat.give_up, taken=MASTER_SIGNALS | CHILD_DEAF_TO)
        return seat

    def _introduce(self) -> None:
        """Introduce the worker to the master and wait for an answer; exit if the master is gone."""
        answer = select.poll()
        answer.register(self.channel, select.POLLIN)
        try:
            self.channel.send(messages.Born(os.getpid()))
        except ChannelClosed:
            _exit(Exit.OK)
        # The main loop reads the answer, with anything that follows it.
        if any(event & select.POLLHUP for _, event in answer.poll()):
            _exit(Exit.OK)


def become_subreaper() -> None:
    """Make this process, instead of PID 1, the parent of its orphaned descendants.

    Raises:
        OSError: the kernel refused.
    """
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot become the reaper of orphans")


def _close_stdin() -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _prefer_for_oom() -> None:
    """Make the OOM killer prefer workers, whose jobs are recovered."""
    score = Path("/proc/self/oom_score_adj")
    try:
        score.write_text(str(min(1000, int(score.read_text()) + _OOM_PENALTY)))
    except OSError as error:
        log.get("jobd.master").debug("oom_score_unchanged", error=str(error))


def _die_with(master: int) -> None:
    """Request a TERM for the death of the master; exit if it has already died."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != master:
        _exit(Exit.OK)
