"""Paths that root goes along before it gives up its rights, judged as they are written.

Whoever can change a directory on the way to a file can have root make, open or hand over another
one: by a symbolic link, or by a rename between the look and the act. So a path is walked one
component after the other, each relative to the open directory before it; the answer is a descriptor
of the last directory, and what is done there is done relative to that. A symbolic link is followed
only where it is root's and nobody else can change the way to it (``/var/run``).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MOST_LINKS = 40  # as the kernel
_SEARCH = os.O_PATH | os.O_CLOEXEC
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in an open directory, which may be missing there.

    Attributes:
        directory: descriptor of the directory (``O_PATH``), valid inside :func:`entry`.
        name: the last component of the path, which is no symbolic link if links were followed.
        weak: who but root could change the way to the directory, in a clause; "" if nobody.
        shared: whether somebody but root can put things into the directory.
    """

    directory: int
    name: str
    weak: str
    shared: bool

    def stat(self) -> os.stat_result:
        """What is there; a link itself.

        Raises:
            OSError: nothing is there, or it cannot be seen.
        """
        return os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)

    def open(self, flags: int, mode: int = 0) -> int:
        """A descriptor of what is there, or is made there; never of what a link leads to.

        Raises:
            OSError: as for ``open(2)``.
        """
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(self.name, flags, mode, dir_fd=self.directory)


@contextmanager
def entry(path: Path, *, follow: bool = False) -> Iterator[Entry]:
    """Walk to the directory of *path* (absolute).

    Args:
        follow: whether a link at the end is followed, too.

    Raises:
        OSError: it does not exist, or a link on the way may be somebody else's (``ELOOP``).
    """
    todo = list(reversed(path.parts[1:])) or ["."]
    here, links = Path("/"), 0
    directory = os.open("/", _SEARCH | os.O_DIRECTORY)
    try:
        found = os.fstat(directory)
        weak = weakness(here, found)
        while True:
            name = todo.pop() if todo else "."
            shared = found.st_uid != 0 or bool(found.st_mode & _WRITABLE)
            if not todo and not follow:
                break
            target = _link(directory, name, here / name, trusted=not (shared or weak))
            if target is not None:
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, f"too many symbolic links at {here / name}")
                todo += reversed(target.parts)
                if target.is_absolute():
                    todo.pop()
                    here, name = Path("/"), "/"
                else:
                    continue
            elif not todo:
                break
            step = os.open(name, _SEARCH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=directory)
            os.close(directory)
            directory, found = step, os.fstat(step)
            here = here / name
            weak = weak or weakness(here, found)
        yield Entry(directory, name, weak, shared)
    finally:
        os.close(directory)


def weakness(path: Path, found: os.stat_result) -> str:
    """Who but root could change what is at *path*, or what is in it, in a clause; "" if nobody.

    Of a directory with the sticky bit, such as /tmp, what is root's cannot be taken away.
    """
    if found.st_uid != 0:
        return f"{path} belongs to uid {found.st_uid}"
    if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX:
        return ""
    if found.st_mode & stat.S_IWOTH:
        return f"everybody may write to {path}"
    if found.st_mode & stat.S_IWGRP:
        return f"group {found.st_gid} may write to {path}"
    return ""


def _link(directory: int, name: str, path: Path, *, trusted: bool) -> Path | None:
    """Where the link *name* leads; None if it is none, or nothing."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None  # whoever opens it says so
    if not stat.S_ISLNK(found.st_mode):
        return None
    if not trusted or found.st_uid != 0:
        raise OSError(errno.ELOOP, f"{path} is a symbolic link that others than root can change")
    return Path(os.readlink(name, dir_fd=directory))


def masters(path: Path) -> tuple[set[int], str]:
    """Who can change where the directory of *path* (absolute) is, or what is in it.

    Links are followed, whoever has made them; those who can change them count as well.

    Returns:
        The uids, without root's, and the first directory in which people who have no number here
        can do it, in a clause ("" if there is none).

    Raises:
        OSError: it does not exist.
    """
    uids: set[int] = set()
    weak = ""
    todo, links = list(reversed(path.parts[1:-1])), 0
    here = os.open("/", _SEARCH | os.O_DIRECTORY)
    try:
        while todo:
            name = todo.pop()
            step = os.open(name, _SEARCH | os.O_NOFOLLOW, dir_fd=here)
            found = os.fstat(step)
            uids.add(found.st_uid)
            if stat.S_ISLNK(found.st_mode):
                os.close(step)
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, f"too many symbolic links in {path}")
                target = Path(os.readlink(name, dir_fd=here))
                todo += reversed(target.parts[1:] if target.is_absolute() else target.parts)
                if target.is_absolute():
                    os.close(here)
                    here = os.open("/", _SEARCH | os.O_DIRECTORY)
                continue
            os.close(here)
            here = step
            if not weak and found.st_mode & _WRITABLE and not found.st_mode & stat.S_ISVTX:
                everyone = found.st_mode & stat.S_IWOTH
                who = "everyone" if everyone else f"group {found.st_gid}"
                weak = f"{who} may write to {_name(here)}"
        return uids - {0}, weak
    finally:
        os.close(here)


def _name(directory: int) -> str:
    return str(Path(f"/proc/self/fd/{directory}").readlink())


def create(path: Path, flags: int, mode: int) -> int:
    """A descriptor of a new file at *path*; what was there is removed, and was never opened.

    Raises:
        OSError: the directory refuses, or somebody else is making that file, too.
    """
    path.unlink(missing_ok=True)
    return os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
