"""Dropping privileges: from root to the service user, irrevocably.

A daemon started by root, as by init scripts, runs as the user named in the settings. Root first
creates what only root can: the run directory, the log directory, the log in a directory such as
/var/log. Then the privileges are dropped, before the daemon opens its first file and before the
first fork. So everything created later, even by a log rotation, belongs to the service user; and
the parent death signal of the children, which a change of user would clear, stays armed.

Root touches no path of which another user could change a part (see
:mod:`jobd.runtime.process.safe_path`), hands over only files that jobd itself creates, and uses no
configuration that another user could write: it decides as which user the daemon runs.
"""

from __future__ import annotations

import ctypes
import grp
import os
import pwd
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jobd.errors import ConfigError, Exit, JobdError, PidfileError
from jobd.master import session
from jobd.master.files import paths, pidfile
from jobd.runtime.process import safe_path
from jobd.settings.daemon import DEFAULT_PIDFILE, Config

_DIRECTORY_MODE = 0o750
_LOG_MODE = 0o640
_PR_SET_DUMPABLE = 4

# Directories like /srv are never handed over.
_LEAST_DEPTH = 3

# How a line of a log of ours begins, in both formats.
_OURS = re.compile(rb'(\x1b\[[0-9;]*m)?(\{"timestamp":"\d{4}-|\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z]+ )')


class PrivilegeError(JobdError):
    """The daemon cannot become the configured user, or could become root again."""

    exit_code = Exit.NO_PERMISSION


@dataclass(frozen=True, slots=True)
class ServiceUser:
    """The user that the daemon runs as; *name* is "" for a uid without an account."""

    uid: int
    gid: int
    name: str = ""
    home: str = "/"
    shell: str = "/bin/sh"

    def __str__(self) -> str:
        return f"user {self.name or self.uid} (uid {self.uid}, gid {self.gid})"


@dataclass(frozen=True, slots=True)
class Handover:
    """One step of root for the service user: *make* what is missing, or "" to hand over *path*."""

    path: Path
    make: str = ""

    def __str__(self) -> str:
        return f"make the {self.make} {self.path}" if self.make else f"hand over {self.path}"


def require_roots(file: str | None, config: Config, origins: Mapping[str, str]) -> None:
    """Refuse if this is root and another user could change the configuration *file*.

    ``--user root`` (or the variable) allows it.

    Args:
        origins: the sources of the settings, by name.

    Raises:
        ConfigError: another user could.
    """
    if os.geteuid() != 0 or file is None:
        return
    outside = not origins.get("user", file).startswith(file)
    try:
        if outside and config.user and _look_up(config.user, config.group).uid == 0:
            return
        path = Path(file).absolute()
        with safe_path.entry(path, follow=True) as place:
            weak = place.weak or safe_path.weakness(path, place.stat())
            if place.shared and not weak:
                weak = f"others may put files into {path.parent}"
    except OSError as error:
        weak = error.strerror or str(error)
    if weak:
        raise ConfigError(
            f"root does not use the configuration {file}: {weak}, and it decides as which user the "
            "daemon runs; make it and its directories writable by root only, or start jobd as "
            "that user (use --user root if its jobs are meant to run as root)"
        )


def assume(config: Config, file: str | None = None) -> None:
    """Become the service user if this is root and the settings name one.

    Args:
        file: the configuration in use; never handed over.

    Raises:
        ConfigError: the user does not exist.
        PidfileError: a daemon is already running; nothing of it has been touched.
        PrivilegeError: only root can become that user, or the privileges cannot be dropped.
    """
    user = service_user(config)
    if user is None:
        return
    if text := _running(config):
        raise PidfileError(text)
    for one in handovers(config, user, file):
        _do(one, user)
    become(user)
    _require_code(user)


def assume_only(config: Config, file: str | None, origins: Mapping[str, str]) -> None:
    """:func:`assume` for a program beside the daemon, which needs none of its files.

    Raises:
        ConfigError: as there, or from :func:`require_roots`.
        PrivilegeError: the privileges cannot be dropped.
    """
    if os.geteuid() != 0:
        return
    require_roots(file, config, origins)
    if (user := service_user(config)) is not None:
        become(user)
        _require_code(user)


def _require_code(user: ServiceUser) -> None:
    for code in (os.__file__, __file__):
        if not os.access(code, os.R_OK):
            raise PrivilegeError(
                f"{user} may not read {code}: install Python and jobd where everybody can read them"
            )


def _running(config: Config) -> str | None:
    """A daemon that is already running, in places that root checks; its own user checks others."""
    path = _pidfile(config)
    try:
        with safe_path.entry(path) as place:
            return None if place.weak else pidfile.holder(path)
    except OSError:
        return None


