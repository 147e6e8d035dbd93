"""The state file beside the pidfile: identifies the master and its children, in JSON.

``jobctl`` uses it to verify that the process in the pidfile is this daemon; the start after a
killed master uses it to find workers that may still be alive, and those whose jobs to recover.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import msgspec

from jobd.runtime.process.safe_path import create
from jobd.text.printable import encode
from jobd.wire.json_value import UNREADABLE

SCHEMA = 1
_MOST = 1 << 20
"""Most bytes of the file that are read."""


class ChildRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One child in the state file.

    *ticks* as :func:`jobd.runtime.process.processes.start_ticks`; *dump* is the master's
    descriptor of its dump memory, through which others can read it in /proc. *since* is the Unix
    time of its fork; *processed* and *memory* are as of :attr:`State.saved`.
    """

    slot: int
    pid: int
    ticks: int
    identity: str
    generation: int
    state: str
    reason: str = ""
    dump: int = -1
    trouble: str = ""
    since: float = 0.0
    processed: int = 0
    memory: int = 0


class Unrecovered(msgspec.Struct, frozen=True):
    """A dead worker whose jobs the keeper has not yet reported as recovered."""

    identity: str
    running: tuple[int, ...] = ()
    cause: str = ""


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the file."""

    schema: int = SCHEMA
    pid: int
    ticks: int
    boot_id: str
    uid: int
    version: str
    state: str
    generation: int
    degraded: bool = False
    saved: float = 0.0
    socket: str = ""
    logfile: str = ""
    timeout: float = 0.0
    keeper: ChildRecord | None = None
    zygotes: tuple[ChildRecord, ...] = ()
    workers: tuple[ChildRecord, ...] = ()
    unrecovered: tuple[Unrecovered, ...] = ()


def load(path: Path, owner: int | None = None) -> State | None:
    """The state in *path*, or None if there is none that can be trusted.

    A damaged file counts as missing: everything in it is verified before use anyway, and the
    information is found later by other means (expiring leases). So does a file that a user other
    than *owner* and root could have put there.

    Args:
        owner: uid of the master, None for this process's.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(fd, "rb") as file:
        try:
            if not _believed(path, fd, os.geteuid() if owner is None else owner):
                return None
            state = msgspec.json.decode(file.read(_MOST), type=State)
        except (OSError, *UNREADABLE):
            return None
    return state if state.schema == SCHEMA else None


def _believed(path: Path, fd: int, owner: int) -> bool:
    """Whether only *owner* and root can have written the open file and put it at *path*."""
    file, directory = os.fstat(fd), path.parent.stat()
    writable = directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if directory.st_mode & stat.S_ISVTX:
        writable = 0
    elif directory.st_gid == file.st_gid:  # the daemon's own group is trusted
        writable &= stat.S_IWOTH
    return (
        stat.S_ISREG(file.st_mode)
        and file.st_nlink == 1
        and not file.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        and {file.st_uid, directory.st_uid} <= {owner, 0}
        and not writable
    )


def save(path: Path, state: State) -> None:
    """Replace *path* atomically.

    It is not synced to disk, which would block the master: a file damaged by a power failure counts
    as missing, and its processes are gone anyway.

    Raises:
        OSError: the file cannot be written.
    """
    scratch = path.with_name(path.name + ".new")
    fd = create(scratch, os.O_WRONLY, 0o644)
    try:
        content = msgspec.json.format(encode(state, _MOST // 2), indent=2) + b"\n"
        if os.write(fd, content) < len(content):  # the disk is full
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(fd)
    scratch.replace(path)
