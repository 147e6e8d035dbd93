"""Notifications to systemd: READY, STATUS, STOPPING and watchdog pings.

They are sent from the master's own loop, not from a thread, because pings from a thread would not
prove that the loop is running. Without ``$NOTIFY_SOCKET`` nothing is sent; errors are ignored.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import MutableMapping

from jobd.text.printable import cut, shown

_LONGEST = 500  # characters of a status: a message that is too long is lost, including READY
_STATUS_EVERY = 5.0
_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_ACTIVATION = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


def _status(text: str) -> str:
    """A status line. *text* may contain an application's error, so line breaks are removed: each
    line of a message is a variable.

    >>> _status("reload failed:\\nWATCHDOG=trigger")
    'STATUS=reload failed: WATCHDOG=trigger'
    """
    return f"STATUS={shown(cut(' '.join(text.split()), _LONGEST))}"


class Notifier:
    """Sends notifications to the service manager."""

    def __init__(self, address: str = "", watchdog: float = 0.0) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._ping_every = watchdog / 3
        self._next_ping = float("inf")
        self._status = ""
        self._next_status = 0.0

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> Notifier:
        """Read the variables and remove them, so that children cannot send notifications."""
        values = {name: environment.pop(name, "") for name in _VARIABLES}
        for name in _ACTIVATION:
            environment.pop(name, None)
        watchdog = 0.0
        if values["WATCHDOG_USEC"].isdecimal() and values["WATCHDOG_PID"] in ("", str(os.getpid())):
            watchdog = int(values["WATCHDOG_USEC"]) / 1e6
        return cls(values["NOTIFY_SOCKET"], watchdog)

    @property
    def connected(self) -> bool:
        """Whether there is a service manager to notify."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """The service is ready, also after a reload; the watchdog starts now."""
        self._send(f"READY=1\n{_status(status)}\nWATCHDOG=1")
        if self._ping_every:
            self._next_ping = time.monotonic() + self._ping_every

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str, seconds: float) -> None:
        self._send(f"STOPPING=1\n{_status(status)}\nEXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def failed(self, status: str, code: int) -> None:
        self._send(f"{_status(status)}\nEXIT_STATUS={code}")

    def extend(self, seconds: float) -> None:
        """Ask for more time while the children boot."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def turn(self, status: str) -> None:
        """Called at every turn of the loop: ping when due, send a new status at most every 5 s."""
        now = time.monotonic()
        if now >= self._next_ping:
            self._next_ping = now + self._ping_every
            self._send("WATCHDOG=1")
        if status != self._status and now >= self._next_status:
            self._status = status
            self._next_status = now + _STATUS_EVERY
            self._send(_status(status))

    def next_deadline(self) -> float:
        """When the next ping is due (monotonic seconds)."""
        return self._next_ping

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.setblocking(False)
                line.sendto(message.encode("utf-8", "backslashreplace"), self._address)
        except OSError:
            pass  # systemd is gone or its queue is full, which must not affect the jobs
