"""Pushes of tools whose clients are coroutines: all in one event loop, to which their connections
belong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import cache
from typing import Any


def run(awaitable: Coroutine[Any, Any, object]) -> None:
    """Run it to its end."""
    loop().run_until_complete(awaitable)


@cache
def loop() -> asyncio.AbstractEventLoop:
    """The loop of this process."""
    made = asyncio.new_event_loop()
    asyncio.set_event_loop(made)
    return made


async def push(one: Callable[[], Awaitable[object]], n: int, at_once: int = 1) -> None:
    """Await *one* so many times, in so many coroutines at the same time."""

    async def some(count: int) -> None:
        for _ in range(count):
            await one()

    await asyncio.gather(*(some(n // at_once + (at < n % at_once)) for at in range(at_once)))
