"""The checks of this host: whether its daemon runs and is well, and what it may run out of."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import psutil

from jobctl.codes import Code, NotRunning, Problem
from jobctl.daemon import health, limit, lookup
from jobctl.daemon.answers import NoAnswer
from jobctl.daemon.display import memory
from jobctl.daemon.pidfile import Daemon, Elsewhere
from jobd.api.diagnosis.findings import Check, Said, Severity
from jobd.errors import ConfigError
from jobd.master.control import messages
from jobd.master.control.messages import DaemonStatus
from jobd.settings import redis_url
from jobd.settings.daemon import Config
from jobd.settings.schema import Invalid
from jobd.text.printable import harmless

_LEAST_MEMORY = 0.1
"""Share of the host's memory."""

_LEAST_DISK = 0.05
"""Share of a file system."""

_MOST_FILES = 0.8
"""Share of the limit of open files."""

_MOST_OF_GROUP = 0.9
"""Share of the memory limit of the daemon's control group."""

_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Host:
    """What is known of this host.

    Attributes:
        expected: a configuration or a pidfile says that a daemon belongs here.
        pidfile: where it would be.
        absent: why no daemon was found; "" if one was.
        mute: why it does not answer; "" if it does.
        pid: of its master; None if it is not known in this namespace.
    """

    config: Config
    expected: bool
    pidfile: Path | None
    absent: str = ""
    mute: str = ""
    pid: int | None = None
    status: DaemonStatus | None = None

    @property
    def running(self) -> Config:
        """The settings, where the daemon tells them those with which it runs."""
        if self.status is None:
            return self.config
        workers = max(1, len(self.status.workers))
        return replace(self.config, concurrency=self.status.concurrency, workers=workers)


def look(config: Config, pidfile: str | None, file: str | None) -> Host:
    """Find the daemon of this host, and ask how it is."""
    expected = bool(pidfile or file or os.environ.get("JOBD_PIDFILE"))
    try:
        with limit.within(limit.FILES, "cannot read the files beside the pidfile"):
            path = lookup.pidfile(pidfile, file, os.environ, _said_elsewhere)
            daemon = Daemon.find(path)
    except ConfigError as error:
        return Host(config, expected, None, absent=str(error))
    except NotRunning as error:
        return Host(config, expected, path, absent=str(error))
    except Problem as error:
        return Host(config, True, path, absent=str(error))
    pid = None if isinstance(daemon.process, Elsewhere) else daemon.process.pid
    try:
        answer = harmless(daemon.result(messages.Status()).status)
        status = msgspec.convert(answer, DaemonStatus)
    except (NoAnswer, Problem) as error:
        return Host(config, True, path, mute=str(error), pid=pid)
    except (msgspec.MsgspecError, ArithmeticError, LookupError, ValueError):
        return Host(config, True, path, mute="its answer is malformed", pid=pid)
    finally:
        daemon.process.close()
    return Host(config, True, path, pid=pid, status=status)


def _said_elsewhere(_: str) -> None:
    """What is wrong with the configuration is a finding of its own."""


def _runs(host: Host) -> Iterator[Said]:
    if host.absent and host.expected:
        yield Said(
            f"The daemon of this host does not run: {host.absent}.",
            "systemctl status jobd, or its log, has the reason; start it: systemctl start jobd, or "
            "jobd start",
        )


def _answers(host: Host) -> Iterator[Said]:
    if host.mute:
        yield Said(
            f"The daemon of this host: {host.mute.removesuffix('.')}.",
            "jobctl threads shows what its processes are doing, the master's too",
        )


def _elsewhere(host: Host) -> Iterator[Said]:
    try:
        its = redis_url.target(host.status.redis) if host.status is not None else ""
        here = redis_url.target(host.config.redis)
    except Invalid:
        return
    if its and its != here:
        yield Said(
            f"The daemon of this host uses {its}, but what is said here about Redis and the fleet "
            f"is about {here}.",
            "name its configuration: jobctl doctor -C FILE",
        )


_SEVERE = {Code.DEGRADED, Code.NO_REDIS, Code.NOT_SERVING}


def _severe(host: Host) -> Iterator[Said]:
    yield from _status(host, severe=True)


def _other(host: Host) -> Iterator[Said]:
    yield from _status(host, severe=False)


def _status(host: Host, *, severe: bool) -> Iterator[Said]:
    if host.status is not None:
        for code, text in health.findings(host.status):
            if (code in _SEVERE) == severe:
                text = text.removesuffix(".")
                yield Said(f"The daemon of this host: {text}.", "jobctl status, and its log")


