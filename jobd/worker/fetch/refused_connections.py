"""Remembers that a waiting connection was refused: the server's connection limit is reached, this
process is out of file descriptors, or the user lacks a permission.

Meanwhile the queues are polled on the main connection. Attempts to wait are repeated with growing
pauses; only an answer to a wait resets them, not the mere opening of a connection.
"""

from __future__ import annotations

import random
import time

import redis

from jobd.runtime.log import log
from jobd.store.trouble import reason

POLL = 1.0
"""Seconds between polls of the queues in the meantime."""

FIRST_PAUSE = 4.0
LONGEST_PAUSE = 60.0


class Refusal:
    """Whether a waiting connection was refused recently."""

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
        """Record a failed attempt."""
        self._error = reason(error)
        self._until = time.monotonic() + self._pause * random.uniform(0.75, 1.0)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)

    def tell(self) -> None:
        """Log the reason, once. Call it when the main connection has worked since: it fails, too,
        if the server is down, and that is logged elsewhere."""
        if not self._told:
            self._told = True
            self._log.warning("queues_polled", error=self._error, seconds=POLL)

    def over(self) -> None:
        """Reset: a wait has been answered."""
        if self._error:
            self._error = ""
            self._pause = FIRST_PAUSE
            if self._told:
                self._told = False
                self._log.info("queues_waited_on")
