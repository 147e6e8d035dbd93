"""The tally: how the harness knows that a job has run, at next to no cost for the job.

A file in shared memory with two words a job thread: its process id and how many jobs it ran. No
thread shares its words with another, so that nothing is locked and nothing is lost; the harness
adds them up. Every contender's jobs use it, each in its own process, so that all pay the same.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from pathlib import Path

VARIABLE = "JOBD_BENCH_TALLY"
"""Environment variable with the path of the file."""

_CELLS = 16384
_SIZE = 16 * (_CELLS + 1)


class Tally:
    """Read by the harness; see :func:`ran` for the other side."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(_SIZE))
        # The first word is the number of the next free cell.
        self._map, self._words = _open(path)
        self._words[0] = 1

    def total(self) -> int:
        """Jobs that have run."""
        return sum(self._words[3 : 2 * self._words[0] + 1 : 2])

    def processes(self) -> set[int]:
        """Processes that have run a job."""
        last = self._words[0]
        return {self._words[2 * cell] for cell in range(1, last) if self._words[2 * cell + 1]}

    def close(self) -> None:
        self._words.release()
        self._map.close()
        self.path.unlink(missing_ok=True)


def _open(path: Path) -> tuple[mmap.mmap, memoryview]:
    with path.open("r+b") as file:
        mapped = mmap.mmap(file.fileno(), _SIZE)
    return mapped, memoryview(mapped).cast("Q")


_local = threading.local()
_lock = threading.Lock()
_shared: list[memoryview] = []


def _claim() -> int:
    """A new cell, for this thread; returns the index of its counter."""
    path = Path(os.environ[VARIABLE])
    with _lock, path.open("r+b") as file:
        if not _shared:
            _shared.append(_open(path)[1])
        words = _shared[0]
        fcntl.flock(file, fcntl.LOCK_EX)
        cell = words[0]
        if cell >= _CELLS:
            raise RuntimeError("the tally is full: a contender made a thread for every job")
        words[2 * cell] = os.getpid()
        words[0] = cell + 1
    return 2 * cell + 1


def ran() -> None:
    """Count one job; called by it."""
    try:
        at, words = _local.at
    except AttributeError:
        at = _claim()
        words = _shared[0]
        _local.at = at, words
    words[at] += 1
