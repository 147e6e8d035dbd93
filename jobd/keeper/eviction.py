"""Warns when the server may evict jobs, or is about to refuse them.

With any ``maxmemory-policy`` other than ``noeviction``, a full server silently evicts keys,
including whole queues. With ``noeviction`` it refuses pushes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import redis

from jobd.store.health import EVICTION_ADVICE, is_full, may_evict, memory_short
from jobd.store.loops import Loop
from jobd.store.trouble import reason

INTERVAL = 10.0
"""Seconds between checks: a flood of pushes can fill a server in minutes."""


class Eviction(Loop):
    """Checks the eviction policy and the memory, and logs each danger once, when it begins.

    Args:
        on_short: called on a change, with the reason why memory is short; "" if it is not.
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
        # Each of the two is logged once, until there is room again.
        event = "redis_full" if short and is_full(info) else "redis_nearly_full"
        if short and event not in self._told:
            self.log.warning(event, advice=str(short))
            self._told |= {event, "redis_nearly_full"}
        if not short:
            self._told = set()
        self._on_short(str(short or ""))
        return INTERVAL
