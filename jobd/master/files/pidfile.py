"""The pidfile: ensures that exactly one master runs per file.

A lock (flock) shows whether a master is alive; the number in the pidfile is for people and tools.
Whoever can open a file can lock it, even read-only. So the lock that counts is on a file
beside the pidfile that only its owner can open (``jobd.lock``). The master locks the pidfile
as well, for older versions that know no other lock; a master of such a version is recognized by a
locked pidfile that names a process of its owner's. Other locks on it are foreign, and the file is
replaced.

A lock belongs to the open file description, so it survives the forks of detaching, and is released
the moment the master dies, provided that every child has closed the descriptor.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable
from pathlib import Path

from jobd.errors import PidfileError
from jobd.master.files import statefile
from jobd.master.files.paths import lock_path, scratch_path, state_path
from jobd.runtime.process import processes, safe_path
from jobd.runtime.process.safe_path import create

DEFAULT = Path("/run/jobd/jobd.pid")

_CONTENT = re.compile(rb"[0-9]{1,10}\n?\Z")
_LOCK_PATIENCE = 1.0  # s: a jobctl that tests the lock holds it for a moment
_PAUSE = 0.05
_MODE = 0o644
_LOCK_MODE = 0o600
_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


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
    """Whether a master holds the lock; tested with a shared lock, released at once."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def is_held(path: Path, fd: int) -> bool:
    """Whether the master of the pidfile *path*, which is open as *fd*, is alive.

    Raises:
        PermissionError: the lock is another user's.
    """
    owner = os.fstat(fd).st_uid
    try:
        lock = os.open(lock_path(path), os.O_RDONLY | _OPEN)
    except PermissionError:
        raise
    except OSError:
        pass  # an older version has no such file
    else:
        try:
            found = os.fstat(lock)
            private = stat.S_ISREG(found.st_mode) and not found.st_mode & 0o077
            if private and found.st_uid in (owner, 0) and is_locked(lock):
                return True
        finally:
            os.close(lock)
    return is_locked(fd) and _is_owners(fd)


def holder(path: Path) -> str | None:
    """A sentence about the holder of the lock of *path*; None if it is free or does not exist."""
    try:
        fd = os.open(path, os.O_RDONLY | _OPEN)
    except OSError:
        return None
    try:
        return _holder(path, fd) if is_held(path, fd) else None
    except PermissionError:
        return None  # only its owner can see it
    finally:
        os.close(fd)


class Pidfile:
    """The locked pidfile of this master.

    Attributes:
        path: where it is (absolute).
        previous: the PID of a run that did not end cleanly, None after a clean one.
    """

    def __init__(self, path: Path, lock: int, fd: int, previous: int | None) -> None:
        self.path = path
        self.previous = previous
        self._lock = lock
        self._fd = fd
        self._owner = os.getpid()

    @classmethod
    def lock(cls, path: Path) -> Pidfile:
        """Create the file if needed and lock it.

        Raises:
            PidfileError: another process holds the lock, the file is not a pidfile or cannot be
                created; the message says which, and what to do.
        """
        path = path.absolute()
        check_directory(path)
        give_up = time.monotonic() + _LOCK_PATIENCE
        lock = _take(path, give_up)
        try:
            return cls(path, lock, *_claim(path, give_up))
        except (OSError, PidfileError) as error:
            lock_path(path).unlink(missing_ok=True)
            os.close(lock)
            if isinstance(error, PidfileError):
                raise
            raise PidfileError(f"cannot replace the pidfile {path}: {error.strerror}") from None

    def filenos(self) -> list[int]:
        """The descriptors that hold the locks."""
        return [self._lock, self._fd]

    def adopt(self) -> None:
        """Make the calling process, a fork of the one that locked the file, the owner."""
        self._owner = os.getpid()

    def write(self) -> None:
        """Publish the owner's PID, in place: the lock lives on this inode."""
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{self._owner}\n".encode(), 0)
        os.fsync(self._fd)
        os.fchmod(self._fd, 0o644)

    def restore(self) -> bool:
        """Recreate the pidfile and the lock file if they have been removed; returns whether they
        were. A file put in their place is left alone.

        Raises:
            OSError: the directory refuses.
        """
        lock = lock_path(self.path)
        lost = [
            _restore(lock, self._lock, _LOCK_MODE),
            _restore(self.path, self._fd, _MODE, f"{self._owner}\n".encode()),
        ]
        return any(lost)

    def remove(self) -> None:
        """Remove the pidfile and the lock file if they are still ours, then release the lock."""
        if os.getpid() == self._owner:
            for file, fd in ((self.path, self._fd), (lock_path(self.path), self._lock)):
                if _same_file(file, fd):
                    file.unlink()
        self.close()

    def close(self) -> None:
        """Close the descriptors only: for children, which must not keep the lock alive."""
        if self._fd >= 0:
            os.close(self._fd)
            os.close(self._lock)
            self._fd = self._lock = -1


def check_directory(path: Path) -> None:
    """Check whether a pidfile and its companions may be created at *path*.

    Raises:
        PidfileError: they must not.
    """
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
            f"{directory} is world-writable, so a pidfile there proves nothing; "
            f"chmod o-w {directory}, or give another --pidfile"
        )
    if os.geteuid() == 0 and (weak := _weakness(path)):
        raise PidfileError(
            f"root does not create the pidfile {path}: {weak}; give another --pidfile, or --user"
        )


