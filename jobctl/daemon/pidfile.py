"""The daemon behind a pidfile: found, verified, asked and signalled.

A number in a file is no proof of anything. A process is signalled only when the pidfile is locked,
the state file knows the PID with exactly the start time that the process has, and all of that is
still so after its pidfd has been opened; from then on only the pidfd is used.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from pathlib import Path
from signal import Signals

from jobctl.codes import Code, NotRunning, Problem
from jobctl.daemon import limit as limits
from jobctl.daemon.answers import LAST_ANSWER, Answers, NoAnswer, Reply
from jobd.errors import PidfileError
from jobd.master.control import control_socket
from jobd.master.control.messages import Request
from jobd.master.files import paths, pidfile, statefile
from jobd.runtime.process import processes, safe_path

_LOOK = 0.05  # s between looks at the lock of a master that has no pidfd here


class Elsewhere:
    """A master in another process namespace, as that of a container whose run directory is mounted
    here: it can be asked, but its number is here that of nobody, or of somebody else.
    """

    def __init__(self, path: Path, pid: int, uid: int) -> None:
        self.pid = pid
        self.uid = uid
        self._path = path

    def wait(self, timeout: float) -> bool:
        """Wait up to *timeout* seconds for its end; True when it has ended: its lock is free."""
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
        """Refused.

        Raises:
            Problem: always.
        """
        raise Problem(
            Code.REFUSED,
            f"{signum.name} was not sent: the master of {self._path} runs in another process "
            "namespace; signal it from there",
        )

    def close(self) -> None:
        """Nothing is held."""


class Daemon:
    """A verified master.

    Attributes:
        pidfile: the file that it was found by.
        process: held by its pidfd.
    """

    def __init__(self, path: Path, process: processes.Process | Elsewhere) -> None:
        self.pidfile = path
        self.process = process

    @classmethod
    def find(cls, path: Path) -> Daemon:
        """The daemon whose pidfile is *path*.

        Raises:
            NotRunning: there is none.
            Problem: something is there that is not, or not provably, this daemon.
        """
        path = path.absolute()
        daemon = cls._find(path)
        try:
            _check_way(path, daemon)
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
            raise _cannot_read(path, error) from None
        try:
            return cls(path, _verified(path, fd))
        finally:
            os.close(fd)

    @classmethod
    def _by_socket(cls, path: Path) -> Daemon:
        """Somebody may have removed the pidfile; the socket says who answers."""
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
                f"there is no pidfile {path}, and uid {error.uid} listens at its socket as "
                f"pid {error.pid}, which is not their file; nothing was signalled",
            ) from None
        except OSError:
            raise NotRunning(
                f"not running (there is no pidfile {path}; if the daemon has another one, name it "
                "with -P, or its configuration with -C)"
            ) from None
        if pid == 0:
            return cls(path, Elsewhere(path, pid, uid))
        process = processes.Process.open(pid, None)
        if process is None:
            raise NotRunning("not running (it has just ended)")
        # The number is of whoever began to listen; it may be somebody else's by now.
        if processes.owner(pid) != uid:
            process.close()
            raise Problem(
                Code.REFUSED,
                f"there is no pidfile {path}, and uid {uid} listens at its socket as "
                f"{processes.describe(pid)}, which is another user's; nothing was signalled",
            )
        return cls(path, process)

    def ask(self, request: Request, *, limit: float = LAST_ANSWER) -> Answers:
        """Send a request; returns the answers until the daemon closes the connection.

        Args:
            limit: seconds in which it has to be done.

        Raises:
            NoAnswer: nobody listens, or the request is not taken.
            Problem: permission is refused.
        """
        return Answers(self._connect(), request, limit, self._unable)

    def _unable(self) -> str:
        """Why the master cannot answer now, where the kernel knows it."""
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
        """The final answer of a request that is done; Problem with the reason when it failed."""
        for answer in self.ask(request):
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
                f"permission to signal {processes.describe(self.process.pid)} is refused; use sudo",
            ) from None

    def state(self) -> statefile.State | None:
        """What the state file says now; None if it is not this master's."""
        owner = processes.owner(self.process.pid)
        with limits.within(limits.FILES, f"the files beside {self.pidfile} cannot be read"):
            known = statefile.load(paths.state_path(self.pidfile), owner)
        return known if known is not None and known.pid == self.process.pid else None

    def kill(self) -> None:
        """SIGKILL the master and every child that the state file names, each one verified."""
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


def _cannot_read(path: Path, error: OSError) -> Problem:
    if error.errno == errno.EACCES:
        return Problem(Code.PARTIAL, f"permission denied: {path}; use sudo")
    if error.errno == errno.ELOOP:
        return Problem(Code.REFUSED, f"{path} is a symbolic link, not a pidfile")
    if error.errno == errno.ENXIO:
        return Problem(Code.REFUSED, f"{path} is a socket, not a pidfile")
    return Problem(Code.REFUSED, f"cannot read the pidfile {path}: {error.strerror}")


