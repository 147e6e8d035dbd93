"""Check that this process is single-threaded, and description of its other threads.

Only a single-threaded process can be forked safely: the child does not have the other threads, but
inherits the locks that they held.
"""

from __future__ import annotations

import functools
import os
import sysconfig
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType
from weakref import WeakKeyDictionary

from jobd.text.printable import name_of

_TASKS = Path("/proc/self/task")
_ENDING = 1.0  # s; a thread still exists for a moment after it has been joined
_PAUSE = 0.001
_STDLIB = sysconfig.get_path("stdlib") + os.sep
_ADVICE = (
    "for numpy and the like set OPENBLAS_NUM_THREADS=1, MKL_NUM_THREADS=1 and OMP_NUM_THREADS=1"
)


class Starts:
    """Context manager that records where threads are started."""

    def __init__(self) -> None:
        self._places: WeakKeyDictionary[threading.Thread, str] = WeakKeyDictionary()

    def __enter__(self) -> Starts:
        start = self._start = threading.Thread.start
        places = self._places

        @functools.wraps(start)
        def noting(self: threading.Thread) -> None:
            places[self] = _caller()
            start(self)

        self._noting = noting
        threading.Thread.start = noting  # type: ignore[method-assign]
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if threading.Thread.start is self._noting:  # else it was wrapped again meanwhile
            threading.Thread.start = self._start  # type: ignore[method-assign]

    def place(self, thread: threading.Thread) -> str:
        """File and line where *thread* was started; "" if unknown."""
        return self._places.get(thread, "")


def others(starts: Starts | None = None) -> str:
    """Description of the threads besides the main thread; "" if there are none."""
    give_up = time.monotonic() + _ENDING
    while len(tasks := os.listdir(_TASKS)) > 1:  # noqa: PTH208 - names only, no Path objects
        known = [one for one in threading.enumerate() if one is not threading.main_thread()]
        if known or time.monotonic() >= give_up:
            return _described(known, len(tasks) - 1 - len(known), starts)
        time.sleep(_PAUSE)
    return ""


def _described(known: list[threading.Thread], unknown: int, starts: Starts | None) -> str:
    parts = []
    for thread in known:
        place = starts.place(thread) if starts else ""
        name = name_of(thread, 200)
        parts.append(f"{name}, started in {place}" if place else name)
    if unknown > 0:
        count = "one thread" if unknown == 1 else f"{unknown} threads"
        parts.append(f"{count} of libraries in C; {_ADVICE}")
    return "; ".join(parts)


def _caller() -> str:
    """File and line of the innermost frame outside the standard library and this module."""
    for frame in reversed(traceback.extract_stack()):
        name = frame.filename
        own = name.startswith("<") or name == __file__
        if not own and (not name.startswith(_STDLIB) or "site-packages" in name):
            return f"{name}, line {frame.lineno}"
    return ""
