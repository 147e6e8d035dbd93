"""Removes processes without a heartbeat from the list that dashboards show."""

from __future__ import annotations

import redis

from jobd.api.processes import CLEANUP, ProcessSet
from jobd.api.session import Session
from jobd.store.keys import Keys
from jobd.store.loops import Loop


class Prune(Loop):
    """Once a minute, the keeper that gets the lock checks all processes."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        super().__init__("prune", client)
        self._processes = ProcessSet(Session(client, keys.prefix))

    def turn(self) -> float:
        if gone := self._processes.cleanup():
            self.log.info("processes_pruned", processes=gone)
        return float(CLEANUP)
