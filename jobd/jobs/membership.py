"""The batch whose block pushes are in: it gives each job its number, and the id made from it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Protocol

from jobd.jobs.transports import Around, Source, within
from jobd.wire.payload import Payload


class Enclosing(Around, Protocol):
    """What jobs are pushed into.

    Attributes:
        over: whether it takes no more.
    """

    over: bool

    def join(self, made: Payload) -> None:
        """Make a job a member; called once its payload is complete, and before it is encoded."""

    async def aroom(self) -> None:
        """Wait until another job can join without a round trip."""

    def admit(self, client: Source) -> None:
        """Raise ArgumentError unless *client* pushes to where this is."""


class _Membership:
    """Attributes:
    active: whether this process has ever had a block; otherwise pushes do not look.
    """

    def __init__(self) -> None:
        self.active = False
        self._enclosing: ContextVar[tuple[Enclosing, ...]] = ContextVar("jobd_batches", default=())

    @property
    def enclosing(self) -> Enclosing | None:
        """The innermost one here that is not over: a task may outlive the block that it began
        in."""
        if self.active:
            for each in reversed(self._enclosing.get()):
                if not each.over:
                    return each
        return None

    async def aroom(self) -> None:
        """Await, before a job joins, what else would stop the loop."""
        if (enclosing := self.enclosing) is not None:
            await enclosing.aroom()

    def join(self, made: Payload, client: Source) -> None:
        if (enclosing := self.enclosing) is not None:
            enclosing.admit(client)
            enclosing.join(made)

    @contextlib.contextmanager
    def inside(self, enclosing: Enclosing) -> Iterator[None]:
        """While the block runs, its pushes go into *enclosing*; those of other threads and tasks do
        not."""
        self.active = True
        token = self._enclosing.set(
            (*(each for each in self._enclosing.get() if not each.over), enclosing)
        )
        try:
            with within(enclosing):
                yield
        finally:
            self._enclosing.reset(token)


membership = _Membership()
"""That of this process."""
