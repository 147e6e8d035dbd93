"""Where the screen gets its data: calls of the data API, in threads beside it.

Threads of Textual's workers are waited for when the program ends, up to the time limit of Redis.
These are not: ``q`` and ^C take effect at once, whatever Redis does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

from jobd.api.entry import Api

T = TypeVar("T")


class Source:
    """The data API, and a thread for what is looked at and one for what may take long, so that the
    screen goes on while jobs are searched or changed.

    Attributes:
        undo: the id of the last deletion, which can be undone.

    Example:
        >>> source = Source(api)  # doctest: +SKIP
        >>> await source.look(lambda api: api.counters())  # doctest: +SKIP
    """

    def __init__(self, api: Api) -> None:
        self.api = api
        self.undo = ""
        self._looks, self._acts = _Thread("looks"), _Thread("acts")

    async def look(self, read: Callable[[Api], T]) -> T:
        """What *read* returns, or raises: a reading for the screen, which ends soon."""
        return await self._looks.run(lambda: read(self.api))

    async def act(self, do: Callable[[Api], T]) -> T:
        """What *do* returns, or raises: an action, or a step of a search."""
        return await self._acts.run(lambda: do(self.api))


class _Thread:
    """One thread, which makes calls one after the other."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        Thread(target=self._work, name=name, daemon=True).start()

    async def run(self, call: Callable[[], T]) -> T:
        """What *call* returns, or raises, in the thread."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls.put(partial(_answer, call, future))
        return await future

    def _work(self) -> None:
        with suppress(RuntimeError):  # the loop has ended, and the program with it
            while True:
                self._calls.get()()


def _answer(call: Callable[[], T], future: asyncio.Future[T]) -> None:
    if future.cancelled():
        return
    loop = future.get_loop()
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
        loop.call_soon_threadsafe(_fail, future, error)
    else:
        loop.call_soon_threadsafe(_fulfil, future, result)


def _fulfil(future: asyncio.Future[T], result: T) -> None:
    if not future.done():  # somebody still waits
        future.set_result(result)


def _fail(future: asyncio.Future[T], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
