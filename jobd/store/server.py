"""Which server it is, and whether jobd can work with it.

Asked by ``HELLO``, which is allowed to every user that can log in; ``INFO`` counts as dangerous.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import redis

from jobd.errors import UnavailableError
from jobd.store.trouble import CLUSTER_ADVICE

OLDEST = (6, 2)
"""Oldest Redis that knows all commands used (BLMOVE and LMOVE, RPOP with a count)."""


class Server(NamedTuple):
    """A server, as it says itself. *mode* is ``standalone``, ``sentinel`` or ``cluster``."""

    name: str
    version: str
    mode: str

    def __str__(self) -> str:
        return f"{self.name.capitalize()} {self.version}"

    def require(self) -> None:
        """Refuse a server that jobd cannot work with.

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
                "this is a Sentinel and not a server for jobs; "
                "write redis+sentinel://HOST:PORT/SERVICE/DB"
            )


def identify(client: Any) -> Server:
    """Ask the server who it is.

    Raises:
        UnavailableError: it is too old to say.
        redis.RedisError: it does not answer, or refuses.
    """
    try:
        answer: list[Any] = client.execute_command("HELLO")
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
