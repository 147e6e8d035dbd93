"""Turns: one at a time, in the order in which threads and coroutines of any loop ask for theirs.

The parts of a block are numbered, and go over different connections: one that is sent before the
answer of another may overtake it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future

from jobd.errors import ArgumentError


class Turns:
    """Gives turns. They do not nest.

    Example:
        >>> turns = Turns()
        >>> with turns.one():
        ...     turns.waits
        False
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Who has the turn, and who waits; of coroutines the thread of their loop.
        self._line: deque[tuple[Future[None], int | None]] = deque()

    @property
    def waits(self) -> bool:
        """Whether a coroutine of this thread has the turn or waits for it: its loop must go on, or
        that never ends."""
        here = threading.get_ident()
        with self._lock:
            return any(thread == here for _, thread in self._line)

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Block for the turn.

        Raises:
            ArgumentError: this would never end.
        """
        if self.waits:
            raise ArgumentError(
                "a push into a batch would have to wait for one of another task of this event "
                "loop: use async with, and await aperform_async and the like"
            )
        turn = self._asked(None)
        with self._given_back(turn, None):
            turn.result()
            yield

    @contextlib.asynccontextmanager
    async def aone(self) -> AsyncIterator[None]:
        """The same for coroutines, whose loop goes on."""
        here = threading.get_ident()
        turn = self._asked(here)
        with self._given_back(turn, here):
            if not turn.done():
                await asyncio.wrap_future(turn)
            yield

    def _asked(self, thread: int | None) -> Future[None]:
        turn: Future[None] = Future()
        with self._lock:
            self._line.append((turn, thread))
            if len(self._line) == 1:
                turn.set_result(None)
        return turn

    @contextlib.contextmanager
    def _given_back(self, turn: Future[None], thread: int | None) -> Iterator[None]:
        try:
            yield
        finally:
            with self._lock:
                # Also one that was never had: who waits may be cancelled.
                had = self._line[0][0] is turn
                self._line.remove((turn, thread))
                # One that was cancelled gives its turn back itself.
                if had and self._line and self._line[0][0].set_running_or_notify_cancel():
                    self._line[0][0].set_result(None)