def service_user(config: Config) -> ServiceUser | None:
    """The user that this process must become; None if it stays as it is.

    Raises:
        ConfigError: the user or group does not exist.
        PrivilegeError: only root can become that user.
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
        return ServiceUser(number, _group_id(group))
    gid = _group_id(group) if group else account.pw_gid
    home, shell = account.pw_dir or "/", account.pw_shell or "/bin/sh"
    return ServiceUser(account.pw_uid, gid, account.pw_name, home, shell)


def _group_id(group: str) -> int:
    if group.isdecimal():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(f"group: there is no group {group} on this machine") from None


def become(user: ServiceUser) -> None:
    """Drop all privileges of root and of its session, and verify it.

    Raises:
        PrivilegeError: the kernel refuses, or the privileges could be regained.
    """
    try:
        session.leave()
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
    # The change has made /proc/PID inaccessible to the service user itself: jobctl could not verify
    # the master, nor could the master adjust its children. An exec would make it accessible again.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    session.arm()
    session.reduce(os.environ, user.name, user.home, user.shell)


# Before the change -----------------------------------------------------------------------------


def handovers(config: Config, user: ServiceUser, file: str | None = None) -> list[Handover]:
    """The steps of root for *user*, in order; none for a path that another user could change.

    A missing directory is created. A directory of root's that holds only files of jobd, left by a
    start without a user, is handed over with them; any other is left alone, and only the log in it
    is created or handed over.

    Args:
        file: the configuration in use; neither it nor its directory is handed over.

    Raises:
        ConfigError: the log is the configuration.
    """
    config_file = _identity(file)
    path = _pidfile(config)
    names = {path.parent: paths.company(path)}
    log = Path(config.logfile) if config.logfile else None
    if log is not None:
        if config_file and _identity(config.logfile) == config_file:
            raise ConfigError(f"logfile: {log} is the configuration; give another --logfile")
        names[log.parent] = names.get(log.parent, frozenset()) | {log.name}
    found: list[Handover] = []
    for directory, ours in names.items():
        here = log if log is not None and log.parent == directory else None
        whole = list(_directory(directory, ours, here, user, config_file))
        if not whole and here is not None:
            whole = list(_log(here))
        found += whole
    return found


def _identity(file: str | None) -> tuple[int, int] | None:
    try:
        found = Path(file).stat() if file else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found else None


def _pidfile(config: Config) -> Path:
    return Path(config.pidfile or DEFAULT_PIDFILE)


def _directory(
    directory: Path,
    ours: frozenset[str],
    log: Path | None,
    user: ServiceUser,
    config_file: tuple[int, int] | None,
) -> Iterator[Handover]:
    try:
        with safe_path.entry(directory, follow=True) as place:
            if place.weak:
                return
            try:
                fd = place.open(os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                yield Handover(directory, "directory")
                return
            shared = place.shared
    except OSError:
        return
    try:
        found = os.fstat(fd)
        if shared or found.st_uid != 0 or len(directory.resolve().parts) < _LEAST_DEPTH:
            return
        usable = stat.S_IWGRP | stat.S_IXGRP
        if found.st_gid == user.gid and found.st_mode & usable == usable:
            return
        if safe_path.weakness(directory, found) or found.st_mode & stat.S_ISVTX:
            return
        names = os.listdir(fd)  # noqa: PTH208 - of a descriptor
        inside = {name: os.stat(name, dir_fd=fd, follow_symlinks=False) for name in names}
    except OSError:
        return
    finally:
        os.close(fd)
    if not all(
        name in ours and _is_plain(one) and (one.st_dev, one.st_ino) != config_file
        for name, one in inside.items()
    ):
        return
    roots_log = log is not None and log.name in inside and inside[log.name].st_uid == 0
    if log is not None and roots_log and not list(_log(log)):
        return
    # The files first: once the directory is the user's, other files can stand there.
    for name, one in inside.items():
        if one.st_uid == 0 and stat.S_ISREG(one.st_mode):
            yield Handover(directory / name)
    yield Handover(directory)


def _is_plain(found: os.stat_result) -> bool:
    """Whether it is a file type that jobd creates: a socket, or a file without hard links."""
    return stat.S_ISSOCK(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)


def _log(log: Path) -> Iterator[Handover]:
    try:
        with safe_path.entry(log) as place:
            if place.weak:
                return
            try:
                found = place.stat()
            except FileNotFoundError:
                yield Handover(log, "file")
                return
            if found.st_uid == 0 and not place.shared and _is_our_log(place, found):
                yield Handover(log)
    except OSError:
        return


def _is_our_log(place: safe_path.Entry, found: os.stat_result) -> bool:
    """Whether it is empty or a log of jobd: a log in /var/log may be another program's."""
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        return False
    fd = place.open(os.O_RDONLY)
    try:
        return not found.st_size or bool(_OURS.match(os.pread(fd, 100, 0)))
    finally:
        os.close(fd)


def _do(one: Handover, user: ServiceUser) -> None:
    try:
        # A directory may be named by a link of root's; a file is never.
        with safe_path.entry(one.path, follow=one.make != "file") as place:
            if place.weak:
                raise PrivilegeError(f"cannot {one} for {user}: {place.weak}")
            flags = os.O_RDONLY
            if one.make == "directory":
                os.mkdir(place.name, 0o700, dir_fd=place.directory)
                flags |= os.O_DIRECTORY
            elif one.make == "file":
                flags |= os.O_CREAT | os.O_EXCL
            fd = place.open(flags, 0o600)
        try:
            _give(fd, one, user)
        finally:
            os.close(fd)
    except OSError as error:
        raise PrivilegeError(f"cannot {one} for {user}: {error.strerror}") from None


def _give(fd: int, one: Handover, user: ServiceUser) -> None:
    """Hand over the open file, if it still is the one that was checked."""
    found = os.fstat(fd)
    kind = stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)
    if found.st_uid != 0 or not kind:
        raise PrivilegeError(f"cannot {one} for {user}: it has changed in the meantime")
    if one.make:
        os.fchmod(fd, _DIRECTORY_MODE if one.make == "directory" else _LOG_MODE)
    os.fchown(fd, user.uid, user.gid)
