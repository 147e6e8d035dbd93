"""Identification of the server, and whether jobd supports it.

Uses ``HELLO``, which every user that can log in may call; ``INFO`` is in the category @dangerous.
"""

from __future__ import annotations

from typing import NamedTuple

import redis

from jobd.errors import UnavailableError
from jobd.store.protocol import Reply, ask
from jobd.store.trouble import CLUSTER_ADVICE

OLDEST = (6, 2)
"""Oldest Redis that supports all commands used (BLMOVE and LMOVE, RPOP with a count)."""


class Server(NamedTuple):
    """Name, version and mode of a server: ``standalone``, ``sentinel`` or ``cluster``."""

    name: str
    version: str
    mode: str

    def __str__(self) -> str:
        return f"{self.name.capitalize()} {self.version}"

    def require(self) -> None:
        """Refuse a server that jobd does not support.

        Raises:
            UnavailableError: with the reason, and what to do.
        """
        if tuple(int(part) for part in self.version.split(".")[:2] if part.isdigit()) < OLDEST:
            raise UnavailableError(
                f"the server is {self}; jobd needs Redis 6.2 or newer, or Valkey"
            )
        if self.mode == "cluster":
            raise UnavailableError(f"the server is in cluster mode; {CLUSTER_ADVICE}")
        if self.mode == "sentinel":
            raise UnavailableError(
                "this is a Sentinel, not a server for jobs; "
                "use redis+sentinel://HOST:PORT/SERVICE/DB"
            )


def identify(client: redis.Redis) -> Server:
    """Query the server's name, version and mode.

    Raises:
        UnavailableError: the server is too old for HELLO.
        redis.RedisError: the server does not reply, or refuses.
    """
    try:
        answer: list[Reply] = ask(client, "HELLO")
    except redis.ResponseError as error:
        if "unknown command" not in str(error).lower() and "wrong number" not in str(error).lower():
            raise
        raise UnavailableError(
            f"the server does not know HELLO ({error}); jobd needs Redis 6.2 or newer, or Valkey"
        ) from None
    said = {
        bytes(name).decode(): value.decode(errors="replace") if isinstance(value, bytes) else value
        for name, value in zip(answer[::2], answer[1::2], strict=False)
    }
    return Server(*(str(said.get(name, "")) for name in ("server", "version", "mode")))
