"""The name under which one process is known to everything that shares the Redis server.

Sidekiq's form, ``HOST:PID:NONCE``: the nonce makes it unique even where a PID is used again.
"""

from __future__ import annotations

import os
import secrets
import socket

from jobd.text.printable import valid


def hostname() -> str:
    """The host part: ``$DYNO`` where a platform sets it, else the machine's name."""
    return valid(os.environ.get("DYNO") or socket.gethostname())


def new_nonce() -> str:
    """Twelve random hexadecimal digits."""
    return secrets.token_hex(6)


def identity(pid: int, nonce: str) -> str:
    """
    >>> identity(4711, "0123456789ab").endswith(":4711:0123456789ab")
    True
    """
    return f"{hostname()}:{pid}:{nonce}"
