"""The pidfile: exactly one master per file, and no harm to anything else.

The lock (flock, on this very inode) says whether a master lives; the number in the file is for
people and tools. The lock belongs to the open file description, so it survives the forks of
detaching, and is free at the moment the master dies provided that every child has closed the
descriptor.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import time
from pathlib import Path

from jobd.errors import PidfileError
from jobd.master import procs, state

DEFAULT = Path("/run/jobd/jobd.pid")

_CONTENT = re.compile(rb"[0-9]{1,10}\n?\Z")
_LOCK_PATIENCE = 1.0  # s: a jobctl that tests the lock holds it for a moment
_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def state_path(path: Path) -> Path:
    """The state file that belongs to the pidfile *path*."""
    return _beside(path, ".state")


def socket_path(path: Path) -> Path:
    """The control socket that belongs to the pidfile *path*."""
    return _beside(path, ".sock")


def dump_path(path: Path) -> Path:
    """The file for the master's raw stacks that belongs to the pidfile *path*."""
    return _beside(path, ".dump")


def _beside(path: Path, suffix: str) -> Path:
    """
    >>> _beside(Path("/run/jobd.pid"), ".sock").name, _beside(Path("/run/jobd.2"), ".sock").name
    ('jobd.sock', 'jobd.2.sock')
    """
    return path.with_name(path.name.removesuffix(".pid") + suffix)


def parse(content: bytes) -> int | None:
    """The PID in *content*: None for an empty file; PidfileError for anything else.

    >>> parse(b"4711\\n")
    4711
    """
    if not content:
        return None
    if not _CONTENT.match(content) or int(content) < 1:
        raise PidfileError("it does not hold a process id")
    return int(content)


def read(fd: int) -> int | None:
    """:func:`parse` the file behind *fd*."""
    return parse(os.pread(fd, 64, 0))


def is_locked(fd: int) -> bool:
    """Whether a master holds the lock; tested with a shared lock, which is let go at once."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def holder(path: Path) -> str | None:
    """Who holds the lock of *path*, in a sentence; None if nobody does or nothing is there."""
    try:
        fd = os.open(path, os.O_RDONLY | _OPEN)
    except OSError:
        return None
    try:
        return _holder(path, fd) if is_locked(fd) else None
    finally:
        os.close(fd)


class Pidfile:
    """The locked pidfile of this master.

    Attributes:
        path: where it is (absolute).
        previous: the PID of a run that did not end cleanly, None after a clean one.
    """

    def __init__(self, path: Path, fd: int, previous: int | None) -> None:
        self.path = path
        self.previous = previous
        self._fd = fd
        self._owner = os.getpid()

    @classmethod
    def lock(cls, path: Path) -> Pidfile:
        """Create the file if need be and take its lock.

        Raises:
            PidfileError: another process holds it, it is not a pidfile, or it cannot be made; the
                message says which, and what to do.
        """
        path = path.absolute()
        _check_directory(path)
        give_up = time.monotonic() + _LOCK_PATIENCE
        while True:
            fd = _open(path)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= give_up:
                    reason = _holder(path, fd)
                    os.close(fd)
                    raise PidfileError(reason) from None
                os.close(fd)
                time.sleep(0.05)
                continue
            # The previous owner may have removed the file between our open and our lock.
            if _same_file(path, fd):
                break
            os.close(fd)
        try:
            previous = read(fd)
        except PidfileError as error:
            os.close(fd)
            raise PidfileError(
                f"{path} is not a pidfile: {error}; remove it yourself if it may go, "
                "or give another --pidfile"
            ) from None
        return cls(path, fd, previous)

    def fileno(self) -> int:
        return self._fd

    def adopt(self) -> None:
        """Make the calling process the owner: it has been forked from the one that locked."""
        self._owner = os.getpid()

    def write(self) -> None:
        """Publish the owner's PID, in place: the lock lives on this inode."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{self._owner}\n".encode(), 0)
        os.fsync(self._fd)
        os.fchmod(self._fd, 0o644)

    def restore(self) -> bool:
        """Make the file anew if somebody has removed it; returns whether that was so.

        The lock goes with it, to a new inode, and that before the name is there: nobody finds the
        file unlocked or empty. A file that somebody has put in its place is left alone.

        Raises:
            OSError: the directory refuses.
        """
        if os.path.lexists(self.path):
            return False
        scratch = self.path.with_name(self.path.name + ".new")
        fd = os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_TRUNC | _OPEN, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(fd, f"{self._owner}\n".encode(), 0)
            os.fchmod(fd, 0o644)
            os.link(scratch, self.path)
            os.dup2(fd, self._fd, inheritable=False)
        except FileExistsError:
            return False  # a start was faster; it will learn from the socket that we live
        finally:
            os.close(fd)
            scratch.unlink(missing_ok=True)
        return True

    def remove(self) -> None:
        """Remove the file if it is still ours, then let the lock go."""
        if os.getpid() == self._owner and _same_file(self.path, self._fd):
            self.path.unlink()
        self.close()

    def close(self) -> None:
        """Close the descriptor only: for children, which must not keep the lock alive."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _check_directory(path: Path) -> None:
    directory = path.parent
    try:
        found = directory.stat()
    except FileNotFoundError:
        raise PidfileError(
            f"cannot create the pidfile {path}: the directory {directory} does not exist; "
            f"create it for uid {os.geteuid()}, or give another --pidfile"
        ) from None
    except OSError as error:
        raise PidfileError(f"cannot create the pidfile {path}: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise PidfileError(f"cannot create the pidfile {path}: {directory} is not a directory")
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        raise PidfileError(
            f"{directory} may be written by everybody, so a pidfile there proves nothing; "
            f"chmod o-w {directory}, or give another --pidfile"
        )


def _open(path: Path) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | _OPEN, 0o644)
    except OSError as error:
        reason = {
            errno.ELOOP: "it is a symbolic link; remove it",
            errno.EISDIR: "it is a directory",
            errno.ENXIO: "it is not a regular file",
            errno.EACCES: f"uid {os.geteuid()} may not write there",
            errno.EROFS: "the file system is read-only",
        }.get(error.errno or 0, error.strerror)
        raise PidfileError(
            f"cannot open the pidfile {path}: {reason}; put it right or give another --pidfile"
        ) from None
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        problem = "it is not a regular file"
    elif found.st_uid not in (os.geteuid(), 0):
        problem = f"it belongs to uid {found.st_uid}"
    elif found.st_mode & stat.S_IWOTH:
        problem = "everybody may write to it"
    else:
        return fd
    os.close(fd)
    raise PidfileError(f"{path} cannot be the pidfile: {problem}; remove it or give another one")


def _same_file(path: Path, fd: int) -> bool:
    ours = os.fstat(fd)
    try:
        there = path.stat(follow_symlinks=False)
    except OSError:
        return False
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def _holder(path: Path, fd: int) -> str:
    """Who holds the lock, in a sentence."""
    try:
        pid = read(fd)
    except PidfileError as error:
        return f"{path} is locked by another program and is not a pidfile: {error}"
    if pid is None:
        return f"another jobd is starting with the pidfile {path}"
    known = state.load(state_path(path))
    if known and known.pid == pid and known.ticks == procs.start_ticks(pid):
        return f"jobd is already running, pid {pid} (pidfile {path})"
    return f"the pidfile {path} is locked, but not by a jobd master; it names {procs.describe(pid)}"
