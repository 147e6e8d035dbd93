"""Return values of a push under a running event loop: job ids that can also be awaited.

A push is an ordinary blocking call. In a coroutine it is easily called with ``await``; without
these classes the job would be pushed, and the TypeError would suggest to push it again.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Generator

_warned = False
"""Whether this process has warned already."""


class Jid(str):
    """The id of a job; awaiting it returns the plain string."""

    __slots__ = ()

    def __await__(self) -> Generator[object, None, str]:
        yield from ()
        _warn()
        return str(self)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


class Jids(list[str | None]):
    """The ids of many jobs; awaiting them returns the plain list."""

    __slots__ = ()

    def __await__(self) -> Generator[object, None, list[str | None]]:
        yield from ()
        _warn()
        return list(self)

    def __reduce__(self) -> tuple[type[list[object]], tuple[list[str | None]]]:
        return list, (list(self),)


TEXTS = (str, Jid)
LISTS = (list, Jids)
"""The types that checks accept as text and as a list: both survive a round trip through JSON."""


LONG = 0.05
"""Seconds after which a push that blocks an event loop is worth a warning."""


def answer(jid: str, began: float) -> str:
    """*jid*, awaitable if an event loop is running; *began* is when the push began (monotonic
    s)."""
    if not _in_loop():
        return jid
    _warn_if_long(began)
    return Jid(jid)


def answers(jids: list[str | None], began: float) -> list[str | None]:
    """The same for many."""
    if not _in_loop():
        return jids
    _warn_if_long(began)
    return Jids(jids)


def _in_loop() -> bool:
    # A process that has not imported asyncio has no loop, and should not pay for the import.
    asyncio = sys.modules.get("asyncio.events")
    return asyncio is not None and asyncio._get_running_loop() is not None


def _warn() -> None:
    global _warned
    if _warned:
        return
    _warned = True
    _say(
        "a push is not a coroutine: it blocked the event loop until Redis had the job. Use await "
        "aperform_async, aperform_in, aperform_at, aperform_bulk or apush, or omit await",
        4,
    )


def _warn_if_long(began: float) -> None:
    if time.monotonic() - began > LONG:
        # The same text each time, so that Python shows it once for each place.
        _say(
            "a push blocked the event loop for more than 50 ms; use await aperform_async, "
            "aperform_in, aperform_at, aperform_bulk or apush",
            _frames_of_ours(),
        )


def _frames_of_ours() -> int:
    """The stack level of the code that pushes, seen from `_say`."""
    level, frame = 3, sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("jobd."):
        level, frame = level + 1, frame.f_back
    return level


def _say(text: str, level: int) -> None:
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=level)
    except RuntimeWarning:
        # Warnings are errors here, but an error would hide that the job was pushed.
        import logging

        logging.getLogger("jobd").warning(text)
