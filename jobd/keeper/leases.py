"""The leases: the keeper vouches for the workers of its master.

A worker's own heartbeat may starve, when a job holds the interpreter in a C call for minutes. As
long as its process lives its jobs are being worked on, and the master knows which processes live.
"""

from __future__ import annotations

import redis

from jobd.background import Loop
from jobd.redis import scripts
from jobd.redis.inflight import CLOCK_STEP, LEASE
from jobd.redis.keys import Keys

INTERVAL = CLOCK_STEP
"""Seconds between renewals. A lease survives five of them failing."""


class Leases(Loop):
    """Renews the leases of the workers that the master says are alive."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        super().__init__("leases", client)
        self._client = client
        self._places = [keys.owners, keys.clock]
        self._alive: tuple[str, ...] = ()

    def vouch_for(self, identities: list[str]) -> None:
        """From now on these workers are alive, and no others."""
        self._alive = tuple(identities)

    def renew(self) -> None:
        """Renew them now.

        Raises:
            redis.RedisError: the server refused, or did not answer.
        """
        if alive := self._alive:
            # Who has none is not told here: a worker that boots has not registered yet, and one
            # that lost its lease learns it from its next claim.
            scripts.RENEW(self._client, self._places, [LEASE, *alive])

    def turn(self) -> float:
        self.renew()
        return INTERVAL
