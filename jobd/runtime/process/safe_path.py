"""Safe resolution of paths while the process runs as root.

A user who can change a directory on the way to a file could make root create, open or chown another
file, with a symbolic link, or by a rename between check and use. So a path is walked component by
component, each relative to the open directory before it; the result is a descriptor of the last
directory, to which all operations are relative. A symbolic link is followed only if it belongs to
root and no other user can change the path to it (``/var/run``).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MOST_LINKS = 40  # the kernel's limit
_SEARCH = os.O_PATH | os.O_CLOEXEC
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in an open directory; the file need not exist.

    Attributes:
        directory: descriptor of the directory (``O_PATH``), valid inside :func:`entry`.
        name: the last component of the path, which is not a symbolic link if links were followed.
        weak: a clause that says who besides root could change the path to the directory; "" if no
            one can.
        shared: whether users other than root can create files in the directory.
    """

    directory: int
    name: str
    weak: str
    shared: bool

    def stat(self) -> os.stat_result:
        """Status of the file; of a link, that of the link itself.

        Raises:
            OSError: it does not exist, or is not accessible.
        """
        return os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)

    def open(self, flags: int, mode: int = 0) -> int:
        """Open or create the file; never follows a link.

        Raises:
            OSError: as for ``open(2)``.
        """
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(self.name, flags, mode, dir_fd=self.directory)


@contextmanager
def entry(path: Path, *, follow: bool = False) -> Iterator[Entry]:
    """Walk to the directory of *path* (absolute).

    Args:
        follow: also follow a link at the end.

    Raises:
        OSError: it does not exist, or another user may control a link in the path (``ELOOP``).
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
    """A clause that says who besides root could change *path* or its content; "" if no one can.

    Root's files in a directory with the sticky bit, such as /tmp, cannot be removed by others.
    """
    if found.st_uid != 0:
        return f"{path} belongs to uid {found.st_uid}"
    if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX:
        return ""
    if found.st_mode & stat.S_IWOTH:
        return f"everyone may write to {path}"
    if found.st_mode & stat.S_IWGRP:
        return f"group {found.st_gid} may write to {path}"
    return ""


def _link(directory: int, name: str, path: Path, *, trusted: bool) -> Path | None:
    """The target of the link *name*; None if it is not a link, or does not exist."""
    try:
        found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None  # reported when it is opened
    if not stat.S_ISLNK(found.st_mode):
        return None
    if not trusted or found.st_uid != 0:
        raise OSError(errno.ELOOP, f"{path} is a symbolic link that other users can change")
    return Path(os.readlink(name, dir_fd=directory))


def masters(path: Path) -> tuple[set[int], str]:
    """The users that can change the path to the directory of *path* (absolute), or its content.

    All links are followed; users who can change them are included.

    Returns:
        Their uids, without root's, and a clause that names the first directory that a group or
        everyone can write to ("" if there is none).

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
    """Create and open a new file at *path*; an existing one is removed without being opened.

    Raises:
        OSError: the directory is not writable, or another process has created the file meanwhile.
    """
    path.unlink(missing_ok=True)
    return os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
