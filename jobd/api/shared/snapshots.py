"""What was read a moment ago, for everybody who asks for the same.

Fifty open pages must not cost fifty times the commands: whoever comes while something is fresh gets
what is there, and whoever comes while it is read waits for that. When Redis does not answer, those
who come within the next second are told so at once: else each would wait for it in a thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from jobd.errors import RefusedError, UnavailableError

T = TypeVar("T")

REST = 1.0
"""Seconds for which a server that did not answer is not asked again."""

_MOST = 500


@dataclass(slots=True)
class _Snapshot:
    """One of them. *made* is monotonic time; the lock is held while it is read."""

    reading: threading.Lock = field(default_factory=threading.Lock)
    made: float = float("-inf")
    value: Any = None


class Snapshots:
    """The snapshots of one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # In the order in which they were asked for last.
        self._known: dict[Hashable, _Snapshot] = {}
        self._failure: tuple[float, Exception] | None = None

    def get(self, key: Hashable, seconds: float | Callable[[T], float], make: Callable[[], T]) -> T:
        """What *make* returned at most *seconds* ago for *key*; else it is called now, once.

        Args:
            seconds: or what says for how long that very value is fresh.

        Raises:
            UnavailableError: the server does not answer, or did not a moment ago.
        """
        snapshot = self._find(key)
        with snapshot.reading:
            value: T = snapshot.value
            age = time.monotonic() - snapshot.made
            if age < float("inf") and age < (seconds(value) if callable(seconds) else seconds):
                return value
            self._check()
            began = time.monotonic()
            try:
                value = make()
            except UnavailableError as error:
                if not isinstance(error, RefusedError):
                    self._failure = (time.monotonic(), error)
                raise
            self._failure = None
            # What changed meanwhile may be in it or not: it is for those who asked before that.
            snapshot.value, snapshot.made = value, began
            return value

    def changed(self) -> None:
        """Somebody has changed something and wants to see it."""
        with self._lock:
            self._known.clear()

    def _find(self, key: Hashable) -> _Snapshot:
        with self._lock:
            found = self._known.pop(key, None) or _Snapshot()
            self._known[key] = found
            while len(self._known) > _MOST:
                del self._known[next(iter(self._known))]
            return found

    def _check(self) -> None:
        failure = self._failure
        if failure is not None and time.monotonic() - failure[0] < REST:
            # A new one, for the old one grows with each place that it is raised at.
            raise type(failure[1])(*failure[1].args) from None
