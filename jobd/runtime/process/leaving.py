"""The last acts of a process of ours, which nothing that the application has done may keep it from.

``sys``, ``os`` and ``signal`` belong to the application once that is loaded: a stream without
``flush`` as ``sys.stdout``, another ``os._exit``. So whatever the end needs is taken hold of here,
before, and what the application may still do at the end (its exit handlers, its streams) has a
limit of time.
"""

from __future__ import annotations

import atexit
import logging
import signal
import sys
from _thread import start_new_thread as _start_thread
from collections.abc import Callable
from os import _exit
from signal import setitimer as _set_timer
from signal import signal as _handle
from time import sleep as _sleep
from typing import Any, NoReturn

LIMIT = 3.0
"""Seconds for the exit handlers of the application, and for what is left in its streams."""

_BACKSTOP = 1.0  # s after it; the alarm does not reach a main thread that waits for a lock in C

_run_handlers = atexit._run_exitfuncs
_clear_handlers = atexit._clear


def leave(code: int, last_words: Callable[[], None] | None = None) -> NoReturn:
    """End the process, which must be in its main thread.

    Args:
        last_words: code of the application that may run before; its errors are passed over.
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
        except BaseException:  # noqa: BLE001 - a terminal that has gone, or what is no stream at all
            continue


def _limit(code: int) -> None:
    def late(*_: object) -> NoReturn:
        _exit(code)

    def watch() -> NoReturn:
        _sleep(LIMIT + _BACKSTOP)
        _exit(code)

    # Its handler may raise. Not SIG_IGN, which programs started from here would inherit.
    _handle(signal.SIGINT, lambda *_: None)
    _handle(signal.SIGALRM, late)
    _set_timer(signal.ITIMER_REAL, LIMIT)
    try:
        _start_thread(watch, ())
    except RuntimeError:
        pass  # the limit of threads; the alarm is there


def forget_exit_handlers() -> None:
    """In a new process: those that are registered are its parent's, but for the one of logging."""
    _clear_handlers()
    atexit.register(logging.shutdown)


def run_exit_handlers() -> None:
    """Run what the application has registered with :mod:`atexit`, and end what its jobs have
    started with :mod:`multiprocessing` and left behind."""
    util: Any = sys.modules.get("multiprocessing.util")
    if util is not None:
        # It would wait for processes that nobody ends any more, and comes last instead.
        atexit.unregister(util._exit_function)
    _run_handlers()
    if util is not None:
        for child in sys.modules["multiprocessing"].active_children():
            child.terminate()
        util._exit_function()
