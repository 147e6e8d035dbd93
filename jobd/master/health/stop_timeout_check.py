"""The systemd unit that the daemon runs in, and whether it lets a stop take as long as jobd does.

systemd kills a service that has not stopped within ``TimeoutStopSec``. Where that is less than
jobd's own protocol takes, the first stop with a long job would be the first to tell; so the start
does. Only systemd knows the figure: ``systemctl`` asks it, before the master has children. Where it
gets no answer (there is no D-Bus, or none for this user) nothing is said.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

from jobd.master.stop import AFTERWARDS
from jobd.runtime.log import log
from jobd.settings.daemon import Config

ASK = 2.0
"""Seconds that systemctl may take; a start does not wait longer for the sake of a warning."""

_CGROUP = Path("/proc/self/cgroup")
_UNITS = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
    "month": 2629800.0,
    "y": 31557600.0,
}
_PART = re.compile(f"(?<![0-9.])([0-9.]++)({'|'.join(_UNITS)})")

logger = log.get("jobd.master")


class Unit(NamedTuple):
    """A service's name, and whether it is one of the user's own systemd."""

    name: str
    of_user: bool


def warn_of_short_stop(config: Config, *, extends: bool) -> None:
    """Log a warning if the unit that we run in, if any, gives a stop less time than it may take.

    Args:
        extends: whether systemd listens to us, and so can be asked for more time at the stop.
    """
    # Without it systemd has not started us, nor anything that we come from.
    if "INVOCATION_ID" not in os.environ:
        return
    unit = service(_read(_CGROUP))
    if unit is None:
        return
    allowed = _stop_timeout(unit)
    needed = config.timeout + AFTERWARDS
    if allowed is None or allowed >= needed:
        return
    effect = (
        "jobd will ask systemd for more time, and a stop then takes longer than the unit says"
        if extends
        else "systemd will kill what still runs then, and its jobs come back only by recovery"
    )
    logger.warning(
        "stop_timeout_of_unit_too_short",
        unit=unit.name,
        unit_allows=allowed,
        stop_takes_up_to=needed,
        advice=f"{effect}; set TimeoutStopSec={needed:g} or more in the unit, or a smaller "
        f"timeout than {config.timeout:g} for jobd",
    )


def service(cgroup: str) -> Unit | None:
    """The service whose processes have *cgroup* in their ``/proc/PID/cgroup``; None for others, as
    those of a login session or a container.

    >>> service("0::/system.slice/jobd.service")
    Unit(name='jobd.service', of_user=False)
    """
    for line in cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        *above, last = path.split("/")
        if controllers in ("", "name=systemd") and last.endswith(".service"):
            of_user = any(part.startswith("user@") for part in above)
            return Unit(last.removeprefix("_"), of_user)
    return None


def seconds(span: str) -> float:
    """A time span as ``systemctl show`` writes it.

    >>> seconds("1min 30s")
    90.0

    Raises:
        ValueError: it is none.
    """
    if span == "infinity":
        return float("inf")
    parts = _PART.findall(span)
    if not parts or "".join(map("".join, parts)) != span.replace(" ", ""):
        raise ValueError(f"{span!r} is not a time span")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _stop_timeout(unit: Unit) -> float | None:
    """What systemd says; None when it does not."""
    manager = ["--user"] if unit.of_user else []
    try:
        answer = subprocess.run(
            ["systemctl", *manager, "show", "-p", "LoadState", "-p", "TimeoutStopUSec", unit.name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=ASK,
            check=True,
        ).stdout
        known = dict(line.partition("=")[::2] for line in answer.splitlines())
        if known.get("LoadState") != "loaded":
            raise ValueError(f"systemd does not know {unit.name}")
        return seconds(known.get("TimeoutStopUSec", ""))
    except subprocess.CalledProcessError as error:
        why = error.stderr.strip()
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        why = str(error)
    logger.debug("unit_unknown", unit=unit.name, reason=why)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # without /proc, or with a kernel that has no cgroups
