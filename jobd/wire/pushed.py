"""What a push returns where an event loop runs: the same, and ``await`` does it no harm.

A push is a plain call, and blocks. In a coroutine people write ``await`` before it by habit; the
job would be pushed, and then a TypeError would have them push it again.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Generator
from typing import Any

_warned = False
"""Whether this process has been told."""


class Jid(str):
    """The id of a job; awaited, the plain text that it is."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, str]:
        yield from ()
        _warn()
        return str(self)

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


class Jids(list[str | None]):
    """The ids of many jobs; awaited, the plain list that they are."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, list[str | None]]:
        yield from ()
        _warn()
        return list(self)

    def __reduce__(self) -> tuple[type[list[Any]], tuple[list[str | None]]]:
        return list, (list(self),)


TEXTS = (str, Jid)
LISTS = (list, Jids)
"""What our checks take for text and for a list: these two come back from JSON as they went in."""


def answer(jid: str) -> str:
    """*jid* for the caller of a push."""
    return Jid(jid) if _in_loop() else jid


def answers(jids: list[str | None]) -> list[str | None]:
    """*jids* for the caller of a push of many."""
    return Jids(jids) if _in_loop() else jids


def _in_loop() -> bool:
    # Who has not imported it has no loop, and shall not pay for it.
    asyncio = sys.modules.get("asyncio.events")
    return asyncio is not None and asyncio._get_running_loop() is not None


def _warn() -> None:
    global _warned
    if _warned:
        return
    _warned = True
    text = (
        "a push is no coroutine: it has blocked the event loop until Redis had the job. Leave out "
        "await, or call it by asyncio.to_thread"
    )
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    except RuntimeWarning:
        # Warnings are errors here; an error would hide that the job is pushed.
        logging.getLogger("jobd").warning(text)
