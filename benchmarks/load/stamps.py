"""Stamps: words of shared memory in which jobs note when and where they run."""

from __future__ import annotations

import mmap
import os
import time
from functools import cache
from pathlib import Path

VARIABLE = "JOBD_BENCH_STAMPS"
"""Environment variable with the path of the file."""

FREE = 8
"""The first word that no other program of a benchmark uses."""

_SIZE = 8 * 65536


def make(path: Path) -> memoryview:
    """A new file of zeros, as unsigned 64-bit words."""
    path.write_bytes(bytes(_SIZE))
    return _open(path)


@cache
def here() -> memoryview:
    """The words, in a job's process."""
    return _open(Path(os.environ[VARIABLE]))


def is_set(words: memoryview, at: int) -> bool:
    """Whether a job has noted something there."""
    return bool(words[at])


def start(at: int) -> None:
    """The job of all Python contenders that notes when it started."""
    here()[at] = time.monotonic_ns()


def _open(path: Path) -> memoryview:
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), _SIZE)).cast("Q")
