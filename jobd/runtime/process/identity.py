"""The identity of a process in Redis.

It has Sidekiq's format, ``HOST:PID:NONCE``: the nonce makes it unique even if a PID is reused.
"""

from __future__ import annotations

import os
import secrets
import socket

from jobd.text.printable import valid


def hostname() -> str:
    """The host part: ``$DYNO`` if the platform sets it, else the host name."""
    return valid(os.environ.get("DYNO") or socket.gethostname())


def new_nonce() -> str:
    """Twelve random hexadecimal digits."""
    return secrets.token_hex(6)


def identity(pid: int, nonce: str) -> str:
    """The identity of a process.

    >>> identity(4711, "0123456789ab").endswith(":4711:0123456789ab")
    True
    """
    return f"{hostname()}:{pid}:{nonce}"
