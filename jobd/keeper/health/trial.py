"""Whether the health listener could listen, for ``jobd check``: nothing is created or taken."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from jobd.keeper.health.listener import reason, refuse_living
from jobd.settings.listening import Address


def obstacle(address: Address) -> str:
    """Why this process could not listen there; "" if it could."""
    try:
        if address.path:
            return _socket_file(Path(address.path))
        for family, kind, number, _, place in socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            with socket.socket(family, kind, number) as trial:
                # As asyncio does; with it, what others have left behind is no obstacle. It does
                # not listen, so no client can reach it.
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                trial.bind(place)
    except OSError as error:
        return reason(error)
    return ""


def _socket_file(path: Path) -> str:
    try:
        # As asyncio does, it follows a symbolic link: what is removed is the link.
        if not stat.S_ISSOCK(path.stat().st_mode):
            return "there is a file that is not a socket"
    except FileNotFoundError:
        if path.is_symlink():
            return f"there is a symbolic link to {path.readlink()}, which does not exist"
    if not path.parent.is_dir():
        return f"the directory {path.parent} does not exist; create it"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"the directory {path.parent} is not writable for this user"
    refuse_living(str(path))
    return ""
