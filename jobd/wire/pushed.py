"""Return values of a push under a running event loop: job ids that can also be awaited.

A push is an ordinary blocking call. In a coroutine it is easily called with ``await``; without
these classes the job would be pushed, and the TypeError would suggest to push it again.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Generator
from typing import Any

_warned = False
"""Whether this process has warned already."""


class Jid(str):
    """The id of a job; awaiting it returns the plain string."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, str]:
        yield from ()
        _warn()
        return str(self)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


class Jids(list[str | None]):
    """The ids of many jobs; awaiting them returns the plain list."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, list[str | None]]:
        yield from ()
        _warn()
        return list(self)

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[str | None]]]:
        return list, (list(self),)


TEXTS = (str, Jid)
LISTS = (list, Jids)
"""The types that checks accept as text and as a list: both survive a round trip through JSON."""


def answer(jid: str) -> str:
    """*jid*, awaitable if an event loop is running."""
    return Jid(jid) if _in_loop() else jid


def answers(jids: list[str | None]) -> list[str | None]:
    """*jids*, awaitable if an event loop is running."""
    return Jids(jids) if _in_loop() else jids


def _in_loop() -> bool:
    # A process that has not imported asyncio has no loop, and should not pay for the import.
    asyncio = sys.modules.get("asyncio.events")
    return asyncio is not None and asyncio._get_running_loop() is not None


def _warn() -> None:
    global _warned
    if _warned:
        return
    _warned = True
    text = (
        "a push is not a coroutine: it blocked the event loop until Redis had the job. Omit await, "
        "or call it with asyncio.to_thread"
    )
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    except RuntimeWarning:
        # Warnings are errors here, but an error would hide that the job was pushed.
        logging.getLogger("jobd").warning(text)