def _weakness(path: Path) -> str:
    try:
        with safe_path.entry(path) as place:
            return place.weak
    except OSError as error:
        return error.strerror or str(error)


def _take(path: Path, give_up: float) -> int:
    """Lock the lock file; returns its descriptor."""
    file = lock_path(path)
    while True:
        fd = _open(file, _LOCK_MODE, f"lock {file} of the pidfile {path}")
        if not _locks(fd):
            os.close(fd)
            if time.monotonic() >= give_up:
                raise PidfileError(_described_holder(path))
            time.sleep(_PAUSE)
        # The previous owner may have removed the file between our open and our lock.
        elif _same_file(file, fd):
            return fd
        else:
            os.close(fd)


def _claim(path: Path, give_up: float) -> tuple[int, int | None]:
    """Lock the pidfile as well; returns its descriptor and the PID that it contained."""
    while True:
        fd = _open(path, _MODE, f"pidfile {path}")
        try:
            locked = _locks(fd)
            if locked and not _same_file(path, fd):
                continue
            if not locked and time.monotonic() < give_up:
                time.sleep(_PAUSE)  # a jobctl of an older version may be testing it
                continue
            previous = _previous(path, fd)
            if locked:
                kept, fd = fd, -1
                return kept, previous
            if _is_owners(fd):
                raise PidfileError(_holder(path, fd))
            return _made(path, _MODE, b"", lambda scratch: scratch.replace(path)), previous
        finally:
            if fd >= 0:
                os.close(fd)


def _locks(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _previous(path: Path, fd: int) -> int | None:
    try:
        return read(fd)
    except PidfileError as error:
        raise PidfileError(
            f"{path} is not a pidfile: {error}; remove it if it is not needed, "
            "or give another --pidfile"
        ) from None


def _is_owners(fd: int) -> bool:
    """Whether the pidfile names a living process of its owner or root, other than this one."""
    try:
        pid = read(fd)
    except PidfileError:
        return True  # unknown
    if pid is None or pid == os.getpid():
        return False
    # A process of root's must be checked by a person; a user could get a process with that number.
    of_theirs = processes.owner(pid) in (os.fstat(fd).st_uid, 0)
    return of_theirs and processes.run_state(pid) not in ("", "Z", "X")


def _restore(path: Path, fd: int, mode: int, content: bytes = b"") -> bool:
    """Recreate *path*, with the lock, if it is missing; *fd* then refers to the new file."""
    if os.path.lexists(path):
        return False
    try:
        new = _made(path, mode, content, path.hardlink_to)
    except FileExistsError:
        return False  # another start was faster; it will see from the socket that we are alive
    os.dup2(new, fd, inheritable=False)
    os.close(new)
    return True


def _made(path: Path, mode: int, content: bytes, publish: Callable[[Path], object]) -> int:
    """Create a file that is locked and written before it gets its name."""
    scratch = scratch_path(path)
    fd = create(scratch, os.O_RDWR, _LOCK_MODE)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.pwrite(fd, content, 0)
        os.fchmod(fd, mode)
        publish(scratch)
    except BaseException:
        os.close(fd)
        raise
    finally:
        scratch.unlink(missing_ok=True)
    return fd


def _open(path: Path, mode: int, what: str) -> int:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | _OPEN, mode)
    except OSError as error:
        reason = {
            errno.ELOOP: "it is a symbolic link; remove it",
            errno.EISDIR: "it is a directory",
            errno.ENXIO: "it is not a regular file",
            errno.EACCES: f"uid {os.geteuid()} may not write there",
            errno.EROFS: "the file system is read-only",
        }.get(error.errno or 0, error.strerror)
        raise PidfileError(
            f"cannot open the {what}: {reason}; fix that or give another --pidfile"
        ) from None
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        problem = "it is not a regular file"
    elif found.st_nlink > 1:
        problem = "it has another hard link"
    elif found.st_uid not in (os.geteuid(), 0):
        problem = f"it belongs to uid {found.st_uid}"
    elif found.st_mode & stat.S_IWOTH:
        problem = "it is world-writable"
    elif found.st_mode & stat.S_IWGRP:
        problem = f"group {found.st_gid} may write to it"
    elif found.st_mode & 0o066 & ~mode:
        problem = f"others may open it (mode {found.st_mode & 0o777:o})"
    else:
        return fd
    os.close(fd)
    raise PidfileError(f"{path} cannot be the {what}: {problem}; remove it or give another one")


def _same_file(path: Path, fd: int) -> bool:
    ours = os.fstat(fd)
    try:
        there = path.stat(follow_symlinks=False)
    except OSError:
        return False
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def _described_holder(path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | _OPEN)
    except OSError:
        return f"another jobd is starting with the pidfile {path}"
    try:
        return _holder(path, fd)
    finally:
        os.close(fd)


def _holder(path: Path, fd: int) -> str:
    """A sentence about the holder of the lock."""
    try:
        pid = read(fd)
    except PidfileError as error:
        return f"{path} is locked by another program and is not a pidfile: {error}"
    if pid is None:
        return f"another jobd is starting with the pidfile {path}"
    known = statefile.load(state_path(path))
    if known and known.pid == pid and known.ticks == processes.start_ticks(pid):
        return f"jobd is already running, pid {pid} (pidfile {path})"
    named = processes.describe(pid)
    return f"the pidfile {path} is locked, but not by a jobd master; it names {named}"
