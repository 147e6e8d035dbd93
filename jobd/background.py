"""The one shape of every background loop: start, turn after turn, wake, stop.

A loop does its work in :meth:`turn`, which says how long it may sleep. An error of Redis is logged
once per outage, with its length when it is over, and the loop goes on with a growing, jittered
pause; any other error is a bug: it is logged each time, and the loop goes on as well.
"""

from __future__ import annotations

import random
import threading
import time

import redis
from structlog.typing import FilteringBoundLogger

from jobd import log

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


class Outage:
    """Remembers whether Redis is away, so that each outage is one line at its start and its end."""

    def __init__(self, logger: FilteringBoundLogger) -> None:
        self._log = logger
        self._since = 0.0
        self._pause = FIRST_PAUSE

    def failed(self, error: BaseException) -> float:
        """Note a failure; returns the seconds to pause (growing, jittered by half)."""
        if not self._since:
            self._since = time.monotonic()
            self._log.warning("redis_unavailable", error=str(error) or type(error).__name__)
        pause = self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return pause * random.uniform(0.5, 1.0)

    def over(self) -> None:
        """Note a success."""
        if self._since:
            self._log.info("redis_back", seconds=round(time.monotonic() - self._since, 3))
            self._since = 0.0
            self._pause = FIRST_PAUSE


class Loop(threading.Thread):
    """A daemon thread that calls :meth:`turn` until it is stopped."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.log = log.get(f"jobd.{name}")
        self._outage = Outage(self.log)
        self._alarm = threading.Event()
        self._ending = False

    def turn(self) -> float | None:
        """Do what is due; returns the seconds until the next turn.

        None says that Redis was not asked and need not be until somebody wakes the loop.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what a turn does")

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
            except redis.RedisError as error:
                pause = self._outage.failed(error)
            except Exception:
                self.log.exception("background_loop_failed")
                pause = LONGEST_PAUSE
            self._alarm.wait(pause)
