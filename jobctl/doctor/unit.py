"""The checks of the systemd unit that the daemon runs in: whether it would interrupt jobs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jobd.api.diagnosis.findings import Check, Said, Severity
from jobd.settings.daemon import Config

_SECONDS = 3.0
"""Seconds for systemctl."""

_NAMES = (
    *("KillMode", "Restart", "TimeoutStopUSec", "Type", "UnitFileState", "OOMPolicy"),
    *("TasksMax", "NRestarts", "MainPID"),
)

_TO_RETURN = 22.0
"""Seconds that workers and keeper may need beyond ``timeout``, to return unfinished jobs."""

_THREADS = 15
"""Threads of a worker beside those of jobs, if it has async jobs, progress and ``jobctl tail``."""

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


@dataclass(frozen=True, slots=True)
class Unit:
    """A service, and its properties as ``systemctl show`` has them; without a name, the daemon
    does not run in one."""

    name: str
    config: Config
    properties: Mapping[str, str]


def look(config: Config, pid: int | None) -> Unit:
    """The unit of the process *pid*; none if it is another's, as that of a supervisor or of cron
    that has started the daemon: its settings are not for the daemon."""
    name = _unit_of(pid)
    shown = _shown(name) if name else {}
    if shown.get("MainPID", str(pid)) != str(pid):
        name, shown = "", {}
    return Unit(name, config, shown)


def _unit_of(pid: int | None) -> str:
    try:
        text = Path(f"/proc/{pid}/cgroup").read_text(errors="replace") if pid else ""
    except OSError:
        return ""
    # Not the manager of a user's session, in which a terminal is, too.
    found = re.findall(r"/([^/\n]+\.service)", text)
    return found[-1] if found and not found[-1].startswith("user@") else ""


def _shown(name: str) -> dict[str, str]:
    command = ["systemctl", "show", "--property", ",".join(_NAMES), "--", name]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return dict(line.partition("=")[::2] for line in done.stdout.splitlines() if "=" in line)


def _kill_mode(unit: Unit) -> Iterator[Said]:
    mode = unit.properties.get("KillMode", "")
    if mode in ("control-group", "none"):
        what = (
            "a stop sends TERM to the workers, too, and they do not wait for each other"
            if mode == "control-group"
            else "processes that are left at a stop stay"
        )
        yield Said(f"{unit.name} has KillMode={mode}: {what}.", "KillMode=mixed in [Service]")


def _stop(unit: Unit) -> Iterator[Said]:
    allowed = seconds(unit.properties.get("TimeoutStopUSec", ""))
    need = unit.config.timeout + _TO_RETURN
    if allowed is not None and allowed < need:
        yield Said(
            f"{unit.name} may take {allowed:g} s to stop, but with timeout = "
            f"{unit.config.timeout:g} the daemon may need {need:g} s: systemd kills it, and its "
            "jobs come back only with the next start.",
            f"TimeoutStopSec={need:.0f} or more in [Service]",
        )


def _restart(unit: Unit) -> Iterator[Said]:
    if unit.properties.get("Restart") == "no":
        yield Said(
            f"{unit.name} has Restart=no: a master that dies stays dead.",
            "Restart=on-failure in [Service]",
        )


def _type(unit: Unit) -> Iterator[Said]:
    if (kind := unit.properties.get("Type", "notify")) not in ("notify", "notify-reload"):
        yield Said(
            f"{unit.name} has Type={kind}: systemd does not know when the daemon is ready.",
            "Type=notify and NotifyAccess=main in [Service]",
        )


def _enabled(unit: Unit) -> Iterator[Said]:
    if unit.properties.get("UnitFileState") == "disabled":
        yield Said(
            f"{unit.name} is disabled: it will not run after a restart of this host.",
            f"systemctl enable {unit.name}",
        )


def _out_of_memory(unit: Unit) -> Iterator[Said]:
    if (policy := unit.properties.get("OOMPolicy", "continue")) != "continue":
        yield Said(
            f"{unit.name} has OOMPolicy={policy}: one job that needs too much memory ends the "
            "whole daemon.",
            "OOMPolicy=continue in [Service]",
        )


def _tasks(unit: Unit) -> Iterator[Said]:
    most = unit.properties.get("TasksMax", "")
    config = unit.config
    need = config.workers * (config.concurrency + _THREADS)
    if most.isdigit() and int(most) < need:
        yield Said(
            f"{unit.name} may have {most} threads, but {config.workers} workers with concurrency "
            f"{config.concurrency} need {need}.",
            f"TasksMax={2 * need} in [Service]: a reload needs twice as many",
        )


def _restarts(unit: Unit) -> Iterator[Said]:
    count = unit.properties.get("NRestarts", "")
    if count.isdigit() and int(count):
        yield Said(
            f"systemd has restarted {unit.name} {count} times since it was started.",
            f"journalctl -u {unit.name}",
        )


def seconds(text: str) -> float | None:
    """A time as ``systemctl show`` prints it; None for infinity, and what is none.

    >>> seconds("1min 30s"), seconds("45s"), seconds("500ms"), seconds("infinity")
    (90.0, 45.0, 0.5, None)
    """
    parts = re.findall(r"(\d{1,9}(?:\.\d{1,6})?)(us|ms|min|[shdw])", text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts) if parts else None


_ERROR, _WARNING = Severity.ERROR, Severity.WARNING

CHECKS: tuple[Check[Unit], ...] = (
    Check("unit.kill-mode", _WARNING, "`KillMode`", _kill_mode),
    Check("unit.stop", _WARNING, "`TimeoutStopSec`, against the `timeout` of jobs", _stop),
    Check("unit.restart", _WARNING, "`Restart`", _restart),
    Check("unit.type", _WARNING, "`Type`", _type),
    Check("unit.enabled", _WARNING, "whether it starts with the host", _enabled),
    Check("unit.memory", _WARNING, "`OOMPolicy`", _out_of_memory),
    Check("unit.tasks", _WARNING, "`TasksMax`, against workers and threads", _tasks),
    Check("unit.restarts", _WARNING, "how often systemd has restarted it", _restarts),
)
