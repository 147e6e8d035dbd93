"""The exit of a process, which the application must not be able to prevent.

The application may have changed ``sys``, ``os`` and ``signal``: a ``sys.stdout`` without ``flush``,
another ``os._exit``. So the functions needed are imported here beforehand, and code of the
application that runs at exit (its exit handlers, its streams) has a time limit.
"""

from __future__ import annotations

import atexit
import signal
import sys
from _thread import start_new_thread as _start_thread
from collections.abc import Callable
from os import _exit
from signal import setitimer as _set_timer
from signal import signal as _handle
from time import sleep as _sleep
from typing import NoReturn

LIMIT = 3.0
"""Seconds for the application's exit handlers and for flushing its streams."""

_BACKSTOP = 1.0  # s more; the alarm does not interrupt a main thread that waits for a lock in C

_run_handlers = atexit._run_exitfuncs
_clear_handlers = atexit._clear


def leave(code: int, last_words: Callable[[], None] | None = None) -> NoReturn:
    """Exit the process; must be called in its main thread.

    Args:
        last_words: code of the application to run before; its errors are ignored.
    """
    try:
        _limit(code)
        if last_words is not None:
            last_words()
    finally:
        try:
            _flush()
        finally:
            _exit(code)


def _flush() -> None:
    # The application may have replaced either, and still have text in the original.
    for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
        try:
            getattr(sys, name).flush()
        except BaseException:  # noqa: BLE001 - a closed terminal, or not a stream at all
            continue


def _limit(code: int) -> None:
    def late(*_: object) -> NoReturn:
        _exit(code)

    def watch() -> NoReturn:
        _sleep(LIMIT + _BACKSTOP)
        _exit(code)

    # The existing handler may raise. Not SIG_IGN, which child processes would inherit.
    _handle(signal.SIGINT, lambda *_: None)
    _handle(signal.SIGALRM, late)
    _set_timer(signal.ITIMER_REAL, LIMIT)
    try:
        _start_thread(watch, ())
    except RuntimeError:
        pass  # thread limit reached; the alarm still works


def forget_exit_handlers() -> None:
    """In a new process, unregister the exit handlers of its parent, except that of logging."""
    _clear_handlers()
    if (logging := sys.modules.get("logging")) is not None:
        atexit.register(logging.shutdown)


def run_exit_handlers() -> None:
    """Run the application's :mod:`atexit` handlers, and terminate remaining processes that its jobs
    started with :mod:`multiprocessing`."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        # It would wait for processes that are not terminated yet, so it is called last.
        atexit.unregister(util._exit_function)
    _run_handlers()
    if util is not None:
        for child in sys.modules["multiprocessing"].active_children():
            child.terminate()
        util._exit_function()
