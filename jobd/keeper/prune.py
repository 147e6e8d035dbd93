"""Takes processes that no longer beat off the list that dashboards show."""

from __future__ import annotations

from typing import Any

import redis

from jobd.background import Loop
from jobd.redis.keys import Keys

INTERVAL = 60.0
"""Seconds between prunings, by all keepers and Sidekiqs together."""


class Prune(Loop):
    """Once a minute, whoever gets the lock looks at all processes."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        super().__init__("prune", client)
        self._client = client
        self._keys = keys

    def turn(self) -> float:
        if self._client.set(self._keys.process_cleanup, "1", nx=True, ex=int(INTERVAL)):
            listed: Any = self._client.smembers(self._keys.processes)
            gone = [
                identity
                for identity in listed  # of anybody: also what is no text
                if not self._client.hexists(
                    self._keys.process(identity.decode(errors="replace")), "info"
                )
            ]
            if gone:
                self._client.srem(self._keys.processes, *gone)
                self.log.info("processes_pruned", processes=len(gone))
        return INTERVAL
