"""From root to the service user, once and for good.

A daemon that root starts, as init scripts do, works as the user that the settings name. Root first
makes what only root can make: the run directory, the directory of the log, the log in a directory
such as /var/log. Then the rights go, before the daemon opens its first file and before the first
fork. So everything made from then on, also by a rotation months later, belongs to the service
user; and the signal for the master's death, which a change of user would clear, is armed in the
children of a process that does not change any more.

Root touches nothing at the end of a path of which somebody else could change a part: a symbolic
link put there in time would hand over any file of the system.
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobd.config import DEFAULT_PIDFILE, Config
from jobd.errors import ConfigError, Exit, JobdError, PidfileError
from jobd.master import pidfile

_DIRECTORY_MODE = 0o750
_LOG_MODE = 0o640
_PR_SET_DUMPABLE = 4

# Directories like /srv are not handed over, whatever is in them.
_LEAST_DEPTH = 3


class PrivilegeError(JobdError):
    """The daemon may not become the user that it is to work as, or could become root again."""

    exit_code = Exit.NO_PERMISSION


@dataclass(frozen=True, slots=True)
class ServiceUser:
    """Whom the daemon works as; *name* and *home* are "" for a number without an account."""

    uid: int
    gid: int
    name: str
    home: str

    def __str__(self) -> str:
        return f"user {self.name or self.uid} (uid {self.uid}, gid {self.gid})"


@dataclass(frozen=True, slots=True)
class Handover:
    """One thing that root does for the service user. *make* is what is missing, "" for nothing."""

    path: Path
    make: str = ""

    def __str__(self) -> str:
        return f"make the {self.make} {self.path}" if self.make else f"hand over {self.path}"


def assume(config: Config) -> None:
    """Become the service user, if this is root and the settings name one.

    Raises:
        ConfigError: there is no such user.
        PidfileError: a daemon runs already; nothing of it has been touched.
        PrivilegeError: only root could become that one, or the rights do not go.
    """
    user = service_user(config)
    if user is None:
        return
    if text := pidfile.holder(_pidfile(config)):
        raise PidfileError(text)
    for one in handovers(config, user):
        _do(one, user)
    become(user)
    for file in (os.__file__, __file__):
        if not os.access(file, os.R_OK):
            raise PrivilegeError(
                f"{user} may not read {file}: install Python and jobd where everybody can read them"
            )


def service_user(config: Config) -> ServiceUser | None:
    """Whom this process is to become; None if it is to stay what it is.

    Raises:
        ConfigError: there is no such user or group.
        PrivilegeError: only root could become that one.
    """
    if not config.user:
        return None
    wanted = _look_up(config.user, config.group)
    if os.geteuid() == 0:
        return wanted if wanted.uid else None
    if wanted.uid != os.geteuid():
        raise PrivilegeError(
            f"the settings say user {config.user}, and this is uid {os.geteuid()}: only root can "
            "become another user; start jobd as root or as that user, or leave the setting out"
        )
    if wanted.gid not in (os.getegid(), *os.getgroups()):
        raise PrivilegeError(
            f"the settings say group {config.group}, which this process does not belong to: "
            "start jobd as root, or leave the setting out"
        )
    return None


def _look_up(user: str, group: str) -> ServiceUser:
    number = int(user) if user.isdecimal() else None
    try:
        account = pwd.getpwnam(user) if number is None else pwd.getpwuid(number)
    except (KeyError, OverflowError):
        if number is None:
            raise ConfigError(f"user: there is no user {user} on this machine") from None
        if not group:
            raise ConfigError(
                f"user: number {user} has no account on this machine, so it needs a group beside it"
            ) from None
        return ServiceUser(number, _group_id(group), "", "")
    gid = _group_id(group) if group else account.pw_gid
    return ServiceUser(account.pw_uid, gid, account.pw_name, account.pw_dir)


def _group_id(group: str) -> int:
    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(f"group: there is no group {group} on this machine") from None


def become(user: ServiceUser) -> None:
    """Give up every right of root, and prove it.

    Raises:
        PrivilegeError: the kernel refuses, or the rights could be had back.
    """
    try:
        if user.name:
            os.initgroups(user.name, user.gid)
        else:
            os.setgroups([user.gid])
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    except OSError as error:
        raise PrivilegeError(
            f"cannot become {user}: {error.strerror}; root's rights are restricted here: start "
            "jobd as that user"
        ) from None
    try:
        os.setuid(0)
    except PermissionError:
        pass
    else:
        raise PrivilegeError(f"having become {user}, this process could become root again")
    # The change has closed /proc/PID to the service user itself, so that neither jobctl could
    # verify the master nor the master adjust its children. A service manager's exec opens it again.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    if user.name:
        os.environ.update(HOME=user.home, USER=user.name, LOGNAME=user.name)


# What root does before -------------------------------------------------------------------------


def handovers(config: Config, user: ServiceUser) -> list[Handover]:
    """What root does for *user*, in order.

    A missing directory is made. One of root's that holds nothing but files of this daemon, left
    by a start without a user, is handed over with them; any other stays as it is. There the log,
    which alone needs no neighbours, is made or handed over by itself.
    """
    file = _pidfile(config)
    names = {file.parent: [file.name.removesuffix(".pid")]}
    log = Path(config.logfile) if config.logfile else None
    if log is not None:
        log = log.parent.resolve() / log.name
        names.setdefault(log.parent, []).append(log.name)
    found: list[Handover] = []
    for directory, beginnings in names.items():
        whole = list(_directory(directory, tuple(beginnings), user))
        if not whole and log is not None and log.parent == directory:
            whole = list(_log(log))
        found += whole
    return found


def _pidfile(config: Config) -> Path:
    path = Path(config.pidfile or DEFAULT_PIDFILE)
    return path.parent.resolve() / path.name


def _directory(
    directory: Path, beginnings: tuple[str, ...], user: ServiceUser
) -> Iterator[Handover]:
    if not directory.exists():
        if _is_roots(directory.parent):
            yield Handover(directory, "directory")
        return
    if not _is_roots(directory) or len(directory.parts) < _LEAST_DEPTH:
        return
    found = directory.stat()
    writable = stat.S_IWGRP | stat.S_IXGRP
    if found.st_gid == user.gid and found.st_mode & writable == writable:
        return
    inside = list(directory.iterdir())
    if found.st_mode & stat.S_IWOTH or not all(file.name.startswith(beginnings) for file in inside):
        return
    # The files first: once the directory is the user's, other files can stand there.
    yield from (Handover(file) for file in inside if _is_roots_file(file))
    yield Handover(directory)


def _log(log: Path) -> Iterator[Handover]:
    if not _is_roots(log.parent):
        return
    if not os.path.lexists(log):
        yield Handover(log, "file")
    elif _is_roots_file(log):
        yield Handover(log)


def _is_roots(directory: Path) -> bool:
    """Whether nobody but root can put anything else at this place (a path without links)."""
    for part in (directory, *directory.parents):
        try:
            found = part.stat(follow_symlinks=False)
        except OSError:
            return False
        others = found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX
        if found.st_uid != 0 or others or not stat.S_ISDIR(found.st_mode):
            return False
    return True


def _is_roots_file(file: Path) -> bool:
    found = file.stat(follow_symlinks=False)
    return stat.S_ISREG(found.st_mode) and found.st_uid == 0 and found.st_nlink == 1


def _do(one: Handover, user: ServiceUser) -> None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        if one.make == "directory":
            one.path.mkdir(_DIRECTORY_MODE)
        elif one.make == "file":
            flags |= os.O_CREAT | os.O_EXCL
        fd = os.open(one.path, flags, _LOG_MODE)
        try:
            if os.fstat(fd).st_uid == 0:
                os.fchown(fd, user.uid, user.gid)
        finally:
            os.close(fd)
    except OSError as error:
        raise PrivilegeError(f"cannot {one} for {user}: {error.strerror}") from None
