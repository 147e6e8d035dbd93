"""What the jobs of all Python contenders do."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

from benchmarks.load.tally import ran

PAYLOAD = "0123456789abcdef" * 640
"""The argument of the job with 10 KB of it."""

_MILLISECOND = 0.001

LONG = 0.1
"""Seconds of a job that waits for a slow service."""

VARIABLE = "JOBD_BENCH_NAP"
"""Environment variable with :data:`NAP`, for the processes of the run."""

NAP = float(os.environ.get(VARIABLE, "10"))
"""Seconds for which each of many coroutines sleeps."""


def empty() -> None:
    """Nothing but being counted."""
    ran()


def sleep() -> None:
    """One millisecond of waiting, as for a database."""
    time.sleep(_MILLISECOND)
    ran()


def long() -> None:
    """A tenth of a second of waiting, as for a slow service."""
    time.sleep(LONG)
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


def numbered(_number: int) -> None:
    """An empty job whose calls differ."""
    ran()


async def empty_coroutine() -> None:
    """An ``async def`` job: nothing but being counted."""
    ran()


async def nap() -> None:
    """A coroutine that sleeps, as many of which as a tool can are to sleep at the same time."""
    await asyncio.sleep(NAP)
    ran()


FUNCTIONS: dict[str, Callable[..., None]] = {
    "empty": empty,
    "sleep": sleep,
    "long": long,
    "cpu": cpu,
    "payload": payload,
}
"""What tools without coroutines can run, too."""

COROUTINES: dict[str, Callable[[], Coroutine[None, None, None]]] = {
    "async": empty_coroutine,
    "nap": nap,
}

WORKLOADS: dict[str, Callable[..., Any]] = {**FUNCTIONS, **COROUTINES}

ARGUMENTS: dict[str, tuple[str, ...]] = {
    name: (PAYLOAD,) if name == "payload" else () for name in WORKLOADS
}
