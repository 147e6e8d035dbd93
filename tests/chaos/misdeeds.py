"""What the jobs of a chaos run do that they should not: raise, write and start, by name."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess

from jobd import Shutdown

# Text that wishes ill to what reads, writes and masks it

TEXTS: dict[str, str] = {
    "surrogate": "half a pair \ud800, and \udcff",
    "control": "\x1b[2J\x1b]0;title\x07 \x00 \x9b31m \u202e \u2028 \r\n level=error forged=yes",
    "format": "%s %n %(no)s {0} {no} redis://:secret@host/ password=",
    "long": "redis://user:" * 80_000,  # one megabyte
}
"""By name."""

VALID = tuple(name for name in TEXTS if name != "surrogate")
"""Names of those that JSON can carry."""


class Unwritable:
    def __str__(self) -> str:
        raise RuntimeError("I have no text")

    __repr__ = __str__


# What nobody should raise


class _Rude(Exception):
    def __str__(self) -> str:
        raise self

    __repr__ = __str__


class _Leaving(Exception):
    def __str__(self) -> str:
        sys.exit(3)

    __repr__ = __str__


class _Mute(Exception):
    def __str__(self) -> str:
        return None  # type: ignore[return-value]


def _endless() -> BaseException:
    return _endless()


RAISED: dict[str, Callable[[], BaseException]] = {
    "SystemExit": lambda: SystemExit(0),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "Shutdown": Shutdown,
    "BaseException": lambda: BaseException("of all"),
    "BaseExceptionGroup": lambda: BaseExceptionGroup("two", [Shutdown(), KeyboardInterrupt()]),
    "StopIteration": StopIteration,
    "CancelledError": asyncio.CancelledError,
    "RecursionError": _endless,
    "MemoryError": MemoryError,
    "rude": _Rude,
    "leaving": _Leaving,
    "mute": _Mute,
    **{f"text {name}": lambda text=text: RuntimeError(text) for name, text in TEXTS.items()},  # type: ignore[misc]
}
"""What makes each, by name."""


# Processes

_PATIENCE = 30.0
"""Seconds until a child counts as one that does not end."""


def _exit_code(child: BaseProcess) -> int | None:
    child.join(_PATIENCE)
    if child.exitcode is None:
        child.kill()
    return child.exitcode


def _fork() -> bool:
    pid = os.fork()
    if not pid:
        time.sleep(1)
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def _exit() -> bool:
    pid = os.fork()
    if not pid:
        sys.exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3


def _terminate() -> bool:
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    child.start()
    child.terminate()
    return _exit_code(child) == -signal.SIGTERM


def _pool() -> bool:
    with multiprocessing.get_context("fork").Pool(2) as pool:
        return pool.map(abs, range(-3, 0)) == [3, 2, 1]


def _forkserver() -> bool:
    child = multiprocessing.get_context("forkserver").Process(target=time.sleep, args=(0,))
    child.start()
    return _exit_code(child) == 0


STARTED: dict[str, Callable[[], bool]] = {
    "fork": _fork,
    "exit": _exit,
    "terminate": _terminate,
    "pool": _pool,
    "forkserver": _forkserver,
}
"""Ways to start a process, by name. Each returns whether all went as it should."""
