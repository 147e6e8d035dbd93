"""Warns when the server may throw jobs away.

With any ``maxmemory-policy`` but ``noeviction``, a server that runs full evicts keys, queues with
all their jobs among them, without an error for anybody.
"""

from __future__ import annotations

from typing import Any

import redis

from jobd.background import Loop
from jobd.redis.health import EVICTION_ADVICE, may_evict

INTERVAL = 3600.0
"""Seconds between looks; the policy can be changed at any time."""


class Eviction(Loop):
    """Looks at the policy at the start and every hour. Once a server is told off it is enough."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__("eviction", client)
        self._client = client
        self._warned_of = ""

    def turn(self) -> float:
        info: Any = self._client.info("memory")
        policy = str(info.get("maxmemory_policy", "noeviction"))
        if may_evict(policy) and policy != self._warned_of:
            self.log.warning(
                "redis_may_evict_jobs",
                maxmemory_policy=policy,
                advice=EVICTION_ADVICE,
            )
        self._warned_of = policy
        return INTERVAL
