"""Renewal of leases on behalf of the master's workers.

A worker's own heartbeat may starve if a job holds the GIL in a C call for minutes. As long as its
process lives, its jobs are being worked on, and the master knows which processes live.
"""

from __future__ import annotations

import math

import redis

from jobd.ambient import clock
from jobd.store import scripts
from jobd.store.inflight import CLOCK_STEP, LEASE
from jobd.store.keys import Keys
from jobd.store.loops import Loop

INTERVAL = 1.5 * CLOCK_STEP
"""Seconds without a renewal after which this loop renews. The recovery renews more often, with each
of its checks, unless it is busy or fails."""

NAMED = 100
"""Most expired owners that one call returns."""


class Leases(Loop):
    """Renews the leases of the workers that the master reports as alive."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        super().__init__("leases", client)
        self._client = client
        self._places = [keys.owners, keys.clock]
        self._alive: tuple[str, ...] = ()
        self._renewed = -math.inf

    def vouch_for(self, identities: list[str]) -> None:
        """Set which workers are alive."""
        self._alive = tuple(identities)

    def renew(self) -> list[str]:
        """Renew the leases now.

        Returns:
            The owners to recover: identities, the longest expired first, then those that have
            been condemned. Where they are :data:`NAMED`, there may be more.

        Raises:
            redis.RedisError: the server refused, or did not answer.
        """
        began = clock.monotonic()
        # Owners without a lease are ignored: a booting worker has not registered yet, and one that
        # has lost its lease finds out with its next claim.
        _, expired = scripts.RENEW(self._client, self._places, [LEASE, NAMED, *self._alive])
        self._renewed = began
        return [identity.decode(errors="replace") for identity in expired]

    def turn(self) -> float:
        if clock.monotonic() >= self._renewed + INTERVAL:
            self.renew()
        return self._renewed + INTERVAL - clock.monotonic()
