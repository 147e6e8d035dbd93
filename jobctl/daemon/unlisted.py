"""A daemon without a pidfile, or one whose files were removed: jobctl can neither prove nor ask it,
but it must not say that there is none.

The title of a master tells. Anyone may give a process any title, so only those count that belong to
us, to root, or to the user whom the configuration names; and nothing is signalled.
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
    """Return if no daemon runs that has, or had, the pidfile *path* or none at all.

    Args:
        file: the configuration that it would have.

    Raises:
        Problem: one does.
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
            f"{processes.describe(pid)} {why}, so jobctl cannot reach it. Signals can: kill -TERM "
            f"{pid} stops it. Start it with --pidfile, in a directory that stays",
        )


def _users(file: str | None, environment: Mapping[str, str]) -> set[int]:
    users = {0, os.geteuid()}
    try:
        user = read(file, environment, {}).config.user
        users.add(int(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid)
    except (ConfigError, KeyError):
        pass  # it names no one who has an account here
    return users


def _masters(users: set[int]) -> Iterator[tuple[int, str]]:
    """Process id and title of what calls itself a master and belongs to one of *users*."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            title = (entry / "cmdline").read_bytes().rstrip(b"\0 ").decode(errors="replace")
            if title.startswith(_TITLE) and entry.stat().st_uid in users:
                yield int(entry.name), title
        except OSError:
            continue  # it has ended, or is not for us to see


def _has_lost(pid: int, lock: Path) -> bool:
    """Whether the process holds the file of the lock, which has no name any more."""
    try:
        held = [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    return f"{lock} (deleted)" in held