def _memory(_: Host) -> Iterator[Said]:
    found = psutil.virtual_memory()
    if found.available < _LEAST_MEMORY * found.total:
        yield Said(
            f"Only {memory(found.available)} of {memory(found.total)} of this host's memory are "
            "available: the kernel may kill workers, and Redis if it runs here.",
            "lower `workers` or `concurrency`, or set `memory_soft` (jobctl status shows which "
            "process has most)",
        )


def _disk(host: Host) -> Iterator[Said]:
    places = {"the log": host.config.logfile, "the pidfile": str(host.pidfile or "")}
    for what, name in places.items():
        place = Path(name).parent
        if not name or not place.is_dir():
            continue
        found = shutil.disk_usage(place)
        if found.free < _LEAST_DISK * found.total:
            yield Said(
                f"The file system of {what} ({place}) has only {memory(found.free)} left.",
                "make room: log records are lost when it is full, and a daemon cannot start",
            )


def _files(host: Host) -> Iterator[Said]:
    """Of each process, since the limit is that of each."""
    for pid in _pids(host):
        try:
            most = re.search(r"Max open files +(\d+)", Path(f"/proc/{pid}/limits").read_text())
            used = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            continue  # it has gone, or belongs to another user
        if most and used > _MOST_FILES * int(most[1]):
            yield Said(
                f"Process {pid} has {used} of at most {most[1]} files open.",
                "raise LimitNOFILE of the unit (ulimit -n), or lower `concurrency`",
            )


def _group(host: Host) -> Iterator[Said]:
    place = _control_group(host.pid)
    most, used = _number(place, "memory.max"), _number(place, "memory.current")
    # Of what is used, files can be dropped.
    used -= _field(place, "memory.stat", "inactive_file")
    if most and used > _MOST_OF_GROUP * most:
        yield Said(
            f"The daemon uses {memory(used)} of the {memory(most)} that its unit or container may "
            "have: the kernel kills the process that exceeds it.",
            "raise the limit, or set `memory_soft` and `memory_hard` below it",
        )
    if kills := _field(place, "memory.events", "oom_kill"):
        yield Said(
            f"The kernel has killed {kills} processes of the daemon for their memory.",
            "the log names the jobs (child_died); raise the limit, or set `memory_hard`",
        )


def _pids(host: Host) -> list[int]:
    if host.status is None or host.pid is None:
        return []
    keeper = [host.status.keeper] if host.status.keeper else []
    return [host.pid, *(child.pid for child in [*host.status.workers, *keeper])]


def _control_group(pid: int | None) -> Path | None:
    """The directory of its own group (version 2); None if it is in none, or the root."""
    try:
        text = Path(f"/proc/{pid}/cgroup").read_text(errors="replace") if pid else ""
    except OSError:
        return None
    found = re.search(r"^0::/(.+)$", text, re.MULTILINE)
    place = _CGROUPS / found[1] if found else _CGROUPS
    return place if (place / "memory.max").exists() else None


def _number(place: Path | None, name: str) -> int:
    """A number in a file; 0 if there is none, or it is ``max``."""
    try:
        text = (place / name).read_text().strip() if place else ""
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def _field(place: Path | None, name: str, field: str) -> int:
    try:
        text = (place / name).read_text() if place else ""
    except OSError:
        return 0
    found = dict(line.partition(" ")[::2] for line in text.splitlines()).get(field, "")
    return int(found) if found.isdigit() else 0


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

CHECKS: tuple[Check[Host], ...] = (
    Check("daemon.runs", _ERROR, "whether the daemon of this host runs", _runs),
    Check("daemon.answers", _ERROR, "whether its master answers", _answers),
    Check("daemon.serves", _ERROR, "crash loop, Redis, whether it takes jobs", _severe),
    Check("daemon.status", _WARNING, "all else that `jobctl status --check` reports", _other),
    Check("daemon.redis", Severity.NOTE, "whether it uses this Redis", _elsewhere),
    Check("host.memory", _WARNING, f"memory, {_LEAST_MEMORY:.0%} left", _memory),
    Check("host.disk", _WARNING, f"disks of log and pidfile, {_LEAST_DISK:.0%} left", _disk),
    Check("host.files", _WARNING, f"open files, {_MOST_FILES:.0%} of the limit", _files),
    Check("host.group", _WARNING, "memory of its unit or container; kills by the kernel", _group),
)
