"""The daemon of a pidfile: found, verified, queried and signalled.

A PID in a file proves nothing. A process is only signalled if the pidfile is locked, the state file
has the PID with the start time of the process, and all of that is still true after its pidfd has
been opened; from then on, only the pidfd is used.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from contextlib import closing
from pathlib import Path
from signal import Signals

from jobctl.codes import Code, NotRunning, Problem
from jobctl.daemon import limit as limits
from jobctl.daemon import orphans, way
from jobctl.daemon.answers import LAST_ANSWER, Answers, NoAnswer, Reply
from jobd.errors import PidfileError
from jobd.master.control import control_socket
from jobd.master.control.messages import Request
from jobd.master.files import paths, pidfile, statefile
from jobd.runtime.process import processes

_LOOK = 0.05  # s between checks of the lock of a master without a pidfd


class Elsewhere:
    """A master in another PID namespace, such as a container whose run directory is mounted here:
    it can be queried, but its PID does not exist here or belongs to another process.
    """

    def __init__(self, path: Path, pid: int, uid: int) -> None:
        self.pid = pid
        self.uid = uid
        self._path = path

    def wait(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds until it has exited; returns whether its lock is free."""
        give_up = time.monotonic() + timeout
        while self._lives():
            if time.monotonic() >= give_up:
                return False
            time.sleep(_LOOK)
        return True

    def _lives(self) -> bool:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return paths.socket_path(self._path).exists()
        try:
            return pidfile.is_held(self._path, fd)
        finally:
            os.close(fd)

    def send(self, signum: Signals) -> None:
        """Always refused.

        Raises:
            Problem: always.
        """
        raise Problem(
            Code.REFUSED,
            f"{signum.name} was not sent: the master of {self._path} runs in another process "
            "namespace; signal it from there",
        )

    def close(self) -> None:
        """Do nothing."""


class Daemon:
    """A verified master.

    Attributes:
        pidfile: its pidfile.
        process: its process, held by a pidfd.
    """

    def __init__(self, path: Path, process: processes.Process | Elsewhere) -> None:
        self.pidfile = path
        self.process = process

    @classmethod
    def find(cls, path: Path) -> Daemon:
        """The daemon whose pidfile is *path*.

        Raises:
            NotRunning: it is not running.
            Problem: the process is not, or not verifiably, this daemon.
        """
        path = path.absolute()
        daemon = cls._find(path)
        try:
            way.check(path, daemon.uid())
        except Problem:
            daemon.process.close()
            raise
        return daemon

    @classmethod
    def _find(cls, path: Path) -> Daemon:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return cls._by_socket(path)
        except OSError as error:
            raise way.cannot_read(path, error) from None
        try:
            return cls(path, _verified(path, fd))
        finally:
            os.close(fd)

    @classmethod
    def _by_socket(cls, path: Path) -> Daemon:
        """Find the daemon by its socket, if its pidfile was removed."""
        try:
            with control_socket.connect(paths.socket_path(path)) as sock:
                pid, uid = control_socket.peer(sock)
        except PermissionError:
            raise Problem(Code.PARTIAL, f"permission denied: {path.parent}; use sudo") from None
        except BlockingIOError:
            raise Problem(
                Code.TIMED_OUT, f"there is no pidfile {path}, and the master does not answer"
            ) from None
        except control_socket.NotTheirs as error:
            raise Problem(
                Code.REFUSED,
                f"there is no pidfile {path}, and uid {error.uid} listens on its socket as "
                f"pid {error.pid} but does not own it; nothing was signalled",
            ) from None
        except OSError:
            raise NotRunning(
                f"not running (there is no pidfile {path}; if the daemon has another one, give it "
                "with -P, or its configuration with -C)"
            ) from None
        if pid == 0:
            return cls(path, Elsewhere(path, pid, uid))
        process = processes.Process.open(pid, None)
        if process is None:
            raise NotRunning("not running (it has just ended)")
        # The PID is that of the process that began to listen; it may have been reused.
        if processes.owner(pid) != uid:
            process.close()
            raise Problem(
                Code.REFUSED,
                f"there is no pidfile {path}, and uid {uid} listens on its socket as "
                f"{processes.describe(pid)}, which belongs to another user; nothing was signalled",
            )
        return cls(path, process)

    def ask(self, request: Request, *, limit: float = LAST_ANSWER) -> Answers:
        """Send a request; returns the answers until the daemon closes the connection.

        Args:
            limit: seconds within which it has to be completed.

        Raises:
            NoAnswer: there is no listener, or it does not accept the request.
            Problem: permission denied.
        """
        return Answers(self._connect(), request, limit, self._unable)

    def _unable(self) -> str:
        """Why the master cannot answer now, according to the kernel; "" if unknown."""
        if isinstance(self.process, Elsewhere):
            return ""
        return processes.UNABLE.get(processes.run_state(self.process.pid), "")

    def _connect(self) -> socket.socket:
        try:
            return control_socket.connect(paths.socket_path(self.pidfile))
        except PermissionError:
            raise Problem(
                Code.PARTIAL, f"permission denied: {processes.describe(self.process.pid)}; use sudo"
            ) from None
        except OSError as error:
            raise NoAnswer(f"the control socket cannot be reached: {error.strerror}") from None

    def result(self, request: Request) -> Reply:
        """The final answer to a request; raises Problem with the reason if the request failed."""
        with closing(self.ask(request)) as answers:
            for answer in answers:
                if answer.type == "done":
                    return answer
                if answer.type == "failed":
                    raise Problem(Code.FAILED, f"{request.command}: {answer.error}")
        raise Problem(Code.FAILED, f"{request.command}: the daemon ended before it was done")

    def signal(self, signum: Signals) -> None:
        """Signal the verified master."""
        try:
            self.process.send(signum)
        except PermissionError:
            raise Problem(
                Code.PARTIAL,
                f"no permission to signal {processes.describe(self.process.pid)}; use sudo",
            ) from None

    def uid(self) -> int | None:
        """The user that it runs as."""
        process = self.process
        return process.uid if isinstance(process, Elsewhere) else processes.owner(process.pid)

    def state(self) -> statefile.State | None:
        """The content of the state file; None if it is not that of this master."""
        owner = processes.owner(self.process.pid)
        with limits.within(limits.FILES, f"the files beside {self.pidfile} cannot be read"):
            known = statefile.load(paths.state_path(self.pidfile), owner)
        return known if known is not None and known.pid == self.process.pid else None

    def kill(self) -> None:
        """SIGKILL the master and all children in the state file, each of them verified."""
        known = self.state()
        owner = processes.owner(self.process.pid)
        self.signal(Signals.SIGKILL)
        self.process.wait(5.0)
        if known is None:
            return
        keeper = [known.keeper] if known.keeper else []
        for record in [*known.zygotes, *known.workers, *keeper]:
            child = processes.Process.open(record.pid, record.ticks)
            if child is not None:
                if processes.owner(child.pid) == owner:
                    child.send(Signals.SIGKILL)
                    child.wait(5.0)
                child.close()


