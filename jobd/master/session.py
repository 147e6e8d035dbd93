"""Leaving root's session: its terminal, open files, keys and environment.

A process keeps its controlling terminal when it changes its user, and can push input into it
(``TIOCSTI``): a job could run commands in root's shell. So a daemon that root starts at a terminal
continues in a session of its own, as with ``su --command``. Signals of the terminal do not reach it
there. The process started by root remains, as root, and only forwards signals to the daemon and
exits with its exit code.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import signal
import sys
from collections.abc import MutableMapping
from typing import NoReturn

from jobd.runtime.process import processes
from jobd.runtime.process.signals import MASTER_SIGNALS

_PR_SET_PDEATHSIG = 1
_STREAMS = (0, 1, 2)

# Python and the C library have no function for it.
_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219}
_JOIN_SESSION_KEYRING = 1

# Variables of root's login, and those that lead to its agents, tickets, desktop and files.
_OF_A_LOGIN = re.compile(
    r"(SUDO|SSH|XDG|DBUS|GPG|TMUX|GNOME|KDE)_"
    r"|(MAIL|USERNAME|LS_COLORS|OLDPWD|GNUPGHOME|KRB5CCNAME|XAUTHORITY|DISPLAY|WAYLAND_DISPLAY"
    r"|SESSION_MANAGER|DESKTOP_SESSION|WINDOWID|TMUX|STY|HISTFILE|PYTHONSTARTUP|PYTHONUSERBASE"
    r"|BASH_ENV|ENV|_)\Z"
)

_guardian = 0
"""The process that forwards signals to this one; 0 if there is none."""


def leave() -> None:
    """Continue without a controlling terminal and without inherited descriptors.

    Standard output and standard error stay, a terminal for writing only; standard input is empty.
    At a terminal, a child returns from here.

    Raises:
        OSError: the kernel refuses.
    """
    global _guardian
    if processes.has_terminal():
        guardian = os.getpid()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, MASTER_SIGNALS)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        child = os.fork()
        if child:
            _wait_for(child)
        os.setsid()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        _guardian = guardian
    leave_keys()
    _reopen_streams()
    for fd in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 - names only, no Path objects
        if fd not in _STREAMS:
            try:
                os.close(fd)
            except OSError:
                pass  # that of the listing, which is closed already


def leave_keys() -> None:
    """Continue with an empty session keyring.

    A change of user does not change it: jobs could read the keys of root's login, such as tickets
    of Kerberos. A kernel without keyrings and a filter of system calls refuse, and jobs, too.
    """
    number = _KEYCTL.get(platform.machine()) if sys.maxsize > 2**32 else None
    if number is not None:
        ctypes.CDLL(None).syscall(number, _JOIN_SESSION_KEYRING, None)


def arm() -> None:
    """Have this process stopped if the one that forwards signals is killed.

    Call it after the change of user, which would disarm it.
    """
    if not _guardian:
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != _guardian:
        os.kill(os.getpid(), signal.SIGTERM)


def reduce(environment: MutableMapping[str, str], name: str, home: str, shell: str) -> None:
    """Make *environment* that of the user *name* ("": a number without an account).

    Variables that do not belong to a login stay: the application may need them.
    """
    for variable in [one for one in environment if _OF_A_LOGIN.match(one)]:
        del environment[variable]
    environment.update(HOME=home, SHELL=shell)
    for variable in ("USER", "LOGNAME"):
        environment[variable] = name
        if not name:
            del environment[variable]


def _wait_for(child: int) -> NoReturn:
    """Forward signals to *child*, and exit as it does."""
    while True:
        signum = signal.sigwaitinfo(MASTER_SIGNALS).si_signo
        if signum != signal.SIGCHLD:
            os.kill(child, signum)
            continue
        ended = 1
        while ended:  # as PID 1 of a container it has other children as well
            ended, status = os.waitpid(-1, os.WNOHANG)
            if ended == child:
                code = os.waitstatus_to_exitcode(status)
                os._exit(code if code >= 0 else 128 - code)


def _reopen_streams() -> None:
    _replace(0, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
    for fd in _STREAMS[1:]:
        if os.isatty(fd):
            flags = os.O_WRONLY | os.O_NOCTTY | os.O_CLOEXEC
            _replace(fd, os.open(f"/proc/self/fd/{fd}", flags))


def _replace(fd: int, new: int) -> None:
    if new != fd:
        os.dup2(new, fd)
        os.close(new)
