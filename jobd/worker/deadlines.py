"""Time limits of jobs: one that has run too long gets ``JobTimeout`` raised in its thread.

No thread can be killed. The exception comes when the thread next runs Python code: at once in most
jobs, and not before a call into C returns. What a job does in spite of it, the master sees on the
scoreboard.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobd.errors import JobTimeout
from jobd.worker.pool import JobThread

_NEVER = float("inf")


class Deadlines:
    """The time limits of the jobs that run now.

    Args:
        on_earlier: called by a job's thread when the next deadline has come nearer.
    """

    def __init__(self, on_earlier: Callable[[], None]) -> None:
        self._on_earlier = on_earlier
        self._lock = threading.Lock()
        self._ends: dict[int, float] = {}
        os.register_at_fork(after_in_child=self._renew)

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Raise JobTimeout in this thread if what is inside takes more than *seconds*.

        Raises:
            JobTimeout: it did. It may come a moment after what is inside has ended.
        """
        thread = threading.current_thread()
        ident = threading.get_ident()
        end = time.monotonic() + seconds
        with self._lock:
            nearer = end < min(self._ends.values(), default=_NEVER)
            self._ends[ident] = end
        if isinstance(thread, JobThread):
            thread.show_deadline(end)
        if nearer:
            self._on_earlier()
        try:
            yield
        except JobTimeout as error:
            error.args = (f"the job took longer than its timeout of {seconds:g} s",)
            raise
        finally:
            if isinstance(thread, JobThread):
                thread.show_deadline(0.0)
            with self._lock:
                if self._ends.pop(ident, None) is None:
                    # It has been raised, and may still be on its way.
                    _raise_in(ident, None)

    @property
    def next(self) -> float:
        """When :meth:`enforce` has something to do (monotonic s)."""
        with self._lock:
            return min(self._ends.values(), default=_NEVER)

    def enforce(self, now: float) -> None:
        """Raise JobTimeout, once, in every thread whose deadline has passed."""
        with self._lock:
            for ident in [ident for ident, end in self._ends.items() if end <= now]:
                del self._ends[ident]
                _raise_in(ident, JobTimeout)

    def _renew(self) -> None:
        # A job has forked, perhaps in a moment when another thread held the lock.
        self._lock = threading.Lock()


def _raise_in(ident: int, exception: type[BaseException] | None) -> None:
    """Have *exception* raised in a thread; None takes back one that has not arrived."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(ident), ctypes.py_object(exception) if exception else None
    )
