"""Blocking claims: one connection per queue that waits in the server for the next job.

``BLMOVE`` moves a pushed job into a list of this worker's own, so that it is in one place or the
other at every moment; the server wakes exactly one of all idle workers anywhere, whoever pushed
it. Belongs to the fetcher's thread.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Collection, Sequence

import redis

from jobd.background import Outage
from jobd.bell import Bell
from jobd.redis.connection import Wire
from jobd.redis.inflight import InFlight

BLOCK = 5.0
"""Seconds that one blocking claim waits in the server. A keeper relies on it: when this long has
passed, the server can no longer answer a claim of a dead worker (see keeper/recovery.py)."""

GRACE = 5.0
"""Seconds beyond that after which a silent connection is taken for dead."""

UNBLOCK_AGAIN = 0.02
"""Seconds between attempts to call a blocking claim back."""

REFUSED = 1.0
"""Seconds without blocking claims after the server has refused one."""


class _Wait:
    def __init__(self, queue: str, wire: Wire) -> None:
        self.queue = queue
        self.wire = wire
        self.client_id = 0
        self.registered: int | None = None
        self.armed_at = 0.0


class Waits:
    """All blocking claims of one worker, and the bell that wakes its fetcher.

    A full server refuses them and still grants ordinary claims. So a refusal is no reason to
    connect again: for a moment there are none, and the fetcher looks by itself.
    """

    def __init__(
        self, client: redis.Redis, inflight: InFlight, queues: Sequence[str], outage: Outage
    ) -> None:
        self._inflight = inflight
        self._outage = outage
        self._refused_until = 0.0
        self._waits = [_Wait(queue, Wire(client)) for queue in queues]
        self._selector = selectors.DefaultSelector()
        self.bell = Bell()
        self._selector.register(self.bell, selectors.EVENT_READ)

    @property
    def armed(self) -> bool:
        """Whether any of them waits."""
        return any(wait.armed_at for wait in self._waits)

    @property
    def refused(self) -> bool:
        """Whether the server has just refused one."""
        return time.monotonic() < self._refused_until

    def covers(self, paused: Collection[str]) -> bool:
        """Whether every queue that is not paused is waited on: then they are all empty."""
        return all(wait.armed_at or wait.queue in paused for wait in self._waits)

    def arm(self, paused: Collection[str]) -> None:
        """Wait on every queue that is not paused.

        Raises:
            redis.RedisError: a connection failed.
        """
        if self.refused:
            return
        for wait in self._waits:
            if wait.armed_at or wait.queue in paused:
                continue
            if wait.registered is None:
                self._connect(wait)
            wait.wire.send(self._inflight.wait(wait.queue, BLOCK))
            wait.armed_at = time.monotonic()

    def disarm(self, command: Wire) -> list[str]:
        """Call all of them back over the *command* connection; returns queues that delivered."""
        waiting = [wait for wait in self._waits if wait.armed_at]
        for wait in waiting:
            # Nobody is unblocked when the answer is on its way, or when the server has not read
            # the claim yet: connections are not ordered among each other. Then it may block still.
            while not command.ask("CLIENT", "UNBLOCK", wait.client_id):
                if wait.wire.readable(UNBLOCK_AGAIN):
                    break
        return [wait.queue for wait in waiting if self._delivered(wait)]

    def sleep(self, seconds: float) -> list[str]:
        """Sleep until the bell rings, a job arrives or *seconds* have passed.

        Returns:
            The queues whose claim was answered with a job.

        Raises:
            redis.RedisError: a connection failed.
        """
        delivered = []
        for key, _ in self._selector.select(seconds):
            if isinstance(key.data, _Wait):
                if self._delivered(key.data):
                    delivered.append(key.data.queue)
            else:
                self.bell.silence()
        now = time.monotonic()
        for wait in self._waits:
            if wait.armed_at and now - wait.armed_at > BLOCK + GRACE:
                raise redis.ConnectionError(f"no answer to BLMOVE on {wait.queue}")
        return delivered

    def close(self) -> None:
        """Close the connections. What a claim delivered meanwhile stays in its list."""
        for wait in self._waits:
            # By its number: a connection that broke has closed itself, and knows it no more.
            if wait.registered is not None:
                self._selector.unregister(wait.registered)
                wait.registered = None
            wait.wire.close()
            wait.armed_at = 0.0

    def _connect(self, wait: _Wait) -> None:
        wait.wire.connect()
        wait.client_id = wait.wire.ask("CLIENT", "ID")
        wait.registered = wait.wire.fileno()
        self._selector.register(wait.registered, selectors.EVENT_READ, wait)

    def _delivered(self, wait: _Wait) -> bool:
        """Read the answer; the job itself is fetched from the claim list, when it is filed."""
        wait.armed_at = 0.0
        try:
            reply = wait.wire.read()
        except redis.ResponseError as error:
            self._refused_until = time.monotonic() + REFUSED
            self._outage.failed(error)
            return False
        self._outage.over()
        return reply is not None
