"""The one shape of every background loop: start, turn after turn, wake, stop.

A loop does its work in :meth:`turn`, which says how long it may sleep. An error of Redis is logged
once per outage, with its length when it is over, and the loop goes on with a growing, jittered
pause; any other error is a bug: it is logged each time, and the loop goes on as well.
"""

from __future__ import annotations

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
    """Who of those that share a client misses the server, and since when."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.missing: set[Outage] = set()
        self.since = 0.0


_away: WeakKeyDictionary[redis.Redis, _Away] = WeakKeyDictionary()


class Outage:
    """Remembers whether Redis is away, so that each outage is one line at its start and its end.

    A connection that is lost is no outage if another one can be made at once: servers and proxies
    close what was idle, or are about to restart. So the first failure is followed by an attempt
    without a pause and a line, but not more often than every few seconds.

    Args:
        client: all loops that use it log an outage once together, and when one of them finds
            its connection broken, the idle ones are not used any more.
    """

    def __init__(self, logger: FilteringBoundLogger, client: redis.Redis | None = None) -> None:
        self._log = logger
        self._client = client
        self._away = _Away() if client is None else _away.setdefault(client, _Away())
        self._missing = False
        self._pause = FIRST_PAUSE
        self._tried_at_once = float("-inf")
        self.error = ""
        """What Redis is missed for, in its own words or the client library's; "" when it is not."""

    def failed(self, error: BaseException) -> float:
        """Note a failure; returns the seconds to pause (growing, jittered by half; at first 0)."""
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
        """Note a success."""
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
        client: what it talks to Redis with; see :class:`Outage`.
    """

    def __init__(self, name: str, client: redis.Redis | None = None) -> None:
        super().__init__(name=name, daemon=True)
        self.log = log.get(f"jobd.{name}")
        self._outage = Outage(self.log, client)
        self._alarm = threading.Event()
        self._ending = False

    @property
    def outage(self) -> str:
        """Why it cannot do its work with Redis now; "" if it can."""
        return self._outage.error

    @abstractmethod
    def turn(self) -> float | None:
        """Do what is due; returns the seconds until the next turn.

        None says that Redis was not asked and need not be until somebody wakes the loop.
        """

    def wake(self) -> None:
        """Make the next turn happen now."""
        self._alarm.set()

    def stop(self, timeout: float) -> bool:
        """End after the current turn; returns whether it ended within *timeout* seconds."""
        self._ending = True
        self._alarm.set()
        if self.is_alive():
            self.join(timeout)
        return not self.is_alive()

    def run(self) -> None:
        while not self._ending:
            # Cleared before the turn, so that a wake-up during it brings another one.
            self._alarm.clear()
            try:
                pause = self.turn()
                if pause is not None:
                    self._outage.over()
            except (redis.RedisError, UnavailableError) as error:
                pause = self._outage.failed(error)
            except Exception:
                self.log.exception("background_loop_failed")
                pause = LONGEST_PAUSE
            self._alarm.wait(pause)
