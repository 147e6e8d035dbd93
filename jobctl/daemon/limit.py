"""A time limit for system calls that may never return.

Opening a file blocks if its network file system does not respond, or on a file system mounted by
the service user (FUSE), and no exception can be raised there. So a separate thread ends the process
after a timeout.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from jobctl.codes import Code

FILES = 10.0
"""Maximum seconds for reading files."""


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """If the block takes longer, print *what* and exit with :attr:`Code.TIMED_OUT`."""
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
