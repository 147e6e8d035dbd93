"""Remembers that no waiting connection was granted: the server has no more of them, this process
has no descriptor left, or the user lacks a permission.

The connection that works goes on; on it the queues are polled. Attempts to wait again follow with
growing pauses, and only an answer to a wait ends the growth: that a connection could be opened says
little.
"""

from __future__ import annotations

import random
import time

import redis

from jobd.runtime.log import log
from jobd.store.trouble import reason

POLL = 1.0
"""Seconds between looks at the queues meanwhile."""

FIRST_PAUSE = 4.0
LONGEST_PAUSE = 60.0


class Refusal:
    """Whether a waiting connection was refused lately."""

    def __init__(self) -> None:
        self._log = log.get("jobd.fetcher")
        self._until = 0.0
        self._pause = FIRST_PAUSE
        self._error = ""
        self._told = False

    @property
    def active(self) -> bool:
        """Whether it is too early for another attempt."""
        return time.monotonic() < self._until

    def note(self, error: redis.RedisError) -> None:
        """An attempt has failed."""
        self._error = reason(error)
        self._until = time.monotonic() + self._pause * random.uniform(0.75, 1.0)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def tell(self) -> None:
        """Say why, once. To be called when the other connection has worked since: that one fails,
        too, when the server is away, and then this would be no news."""
        if not self._told:
            self._told = True
            self._log.warning("queues_polled", error=self._error, seconds=POLL)

    def over(self) -> None:
        """A wait has been answered."""
        if self._error:
            self._error = ""
            self._pause = FIRST_PAUSE
            if self._told:
                self._told = False
                self._log.info("queues_waited_on")