def _verified(path: Path, fd: int) -> processes.Process | Elsewhere:
    found = os.fstat(fd)
    if stat.S_ISDIR(found.st_mode):
        raise Problem(Code.REFUSED, f"{path} is a directory; give the pidfile in it: -P {path}/…")
    if not stat.S_ISREG(found.st_mode):
        raise Problem(Code.REFUSED, f"{path} is not a pidfile: it is not a regular file")
    if found.st_nlink > 1:
        raise Problem(Code.REFUSED, f"{path} is not a pidfile: it has another name (a hard link)")
    try:
        pid = pidfile.read(fd)
    except PidfileError as error:
        hint = "; use -C for a configuration" if path.suffix == ".toml" else ""
        raise Problem(Code.REFUSED, f"{path} is not a pidfile: {error}{hint}") from None
    try:
        if not pidfile.is_held(path, fd):
            died = orphans.of(path, pid, found.st_uid)
            raise died or NotRunning(f"not running (stale pidfile {path})")
    except PermissionError as error:
        raise way.cannot_read(paths.lock_path(path), error) from None
    if pid is None:
        raise Problem(Code.FAILED, f"jobd is starting with the pidfile {path}; try again")
    process = _identified(path, pid, found.st_uid)
    if isinstance(process, processes.Process):
        _check_owner(path, found.st_uid, process)
    # If it has exited and another one has started meanwhile, the file has changed.
    if _now(path) != pid:
        process.close()
        raise Problem(Code.FAILED, f"the daemon of {path} is changing; try again")
    return process


def _check_owner(path: Path, owner: int, process: processes.Process) -> None:
    """Refuse, as root, a pidfile with which its owner could make root signal any process."""
    if owner not in (0, processes.owner(process.pid)):
        process.close()
        raise Problem(
            Code.REFUSED,
            f"{path} belongs to uid {owner}, but {processes.describe(process.pid)} does not; "
            "nothing was signalled",
        )


def _now(path: Path) -> int | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return pidfile.read(fd)
    except (OSError, PidfileError):
        return None
    finally:
        os.close(fd)


def _identified(path: Path, pid: int, owner: int) -> processes.Process | Elsewhere:
    known = statefile.load(paths.state_path(path), owner)
    if known is None or known.pid != pid:
        # The master writes the state file a moment after its pidfile.
        time.sleep(0.1)
        known = statefile.load(paths.state_path(path), owner)
    if known is not None and known.pid == pid and known.boot_id in ("", processes.boot_id()):
        process = processes.Process.open(pid, known.ticks)
        if process is not None:
            return process
        if _answers_elsewhere(path, pid):
            return Elsewhere(path, pid, owner)
    elif _answers_as(path, pid) and (process := processes.Process.open(pid, None)):
        # The state file may be missing, or that of an earlier master if the disk is full.
        return process
    _check_readable(paths.state_path(path))
    raise Problem(
        Code.REFUSED,
        f"{path} is locked, but {processes.describe(pid)} is not the jobd master that wrote it; "
        "nothing was signalled",
    )


def _check_readable(file: Path) -> None:
    """Report an unreadable state file, without which nothing can be verified."""
    try:
        os.close(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
    except PermissionError as error:
        raise way.cannot_read(file, error) from None
    except OSError:
        pass


def _answers_elsewhere(path: Path, pid: int) -> bool:
    """Whether the master that answers has the PID *pid* in another PID namespace."""
    try:
        with control_socket.connect(paths.socket_path(path)) as sock:
            here = control_socket.peer(sock)[0]
    except OSError:
        return False
    # The kernel reports 0 if the process is not visible from here.
    return here == 0 or processes.innermost_pid(here) == pid != here


def _answers_as(path: Path, pid: int) -> bool:
    try:
        with control_socket.connect(paths.socket_path(path)) as sock:
            return control_socket.peer(sock)[0] == pid
    except OSError:
        return False
