"""Takeover: returns jobs delivered to an unresponsive worker to the head of their queues.

The master reports which blocking claims the worker has not read (see jobd/master/health/rescue.py).
The jobs that they delivered are in flight under the sequence numbers reserved for them, or still in
a claim list. No other job of the worker is touched: it may have started, or have ended without
Redis knowing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import cast

import redis

from jobd.store import scripts
from jobd.store.inflight import Claimed, InFlight, split_tag
from jobd.store.keys import Keys
from jobd.store.loops import Loop
from jobd.worker.fetch.blocking import FILE_AT_MOST

IDLE = 3600.0
"""Seconds until the next turn when there is nothing to do; a request wakes the loop."""


class Takeover(Loop):
    """The loop that returns deliveries of unresponsive workers.

    Args:
        on_taken_over: called with the identity of a worker and the number of jobs returned.
    """

    def __init__(
        self, client: redis.Redis, keys: Keys, on_taken_over: Callable[[str, int], None]
    ) -> None:
        super().__init__("takeover", client)
        self._client = client
        self._keys = keys
        self._on_taken_over = on_taken_over
        self._wanted: deque[tuple[str, list[int]]] = deque()

    def take_over(self, identity: str, waits: list[int]) -> None:
        """Return the jobs delivered by these waits, identified by their first numbers."""
        self._wanted.append((identity, waits))
        self.wake()

    def turn(self) -> float:
        while self._wanted:
            # It stays in the list until it is done: until then the worker starts none of the jobs.
            identity, waits = self._wanted[0]
            jobs = 0
            try:
                jobs = self._return_jobs(identity, waits)
            except redis.ResponseError as error:
                self.log.error("jobs_not_taken_over", owner=identity, error=str(error))
            self._wanted.popleft()
            self._on_taken_over(identity, jobs)
        return IDLE

    def _return_jobs(self, identity: str, waits: list[int]) -> int:
        queues = cast("set[bytes]", self._client.smembers(self._keys.waits(identity)))
        inflight = InFlight(self._keys, identity, sorted(name.decode() for name in queues))
        for call in inflight.return_delivered():
            scripts.FILE(self._client, *call)
        tags = cast("list[bytes]", self._client.hkeys(self._keys.inflight(identity)))
        unread = [
            Claimed(*place, b"")
            for place in map(split_tag, tags)
            if place and any(first <= place[0] < first + FILE_AT_MOST for first in waits)
        ]
        if not unread:
            return 0
        returned: int = scripts.GIVE_BACK(self._client, *inflight.giving_back(unread))
        return returned
