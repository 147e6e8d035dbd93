"""The periodic jobs of a world: what a worker tells of their schedules, and what a keeper pushes.

Both are the code of the real ones, called at the world's time. Jobs that are registered later
count from the next step of the world on.
"""

from __future__ import annotations

from typing import cast

import redis

from jobd.ambient import clock
from jobd.jobs.app import App
from jobd.jobs.registry import Definition
from jobd.keeper.periodic import Periodic
from jobd.settings.daemon import Config
from jobd.store.keys import Keys
from jobd.worker.schedules import Schedules


class Ticks:
    """The schedules of an application.

    Args:
        wanted: whether there are to be any.
    """

    def __init__(
        self, app: App, config: Config, client: redis.Redis, keys: Keys, *, wanted: bool
    ) -> None:
        self._wanted = wanted
        self._registry = app.registry
        self._config = config
        self._client = client
        self._keys = keys
        self._periodic = Periodic(client, keys, "", lambda _token: None)
        self._seen: list[Definition] = []
        self._schedules: Schedules | None = None

    def tell(self) -> None:
        """Store the schedules, if others are registered than before."""
        if not self._wanted:
            return
        registered = [one for one in self._registry.all() if one.schedules]
        if registered == self._seen and (self._schedules is not None or not self._config.periodic):
            return
        self._seen = registered
        self._schedules = Schedules(
            self._client, self._keys, self._registry, self._config, clock.monotonic()
        )
        self._schedules.turn()

    def first(self) -> float | None:
        """When the next tick comes; None if none does."""
        if self._schedules is None:
            return None
        found = self._client.zrange(self._keys.periodic, 0, 0, withscores=True)
        return float(cast("list[tuple[bytes, float]]", found)[0][1]) if found else None

    def push(self, now: float) -> None:
        """Push the jobs of the ticks up to *now*."""
        self.tell()
        first = self.first()
        if self._schedules is None or first is None or first > now:
            return
        self._schedules.turn()  # it is alive, and knows its jobs
        self._periodic.push(now)
