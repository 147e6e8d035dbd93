"""Base class of all background loops: start, repeated turns, wake, stop.

A loop does its work in :meth:`turn`, which returns how long to sleep. Redis errors are logged once
per outage, and again with its duration when it ends; meanwhile the loop continues with a growing,
jittered pause. Every other error is a bug: it is logged each time, and the loop continues.
"""

from __future__ import annotations

import math
import random
import threading
import time
from abc import ABC, abstractmethod
from weakref import WeakKeyDictionary

import redis
from structlog.typing import FilteringBoundLogger

from jobd.errors import UnavailableError
from jobd.runtime.log import log
from jobd.store.trouble import reason

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


class _Away:
    """The state of an outage, shared by all loops that use the same client."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.missing: set[Outage] = set()
        self.since = 0.0


_away: WeakKeyDictionary[redis.Redis, _Away] = WeakKeyDictionary()


class Outage:
    """Tracks whether Redis is unavailable, so that each outage is logged once at its start and end.

    A lost connection is not an outage if a new one can be made at once: servers and proxies close
    idle connections, or restart. So the first failure is followed by an immediate attempt without a
    log line, at most once every few seconds.

    Args:
        client: all loops that use it log an outage once together; if one of them has a broken
            connection, the idle connections of the pool are closed.
    """

    def __init__(self, logger: FilteringBoundLogger, client: redis.Redis | None = None) -> None:
        self._log = logger
        self._client = client
        self._away = _Away() if client is None else _away.setdefault(client, _Away())
        self._missing = False
        self._pause = FIRST_PAUSE
        self._tried_at_once = float("-inf")
        self.error = ""
        """The error of the current outage, as Redis or the client library says it; "" if none."""

    def failed(self, error: BaseException) -> float:
        """Record a failure; returns the seconds to pause (growing, jittered by half; first 0)."""
        if isinstance(error, UnavailableError):  # of the data API
            error = error.__context__ or error
        lost = isinstance(error, redis.ConnectionError)
        broken = lost or isinstance(error, redis.TimeoutError)
        if broken and self._client is not None:
            self._client.connection_pool.disconnect(inuse_connections=False)
        now = time.monotonic()
        if lost and not self._missing and now - self._tried_at_once >= LONGEST_PAUSE:
            self._tried_at_once = now
            return 0.0
        self.error = reason(error)
        if not self._missing:
            self._missing = True
            with self._away.lock:
                first = not self._away.missing
                self._away.missing.add(self)
                if first:
                    self._away.since = now
            if first:
                self._log.warning("redis_unavailable", error=self.error)
        pause = self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return pause * random.uniform(0.5, 1.0)

    def over(self) -> None:
        """Record a success."""
        if not self._missing:
            return
        self._missing = False
        self.error = ""
        self._pause = FIRST_PAUSE
        with self._away.lock:
            self._away.missing.discard(self)
            last = not self._away.missing
        if last:
            self._log.info("redis_back", seconds=round(time.monotonic() - self._away.since, 3))


class Loop(threading.Thread, ABC):
    """A daemon thread that calls :meth:`turn` until it is stopped.

    Args:
        client: its Redis client; see :class:`Outage`.
    """

    def __init__(self, name: str, client: redis.Redis | None = None) -> None:
        super().__init__(name=name, daemon=True)
        self.log = log.get(f"jobd.{name}")
        self._outage = Outage(self.log, client)
        self._alarm = threading.Event()
        self._ending = False
        self._expected = time.monotonic()

    def silent(self, now: float) -> float:
        """Seconds for which its turn has lasted, or the next one is late; *now* is monotonic."""
        return max(0.0, now - self._expected)

    @property
    def outage(self) -> str:
        """The error because of which it cannot use Redis now; "" if it can."""
        return self._outage.error

    @abstractmethod
    def turn(self) -> float | None:
        """Do what is due; returns the seconds until the next turn.

        None if Redis was not used and the loop can sleep until it is woken.
        """

    def wake(self) -> None:
        """Make the next turn happen now."""
        self._alarm.set()

    def stop(self, timeout: float) -> bool:
        """Stop after the current turn; returns whether it stopped within *timeout* seconds."""
        self._ending = True
        self.wake()
        if self.is_alive():
            self.join(timeout)
        return not self.is_alive()

    def run(self) -> None:
        while True:
            # Cleared before the turn, so that a wake-up during it causes another one, and before
            # the look for a stop, which wakes, too.
            self._alarm.clear()
            if self._ending:
                return
            self._expected = time.monotonic()
            try:
                pause = self.turn()
                if pause is not None:
                    self._outage.over()
            except (redis.RedisError, UnavailableError) as error:
                pause = self._outage.failed(error)
            except Exception:
                self.log.exception("background_loop_failed")
                pause = LONGEST_PAUSE
            self._expected = math.inf if pause is None else time.monotonic() + pause
            self._alarm.wait(pause)
