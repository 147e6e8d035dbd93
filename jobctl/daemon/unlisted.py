"""Detection of daemons without a pidfile, or whose files were removed: jobctl can neither verify
nor query them, but must not report that no daemon is running.

They are recognized by the title of the master. A process can have any title, so only those of the
current user, of root, and of the user in the configuration are considered; nothing is signalled.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from pathlib import Path

from jobctl.codes import Code, Problem
from jobd.errors import ConfigError
from jobd.master.files import paths
from jobd.runtime.process import processes
from jobd.runtime.process.titles import WITHOUT_PIDFILE, place
from jobd.settings.load import read

_TITLE = "jobd master"


def refuse(path: Path, file: str | None, environment: Mapping[str, str]) -> None:
    """Raise if a daemon is running that has no pidfile, or had the pidfile *path*.

    Args:
        file: the configuration that the daemon would have.

    Raises:
        Problem: there is such a daemon.
    """
    here = place(file)
    if not here:
        return
    users = _users(file, environment)
    for pid, title in _masters(users):
        if title.endswith(f"{WITHOUT_PIDFILE}{here}"):
            why = f"is the daemon of {here}, and has no pidfile"
        elif _has_lost(pid, paths.lock_path(path.absolute())):
            why = f"is the daemon of {path}, and that file and its socket were removed"
        else:
            continue
        raise Problem(
            Code.FAILED,
            f"{processes.describe(pid)} {why}, so jobctl cannot reach it; kill -TERM {pid} stops "
            "it. Start it with --pidfile, in a directory that is not cleaned up",
        )


def _users(file: str | None, environment: Mapping[str, str]) -> set[int]:
    users = {0, os.geteuid()}
    try:
        user = read(file, environment, {}).config.user
        users.add(int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid)
    except (ConfigError, KeyError):
        pass  # the user has no account here
    return users


def _masters(users: set[int]) -> Iterator[tuple[int, str]]:
    """PID and title of processes that have the title of a master and belong to one of *users*."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            title = (entry / "cmdline").read_bytes().rstrip(b"\0 ").decode(errors="replace")
            if title.startswith(_TITLE) and entry.stat().st_uid in users:
                yield int(entry.name), title
        except OSError:
            continue  # it has exited, or is not accessible


def _has_lost(pid: int, lock: Path) -> bool:
    """Whether the process holds the lock file, which was deleted."""
    try:
        held = [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    return f"{lock} (deleted)" in held
