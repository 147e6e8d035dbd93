"""``Mode``: a test mode as a context manager and a decorator, and which are open now.

A mode holds for the whole process, because test clients and live servers run the application in
other threads. The innermost one counts.
"""

from __future__ import annotations

import atexit
import inspect
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Generic, TypeVar

from jobd.ambient.block import around
from jobd.errors import ArgumentError
from jobd.jobs.transports import Replacement, replaced
from jobd.testing.modes.jobs import Jobs

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., object])

_MACHINERY = ("jobd.", "jobd_pytest.", "contextlib.", "unittest.case.", "_pytest.", "pluggy.")
"""Modules between a mode and the code that asked for it."""


class Opened:
    """One entry into a mode.

    Attributes:
        name: of the mode.
        place: where it was entered: file, line and function.
        jobs: what is pushed in it, if that is collected.
    """

    def __init__(self, name: str, place: str, jobs: Jobs | None) -> None:
        self.name, self.place, self.jobs = name, place, jobs
        self._replaced: AbstractContextManager[None] | None = None

    def open(self, replacement: Replacement) -> None:
        self._replaced = replaced(replacement)
        with _guard:
            self._replaced.__enter__()
            _open.append(self)

    def close(self) -> None:
        """Leave the mode; nothing happens if that has been done."""
        with _guard:
            if self in _open and self._replaced is not None:
                _open.remove(self)
                self._replaced.__exit__(None, None, None)

    def __str__(self) -> str:
        return f"jobd.testing.{self.name}(), entered at {self.place}"


_open: list[Opened] = []
_guard = threading.RLock()


def open_modes() -> list[Opened]:
    """The modes that have been entered and not left, the innermost last."""
    return list(_open)


def collected() -> Jobs:
    """The jobs that the innermost mode has collected, for code under ``@fake()``.

    Raises:
        ArgumentError: no mode collects pushes now.
    """
    innermost = _open[-1:]
    if not innermost or innermost[0].jobs is None:
        now = innermost[0] if innermost else "no mode of jobd.testing"
        raise ArgumentError(f"nothing collects pushes: in force is {now}; use fake() or inline()")
    return innermost[0].jobs


class Mode(Generic[T]):
    """What ``fake()``, ``inline()``, ``refuse()`` and ``off()`` return: a context manager and a
    decorator of functions, also ``async`` ones and generators.

    Args:
        name: of the mode.
        begin: what takes the place of Redis, and what ``with`` gives; called with the place of each
            entry.
    """

    def __init__(self, name: str, begin: Callable[[str], tuple[Replacement, T]]) -> None:
        self.name = name
        self._begin = begin
        self._made = caller()
        self._entries: list[Opened] = []
        self._used = False

    def __enter__(self) -> T:
        return self.enter(caller())

    def enter(self, place: str) -> T:
        """Enter the mode, on behalf of what *place* says."""
        self._used = True
        replacement, given = self._begin(place)
        opened = Opened(self.name, place, given if isinstance(given, Jobs) else None)
        opened.open(replacement)
        self._entries.append(opened)
        return given

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self._entries.pop().close()

    def __call__(self, function: F) -> F:
        """Decorate *function*: the mode holds while it runs. For what was pushed, see
        :func:`collected`.

        Raises:
            ArgumentError: it is not a function.
        """
        self._used = True
        if isinstance(function, type) or not callable(function):
            raise ArgumentError(
                f"{self.name}() decorates functions, not {function!r}: decorate the test methods, "
                "or use JobdTestMixin"
            )
        return around(function, self._again)

    def _again(self, function: Callable[..., object]) -> _Entry:
        """For one call of a decorated function."""
        code = inspect.unwrap(function).__code__
        place = f"{code.co_filename}:{code.co_firstlineno} in {function.__qualname__}"
        return _Entry(self.name, self._begin, place)

    def __del__(self) -> None:
        if not getattr(self, "_used", True):
            warnings.warn(
                f"jobd.testing.{self.name}() was called at {self._made} and had no effect: use it "
                "in a with statement, or as a decorator",
                RuntimeWarning,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        return f"<jobd.testing.{self.name}()>"


class _Entry(AbstractContextManager[None]):
    """The entry of one call of a decorated function, which may run in several threads at once."""

    def __init__(
        self, name: str, begin: Callable[[str], tuple[Replacement, object]], place: str
    ) -> None:
        self._mode: Mode[object] = Mode(name, begin)
        self._place = place

    def __enter__(self) -> None:
        self._mode.enter(self._place)

    def __exit__(self, *_: object) -> None:
        self._mode.__exit__()


def caller() -> str:
    """The code that uses jobd here: file, line and function."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and f"{frame.f_globals.get('__name__')}.".startswith(_MACHINERY):
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    code = frame.f_code
    return f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}"


@atexit.register
def _left_open() -> None:
    for opened in open_modes():
        text = f"never left: {opened}; use it in a with statement"
        warnings.warn(text, RuntimeWarning, stacklevel=1)
