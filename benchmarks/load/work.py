"""What the jobs of all Python contenders do."""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks.load.tally import ran

PAYLOAD = "0123456789abcdef" * 640
"""The argument of the job with 10 KB of it."""

_MILLISECOND = 0.001


def empty() -> None:
    """Nothing but being counted."""
    ran()


def sleep() -> None:
    """One millisecond of waiting, as for a database."""
    time.sleep(_MILLISECOND)
    ran()


def cpu() -> None:
    """One millisecond of this thread's CPU time."""
    until = time.thread_time() + _MILLISECOND
    while time.thread_time() < until:
        pass
    ran()


def payload(data: str) -> None:
    """An argument of 10 KB, which has to be carried and decoded."""
    if len(data) != len(PAYLOAD):
        raise ValueError("the payload did not arrive whole")
    ran()


WORKLOADS: dict[str, Callable[..., None]] = {
    "empty": empty,
    "sleep": sleep,
    "cpu": cpu,
    "payload": payload,
}

ARGUMENTS: dict[str, tuple[str, ...]] = {"empty": (), "sleep": (), "cpu": (), "payload": (PAYLOAD,)}
