"""A limit for what the kernel may never return from.

A file on a network file system that does not answer, or on one that the service user has mounted
(FUSE), holds whoever opens it, and no exception can be raised there. So a thread waits beside, and
ends the process.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from jobctl.codes import Code

FILES = 10.0
"""Seconds that files may take to be read."""


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """End the process with :attr:`Code.TIMED_OUT`, and say *what*, if the block takes longer."""
    timer = threading.Timer(seconds, _expire, [f"jobctl: {what} (after {seconds:g} s)\n"])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _expire(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
    os._exit(Code.TIMED_OUT)
