"""Forking one child, in the one order that is safe.

Signals are blocked around the fork, for a child inherits the master's handlers and its wake-up
descriptor: without the mask a TERM meant for the child would be handled by the master's handler, or
show up in the master's own loop. The child gives up everything of the master's before it does
anything else, and leaves by ``os._exit`` whatever happens: it must never return into the master's
stack or run the master's exit hooks.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from jobd import log
from jobd.config import Config
from jobd.errors import Exit, JobdError
from jobd.identity import new_nonce
from jobd.master import procs
from jobd.master.channel import Channel
from jobd.master.logfile import LogFile
from jobd.master.scoreboard import Page
from jobd.master.seat import Seat
from jobd.master.signals import CHILD_DEAF_TO, MASTER_SIGNALS, install_for_child
from jobd.master.title import set_title

KEEPER = "keeper"

_BLOCKED = MASTER_SIGNALS | CHILD_DEAF_TO
_PR_SET_PDEATHSIG = 1
_OOM_PENALTY = 200

# Loaded before any fork: loading a library in the child is work that can fail there.
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Forked:
    """The master's side of a new child."""

    pid: int
    pidfd: int
    ticks: int
    nonce: str
    channel: Channel


@dataclass(frozen=True, slots=True)
class Forker:
    """What all children of one master have in common.

    *leave_behind* closes, in the child, every descriptor that belongs to the master alone, and the
    dump memory of other children; it is given the child's own, which stays.
    """

    config: Config
    logfile: LogFile
    leave_behind: Callable[[int], None]

    def fork(self, role: str, index: int, generation: int, page: Page, dump_fd: int) -> Forked:
        """Fork one child; returns in the master only.

        Raises:
            OSError: the kernel gives no process or no descriptor now.
            RuntimeError: the master has threads, whose locks a child would inherit for ever.
        """
        if procs.thread_count() != 1:
            raise RuntimeError("the master has more than one thread and must not fork")
        master = os.getpid()
        nonce = new_nonce()
        page.clear()
        ours, theirs = Channel.pair()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)
        try:
            pid = os.fork()
            if pid == 0:
                birth = _Birth(self, role, index, generation, nonce, theirs, page, dump_fd)
                birth.live(master, ours)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            # Without a pidfd (no descriptor left) it could not be supervised.
            ours.close()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        return Forked(pid, pidfd, procs.start_ticks(pid) or 0, nonce, ours)


@dataclass(frozen=True, slots=True)
class _Birth:
    """The first moments of a child."""

    forker: Forker
    role: str
    index: int
    generation: int
    nonce: str
    channel: Channel
    page: Page
    dump_fd: int

    def live(self, master: int, masters_end: Channel) -> NoReturn:
        """The child's whole life."""
        code = int(Exit.SOFTWARE)
        try:
            signal.set_wakeup_fd(-1)
            masters_end.close()
            seat = self._prelude(master)
            code = int(_main_of(self.role)(seat))
        except JobdError as error:
            code = int(error.exit_code)
            log.get("jobd.master").error("process_cannot_start", role=self.role, error=str(error))
            self.channel.send(
                {"type": "failed", "code": code, "permanent": True, "reason": str(error)}
            )
        except BaseException:  # noqa: BLE001 - nothing may return into the master's stack
            log.get("jobd.master").exception("process_failed", role=self.role)
        finally:
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except (OSError, ValueError):
                    pass  # a terminal that has gone: there is nobody left to read it
            os._exit(code)

    def _prelude(self, master: int) -> Seat:
        self.forker.leave_behind(self.dump_fd)
        os.setpgid(0, 0)
        _close_stdin()
        _prefer_for_oom()
        inbox = install_for_child()
        _die_with(master)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        config = self.forker.config
        log.configure(self.forker.logfile, config.log_level, config.log_format, self.role)
        set_title(self.role, config.tag)
        seat = Seat(
            config=config,
            role=self.role,
            index=self.index,
            generation=self.generation,
            nonce=self.nonce,
            channel=self.channel,
            signals=inbox,
            page=self.page,
            dump_fd=self.dump_fd,
            logfile=self.forker.logfile,
        )
        seat.listen()
        return seat


def _main_of(role: str) -> Callable[[Seat], int]:
    # Imported here, in the child: the master has neither a Redis client nor an application.
    if role == KEEPER:
        from jobd.keeper import process as keeper

        return keeper.main
    from jobd.worker import process as worker

    return worker.main


def _close_stdin() -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)


def _prefer_for_oom() -> None:
    """When memory runs out, let the kernel take a worker, whose jobs come back."""
    score = Path("/proc/self/oom_score_adj")
    try:
        score.write_text(str(min(1000, int(score.read_text()) + _OOM_PENALTY)))
    except OSError as error:
        log.get("jobd.master").debug("oom_score_unchanged", error=str(error))


def _die_with(master: int) -> None:
    """Get a TERM when the master dies; it may have died before that was asked for."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != master:
        os._exit(Exit.OK)
