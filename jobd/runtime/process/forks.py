"""Copies: processes that a job, or the application at its import, forks from a process of jobd.

They are made by ``os.fork``, ``multiprocessing`` and libraries. A copy has one thread and inherits
the signal handlers, the channel to the master and the memory of the process. It must give these up
first: it restores the default signal handlers, closes descriptors that would make the master
believe that the original is still alive, and changes its title. When the function of the
application that forked it returns, it exits instead of continuing as a second worker.

Processes forked by the master and the zygote are not copies: they are forked inside :func:`ours`.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from signal import Signals
from types import MethodType

from jobd.runtime.process.leaving import leave

copied = False
"""Whether this process is a copy."""

_guarded = False
_taken: Set[Signals] = frozenset()
_to_give_up: list[Callable[[], object]] = []
_to_give_up_if_alive: list[weakref.WeakMethod[Callable[..., object]]] = []
_masks = threading.local()


def guard(*give_up: Callable[[], object], taken: Set[Signals] = frozenset()) -> None:
    """Treat processes forked from this one from now on, except inside :func:`ours`, as copies.

    Args:
        taken: signals with a handler of jobd.
        give_up: called in the copy, in this order, to give up inherited resources; errors are
            ignored.
    """
    global _guarded, _taken
    _guarded, _taken = True, taken
    _to_give_up[:] = give_up


def on_copy(give_up: Callable[[], object]) -> None:
    """Let copies of this process also call *give_up*, before all others. A method is forgotten with
    its object."""
    if isinstance(give_up, MethodType):
        method: Callable[..., object] = give_up
        _to_give_up_if_alive.append(weakref.WeakMethod(method, _to_give_up_if_alive.remove))
    else:
        _to_give_up.insert(0, give_up)


@contextmanager
def ours() -> Iterator[None]:
    """Context in which forked processes are not copies. They are not guarded until they call
    :func:`guard`."""
    global _guarded
    before, _guarded = _guarded, False
    parent = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == parent:
            _guarded = before


def end(error: BaseException | None = None) -> None:
    """Exit if this is a copy, whose function has returned or raised *error*: with exit code 0, that
    of a SystemExit, or a traceback and 1."""
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
    # A signal to the copy must not arrive before it has given up jobd's handlers.
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
        alive = [method for one in _to_give_up_if_alive[::-1] if (method := one())]
        for give_up in [*alive, *_to_give_up]:
            try:
                give_up()
            except Exception:  # noqa: BLE001 - it is broken already
                continue
        _to_give_up.clear()
        _to_give_up_if_alive.clear()
    _let_signals_through()


os.register_at_fork(
    before=_hold_signals, after_in_parent=_let_signals_through, after_in_child=_give_up
)
