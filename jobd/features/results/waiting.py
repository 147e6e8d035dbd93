"""Waits for something that may go on after its end: the end of a batch, or of a workflow."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from jobd.features.results.listener import Listener
from jobd.features.results.result import until
from jobd.jobs.client import Client
from jobd.jobs.transports import simulation

T = TypeVar("T")


def waited(
    client: Client, key: str, read: Callable[[], T | None], timeout: float | None
) -> T | None:
    """What *read* returns once the record *key* has ended; None if it does not in time.

    It has not where somebody lets it go on before this has read that it has ended.
    """
    end = until(timeout)
    found = read()
    if found is None and timeout != 0 and (world := simulation()) is not None:
        world.wait(lambda: read() is not None, timeout)
        return read()
    while found is None and time.monotonic() < end:
        with Listener.of(client).waiter(key) as waiter:
            if (found := read()) is None:  # it may have ended before the wait began
                waiter.wait(end)
                found = read()
    return found


async def awaited(
    client: Client, key: str, read: Callable[[], T | None], timeout: float | None
) -> T | None:
    """:func:`waited` for coroutines."""
    end = until(timeout)
    found = await asyncio.to_thread(read)
    if found is None and timeout != 0 and (world := simulation()) is not None:
        world.wait(lambda: read() is not None, timeout)
        return read()
    while found is None and time.monotonic() < end:
        with Listener.of(client).waiter(key) as waiter:
            waiting = waiter.future(asyncio.get_running_loop())
            if (found := await asyncio.to_thread(read)) is None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(None if timeout is None else end - time.monotonic()):
                        await waiting
                found = await asyncio.to_thread(read)
    return found
