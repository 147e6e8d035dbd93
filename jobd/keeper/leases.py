"""The leases: the keeper vouches for the workers of its master.

A worker's own heartbeat may starve, when a job holds the interpreter in a C call for minutes. As
long as its process lives its jobs are being worked on, and the master knows which processes live.
"""

from __future__ import annotations

import math
import time

import redis

from jobd.store import scripts
from jobd.store.inflight import CLOCK_STEP, LEASE
from jobd.store.keys import Keys
from jobd.store.loops import Loop

INTERVAL = 1.5 * CLOCK_STEP
"""Seconds without a renewal after which this loop makes one. The recovery renews them with each of
its looks, more often, unless it is busy or fails."""

NAMED = 100
"""Owners that one look names at most."""


class Leases(Loop):
    """Renews the leases of the workers that the master says are alive."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        super().__init__("leases", client)
        self._client = client
        self._places = [keys.owners, keys.clock]
        self._alive: tuple[str, ...] = ()
        self._renewed = -math.inf

    def vouch_for(self, identities: list[str]) -> None:
        """From now on these workers are alive, and no others."""
        self._alive = tuple(identities)

    def renew(self) -> list[str]:
        """Renew them now.

        Returns:
            The owners that need a keeper: identities, the longest expired first.

        Raises:
            redis.RedisError: the server refused, or did not answer.
        """
        began = time.monotonic()
        # Who has none is not told here: a worker that boots has not registered yet, and one that
        # lost its lease learns it from its next claim.
        _, expired = scripts.RENEW(self._client, self._places, [LEASE, NAMED, *self._alive])
        self._renewed = began
        return [identity.decode(errors="replace") for identity in expired]

    def turn(self) -> float:
        if time.monotonic() >= self._renewed + INTERVAL:
            self.renew()
        return self._renewed + INTERVAL - time.monotonic()
