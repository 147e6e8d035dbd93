"""Checks whether the daemon's systemd unit allows a stop as much time as jobd may need.

systemd kills a service that has not stopped within ``TimeoutStopSec``. If that is less than jobd
may take, it would first be noticed at a stop with a long job; so jobd warns at the start. The value
is read with ``systemctl``, before the master has children. Without an answer (no D-Bus, or none for
this user) there is no warning.
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
"""Timeout of systemctl in seconds; a start does not wait longer just for a warning."""

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
    """A service's name, and whether it belongs to the user's systemd instance."""

    name: str
    of_user: bool


def warn_of_short_stop(config: Config, *, extends: bool) -> None:
    """Log a warning if our unit, if any, gives a stop less time than it may take.

    Args:
        extends: whether systemd accepts notifications, so that a stop can ask for more time.
    """
    # Without it, neither we nor our ancestors were started by systemd.
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
        else "systemd will then kill what still runs, and its jobs come back only by recovery"
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
    """The service that *cgroup* (from ``/proc/PID/cgroup``) belongs to; None if none, as in a login
    session or a container.

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
    """Parse a time span as written by ``systemctl show``.

    >>> seconds("1min 30s")
    90.0

    Raises:
        ValueError: it is not a time span.
    """
    if span == "infinity":
        return float("inf")
    parts = _PART.findall(span)
    if not parts or "".join(map("".join, parts)) != span.replace(" ", ""):
        raise ValueError(f"{span!r} is not a time span")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _stop_timeout(unit: Unit) -> float | None:
    """The timeout according to systemd; None if unknown."""
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
        return path.read_text(errors="replace")  # a service may have any name
    except OSError:
        return ""  # no /proc, or a kernel without cgroups
