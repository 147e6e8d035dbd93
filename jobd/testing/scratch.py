"""Temporary directories that go with their process; those of killed ones go with the next.

A process keeps a file in its directory locked. The kernel releases the lock when the process, and
what it has forked, is dead, however that came about: then the next process that makes such a
directory removes it. What has no such file, or belongs to another user, is left alone.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

_PREFIX = "jobd-"
_LOCK = ".in-use"


class Scratch:
    """A directory.

    Args:
        kind: a word in its name.
        parent: where it is made; None for where temporary files are.

    Attributes:
        path: of the directory.

    Example:
        >>> scratch = Scratch("doctest")
        >>> scratch.path.is_dir(), scratch.remove(), scratch.path.is_dir()
        (True, None, False)
    """

    def __init__(self, kind: str, parent: str | None = None) -> None:
        where = parent or tempfile.gettempdir()
        _remove_dead(where)
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{kind}-", dir=where))
            self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            if _locked(self._lock, self.path):
                return
            os.close(self._lock)  # another process was faster, and has removed it as a dead one's

    def remove(self) -> None:
        """Remove it with all that is in it."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _remove_dead(where: str) -> None:
    """Remove the directories of processes of this user that have died."""
    try:
        found = [path for path in Path(where).iterdir() if path.name.startswith(_PREFIX)]
    except OSError:  # a directory that may be written to, but not read
        return
    for path in found:
        with suppress(OSError):  # it is another's, or is being removed
            _remove_if_dead(path)


def _remove_if_dead(path: Path) -> None:
    about = path.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
        return
    lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if _locked(lock, path):
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


def _locked(lock: int, path: Path) -> bool:
    """Whether the lock could be taken, and is still the one in the directory."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(lock), (path / _LOCK).lstat())
    except OSError:
        return False