def _verified(path: Path, fd: int) -> processes.Process | Elsewhere:
    found = os.fstat(fd)
    if stat.S_ISDIR(found.st_mode):
        raise Problem(Code.REFUSED, f"{path} is a directory; name the pidfile in it: -P {path}/…")
    if not stat.S_ISREG(found.st_mode):
        raise Problem(Code.REFUSED, f"{path} is not a pidfile: it is not a regular file")
    if found.st_nlink > 1:
        raise Problem(Code.REFUSED, f"{path} is not a pidfile: it has another name (a hard link)")
    try:
        pid = pidfile.read(fd)
    except PidfileError as error:
        hint = "; a configuration is given with -C" if path.suffix == ".toml" else ""
        raise Problem(Code.REFUSED, f"{path} is not a pidfile: {error}{hint}") from None
    try:
        if not pidfile.is_held(path, fd):
            raise NotRunning(f"not running (stale pidfile {path}{_left_behind(path, pid, found)})")
    except PermissionError as error:
        raise _cannot_read(paths.lock_path(path), error) from None
    if pid is None:
        raise Problem(Code.FAILED, f"jobd is just starting with the pidfile {path}; try again")
    process = _identified(path, pid, found.st_uid)
    if isinstance(process, processes.Process):
        _check_owner(path, found.st_uid, process)
    # Had it ended and another started meanwhile, the file would now say something else.
    if _now(path) != pid:
        process.close()
        raise Problem(Code.FAILED, f"the daemon of {path} is changing; try again")
    return process


def _left_behind(path: Path, pid: int | None, found: os.stat_result) -> str:
    """What is known of the master that has left its pidfile, and of its children."""
    known = statefile.load(paths.state_path(path), found.st_uid)
    if known is None or known.pid != pid or known.boot_id not in ("", processes.boot_id()):
        return ""
    keeper = [("keeper", known.keeper)] if known.keeper else []
    workers = [(f"worker.{record.slot}", record) for record in known.workers]
    left = [f"{role} (pid {one.pid})" for role, one in [*workers, *keeper] if _lives(one)]
    text = f": its master, pid {pid}, has ended without a stop; the next start recovers its jobs"
    return f"{text}. {', '.join(left)} of it will leave within half a minute" if left else text


def _lives(record: statefile.ChildRecord) -> bool:
    process = processes.Process.open(record.pid, record.ticks)
    if process is None:
        return False
    process.close()
    return True


def _check_way(path: Path, daemon: Daemon) -> None:
    """Who can change the way to the run directory must not lead root to the daemon of another."""
    if os.geteuid() != 0:
        return  # other users can do nothing to a daemon that is not theirs
    try:
        uids, weak = safe_path.masters(path)
    except OSError as error:
        raise _cannot_read(path, error) from None
    process = daemon.process
    own = process.uid if isinstance(process, Elsewhere) else processes.owner(process.pid)
    others = uids - {own}
    if weak or others:
        why = weak or f"uid {min(others)} can change the way to it"
        raise Problem(
            Code.REFUSED,
            f"root does not go by {path}: {why}, and could lead it to another daemon. Nothing was "
            f"signalled; run jobctl as the user of the daemon, uid {own}",
        )


def _check_owner(path: Path, owner: int, process: processes.Process) -> None:
    """Who may write to the run directory must not have root signal whatever process they name."""
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
        # The state file may be missing, or an earlier master's where the disk is full.
        return process
    _check_readable(paths.state_path(path))
    raise Problem(
        Code.REFUSED,
        f"{path} is locked, but {processes.describe(pid)} is not the jobd master that wrote it; "
        "nothing was signalled",
    )


def _check_readable(file: Path) -> None:
    """A state file that may not be read proves nothing, not even that the daemon is a stranger."""
    try:
        os.close(os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
    except PermissionError as error:
        raise _cannot_read(file, error) from None
    except OSError:
        pass


def _answers_elsewhere(path: Path, pid: int) -> bool:
    """Whether the master answers that has the number *pid* in a process namespace of its own."""
    try:
        with control_socket.connect(paths.socket_path(path)) as sock:
            here = control_socket.peer(sock)[0]
    except OSError:
        return False
    # The kernel says 0 where the process cannot be seen from here at all.
    return here == 0 or processes.innermost_pid(here) == pid != here


def _answers_as(path: Path, pid: int) -> bool:
    try:
        with control_socket.connect(paths.socket_path(path)) as sock:
            return control_socket.peer(sock)[0] == pid
    except OSError:
        return False
