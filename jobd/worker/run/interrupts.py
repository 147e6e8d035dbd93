"""Exceptions that are raised in the threads of jobs from outside.

CPython keeps one pending exception for each thread: a second one replaces the first, and taking one
back takes back whatever is there. So everything that raises in a thread does it here: the request
to cancel a job goes before its time limit, and that before the stop of the worker.

A thread inside a call into C gets the exception when that call returns.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from typing import NamedTuple

from jobd.errors import JobCancelled, JobTimeout, Shutdown

_RANKS: dict[type[BaseException], int] = {JobCancelled: 3, JobTimeout: 2, Shutdown: 1}

DELIVERED = 5.0
"""Seconds after which an exception no longer keeps one of a lower rank out: a thread that still
runs has swallowed it, or would get the other one no sooner."""


class _Raised(NamedTuple):
    kind: type[BaseException]
    at: float


_lock = threading.Lock()
_raised: dict[int, _Raised] = {}


def interrupt(ident: int, kind: type[BaseException]) -> bool:
    """Raise *kind* in a thread, unless one of a higher rank may still be pending there; returns
    whether it does."""
    now = time.monotonic()
    with _lock:
        last = _raised.get(ident)
        if last is not None and _RANKS[last.kind] > _RANKS[kind] and now - last.at < DELIVERED:
            return False
        _raised[ident] = _Raised(kind, now)
        _set(ident, kind)
        return True


def take_back(ident: int, kind: type[BaseException]) -> None:
    """Take back *kind*, if it was the last one raised in that thread: it may still be pending."""
    with _lock:
        if (last := _raised.get(ident)) is not None and last.kind is kind:
            del _raised[ident]
            _set(ident, None)


def _set(ident: int, kind: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(ident), ctypes.py_object(kind) if kind else None
    )


def _renew() -> None:
    global _lock
    _lock = threading.Lock()  # a job has forked, perhaps while another thread held it


os.register_at_fork(after_in_child=_renew)
