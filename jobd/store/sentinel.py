"""The Sentinels, and what they say when they name no server."""

from __future__ import annotations

from typing import Any

import redis
from redis.sentinel import MasterNotFoundError, Sentinel


class Sentinels(Sentinel):
    """The client library's, which asks one after the other, with the reason of each.

    Args:
        clients: one for each Sentinel.
    """

    def __init__(self, clients: list[redis.Redis]) -> None:
        super().__init__([])  # type: ignore[no-untyped-call]
        self.sentinels = clients

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """The address of the server.

        Raises:
            MasterNotFoundError: with what each of them answers.
        """
        said = []
        for number, client in enumerate(self.sentinels):
            try:
                masters: Any = client.sentinel_masters()
            except redis.RedisError as error:
                said.append(f"{_name(client)} says: {_advised(error)}")
                continue
            state = masters.get(service_name)
            if state and self.check_master_state(state, service_name):  # type: ignore[no-untyped-call]
                # The next question goes first to the one that has answered.
                self.sentinels[0], self.sentinels[number] = client, self.sentinels[0]
                return state["ip"], state["port"]
            known = ", ".join(map(str, masters)) or "none"
            why = "it is down" if state else f"it is not known there (known: {known})"
            said.append(f"{_name(client)} says: {why}")
        raise MasterNotFoundError(
            f"no Sentinel names a server for {service_name!r}; {'; '.join(said)}"
        )


def _name(client: redis.Redis) -> str:
    options = client.get_connection_kwargs()
    return f"{options['host']}:{options['port']}"


def _advised(error: redis.RedisError) -> str:
    text = str(error).rstrip(".")
    if isinstance(error, redis.AuthenticationError):
        return f"{text} (the URL's sentinel_password is that of the Sentinels)"
    return text
