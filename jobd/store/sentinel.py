"""Lookup of the server at the Sentinels, with the reason of each if none knows it."""

from __future__ import annotations

from typing import Any

import redis
from redis.sentinel import MasterNotFoundError, Sentinel


class Sentinels(Sentinel):
    """The client library's Sentinel class, with the reason of each Sentinel in its error.

    Args:
        clients: one for each Sentinel.
    """

    def __init__(self, clients: list[redis.Redis]) -> None:
        super().__init__([])  # type: ignore[no-untyped-call]
        self.sentinels = clients

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """The address of the server.

        Raises:
            MasterNotFoundError: with the answer of each Sentinel.
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
                # The next lookup starts with the one that answered.
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
        return f"{text} (set the Sentinels' password as sentinel_password in the URL)"
    return text
