"""Warns when the server may throw jobs away, or is about to take no more.

With any ``maxmemory-policy`` but ``noeviction``, a server that runs full evicts keys, queues with
all their jobs among them, without an error for anybody. With it, it refuses pushes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import redis

from jobd.store.health import EVICTION_ADVICE, is_full, may_evict, memory_short
from jobd.store.loops import Loop
from jobd.store.trouble import reason

INTERVAL = 10.0
"""Seconds between looks: a flood of pushes can fill a server in minutes."""


class Eviction(Loop):
    """Looks at the policy and at the memory, and logs what endangers jobs once, when it begins.

    Args:
        on_short: told, when that changes, why memory is short; "" when it is not.
    """

    def __init__(self, client: redis.Redis, on_short: Callable[[str], None]) -> None:
        super().__init__("eviction", client)
        self._client = client
        self._on_short = on_short
        self._warned_of = ""
        self._told: set[str] = set()
        self._refused = False

    def turn(self) -> float:
        try:
            info = cast("dict[str, object]", self._client.info("memory"))
        except redis.exceptions.NoPermissionError as error:
            if not self._refused:
                self._refused = True
                self.log.warning("redis_policy_unknown", error=reason(error))
            return INTERVAL
        policy = str(info.get("maxmemory_policy", "noeviction"))
        if may_evict(policy) and policy != self._warned_of:
            self.log.warning(
                "redis_may_evict_jobs",
                maxmemory_policy=policy,
                advice=EVICTION_ADVICE,
            )
        self._warned_of = policy
        short = memory_short(info)
        # Of each of the two once, until there is room again.
        event = "redis_full" if short and is_full(info) else "redis_nearly_full"
        if short and event not in self._told:
            self.log.warning(event, advice=str(short))
            self._told |= {event, "redis_nearly_full"}
        if not short:
            self._told = set()
        self._on_short(str(short or ""))
        return INTERVAL
