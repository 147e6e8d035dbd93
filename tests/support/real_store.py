"""A real server as the store of a world: the same scripts, and a time that the test moves.

The server's clock cannot be moved. So the scripts are sent with another source of their time, a key
that says what time it is; and where time passes, all keys lose as much of their time to live.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from jobd.store import scripts
from jobd.store.connection import connect
from jobd.testing.simulated_time import Time

CLOCK = "conformance:time"

_TIME = "redis.call('TIME')"
_SHIFTED = f"({{string.match(redis.call('GET', '{CLOCK}'), '^(%d+) (%d+)$')}})"


class RealStore:
    """An empty server."""

    def __init__(self, url: str, time: Time) -> None:
        self.client: Any = connect(url)
        self.on_message: Callable[[bytes, bytes], None] = lambda _channel, _message: None
        self._time = time
        told: Any = self.client
        told.time = self._told
        self.client.flushall()
        self._tell()

    def _told(self) -> tuple[int, int]:
        """What time it is, as scripts are told, too."""
        seconds, micros = divmod(self._time.micros, 1_000_000)
        return seconds, micros

    def cut_off(self, thread: int) -> None:
        """Nothing here is sent by a job that dies."""

    def moved(self, micros: int) -> None:
        for key in self.client.scan_iter():
            left = self.client.pttl(key)
            if left >= 0:
                self.client.pexpire(key, left - micros // 1000)
        self._tell()

    def _tell(self) -> None:
        seconds, micros = self._told()
        self.client.set(CLOCK, f"{seconds} {micros}")


@contextmanager
def shifted_time() -> Iterator[None]:
    """The scripts as they are sent to a server whose time is moved."""
    original = scripts._read
    all_of_them = [each for each in vars(scripts).values() if isinstance(each, scripts.Script)]

    def again() -> None:
        for script in all_of_them:
            script.__dict__.pop("audited", None)
            script.__init__(script.name)  # type: ignore[misc]  # it reads its file again

    scripts._read = cache(lambda name: original(name).replace(_TIME, _SHIFTED))
    try:
        again()
        yield
    finally:
        scripts._read = original
        again()
