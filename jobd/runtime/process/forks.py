"""Copies: the processes that a job, or the application at its import, forks from one of ours.

``os.fork``, ``multiprocessing`` and libraries make them. A copy has one thread and all that the
process had: its signal handlers, its line to the master, its memory. None of that is its own, so
the first thing in it is to give it up: it takes signals as any process does, holds no descriptor
that would make the master believe that the original lives on, and has a name of its own. And when
the function of the application that has forked it comes to its end, it leaves, rather than going on
as a second worker.

What the master and the zygote fork are no copies: they do it inside :func:`ours`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from signal import Signals

from jobd.runtime.process.leaving import leave

copied = False
"""Whether this process is a copy."""

_guarded = False
_taken: Set[Signals] = frozenset()
_to_give_up: list[Callable[[], object]] = []
_masks = threading.local()


def guard(*give_up: Callable[[], object], taken: Set[Signals] = frozenset()) -> None:
    """From now on what is forked from this process, other than inside :func:`ours`, is a copy.

    Args:
        taken: signals with a handler of ours.
        give_up: called in it, in this order, to give up what is this process's; an error of one
            does not keep the others from it.
    """
    global _guarded, _taken
    _guarded, _taken = True, taken
    _to_give_up[:] = give_up


def on_copy(give_up: Callable[[], object]) -> None:
    """Have a copy of this process call *give_up* too, before all others."""
    _to_give_up.insert(0, give_up)


@contextmanager
def ours() -> Iterator[None]:
    """Fork inside this what is no copy. It is not guarded before it says so itself."""
    global _guarded
    before, _guarded = _guarded, False
    parent = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == parent:
            _guarded = before


def end(error: BaseException | None = None) -> None:
    """Leave if this is a copy, whose function has returned or has raised *error*: with exit code 0,
    that of a SystemExit, or a traceback and 1."""
    if copied:
        code = 1
        try:
            code = _exit_code(error)
        finally:
            leave(code)


def _exit_code(error: BaseException | None) -> int:
    if error is None:
        return 0
    if not isinstance(error, SystemExit):
        sys.excepthook(type(error), error, error.__traceback__)
        return 1
    if error.code is None or isinstance(error.code, int):
        return (error.code or 0) & 0xFF
    print(error.code, file=sys.stderr)
    return 1


def _hold_signals() -> None:
    # A signal that is meant for the copy must not reach it before it has given up our handlers.
    if _guarded:
        _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, _taken)


def _let_signals_through() -> None:
    before = _masks.__dict__.pop("before", None)
    if before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _give_up() -> None:
    global copied, _guarded
    if _guarded:
        copied, _guarded = True, False
        for give_up in _to_give_up:
            try:
                give_up()
            except Exception:  # noqa: BLE001 - of what is broken already there is less to give up
                continue
        _to_give_up.clear()
    _let_signals_through()


os.register_at_fork(
    before=_hold_signals, after_in_parent=_let_signals_through, after_in_child=_give_up
)
