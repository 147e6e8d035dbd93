"""Addresses to listen on: HOST:PORT, or the path of a UNIX socket."""

from __future__ import annotations

from dataclasses import dataclass

from jobd.settings.schema import Invalid, show

_LONGEST_PATH = 107
"""Bytes of the path of a UNIX socket: unix(7)."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen: a *host* and *port*, or a *path*."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host}:{self.port}"


def read(text: str) -> Address:
    """Read an address.

    Raises:
        Invalid: with the reason.

    Example:
        >>> read("127.0.0.1:7433"), read("[::1]:80").host, read("/run/jobd/health.sock").path
        (Address(host='127.0.0.1', port=7433, path=''), '::1', '/run/jobd/health.sock')
    """
    path = text.removeprefix("unix://")
    if path.startswith("/"):
        if len(path.encode()) > _LONGEST_PATH:
            raise Invalid(f"has a path of more than {_LONGEST_PATH} bytes: {show(text)}")
        return Address(path=path)
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    number = int(port) if port.isascii() and port.isdecimal() and len(port) < 6 else 0
    if not colon or not 0 < number < 65_536 or not bare or (":" in bare) is not bracketed:
        raise Invalid(
            f"must be HOST:PORT, as in 127.0.0.1:7433 or [::1]:7433, or the absolute path of a "
            f"UNIX socket, not {show(text)}"
        )
    return Address(bare, number)


def empty_or_address(text: str) -> None:
    """Refuse what is neither empty nor an address."""
    if text:
        read(text)
