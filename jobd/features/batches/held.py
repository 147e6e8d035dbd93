"""The transports of pushes in the block of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from jobd.errors import ArgumentError
from jobd.wire.attachments import AttachedPush

if TYPE_CHECKING:
    from jobd.graphs.plan import Plan
    from jobd.jobs.transports import AsyncTransport, Transport
    from jobd.store.conflict import Conflict


def no_workflows() -> ArgumentError:
    """The error of a workflow where a job is wanted."""
    return ArgumentError(
        "a workflow cannot be a member or a callback of a batch: start it outside of the block, or "
        "in a job"
    )


class Holds(Protocol):
    """What the transports need of a block. Those that hold say whether they have: not once it is
    over."""

    def hold_queued(self, queues: Mapping[str, list[bytes]]) -> bool: ...
    def hold_scheduled(self, due: list[tuple[float, bytes]]) -> bool: ...
    def hold_attached(self, jobs: Sequence[AttachedPush]) -> bool: ...
    def flush_full(self) -> None: ...
    async def aflush_full(self) -> None: ...
    def holder(self, key: str) -> str | None: ...


class Held:
    """The transport of pushes in a block.

    Args:
        inner: takes them once the block is over: whoever has begun a push in it may end it later.
    """

    def __init__(self, block: Holds, inner: Transport) -> None:
        self._block, self._inner = block, inner

    def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        if self._block.hold_queued(queues):
            self._block.flush_full()
        else:
            self._inner.enqueue(queues)

    def schedule(self, due: list[tuple[float, bytes]]) -> None:
        if self._block.hold_scheduled(due):
            self._block.flush_full()
        else:
            self._inner.schedule(due)

    def push(self, jobs: Sequence[AttachedPush], now: float) -> list[Conflict | None]:
        if not self._block.hold_attached(jobs):
            return self._inner.push(jobs, now)
        self._block.flush_full()
        return [None] * len(jobs)

    def start(self, _plan: Plan) -> None:
        raise no_workflows()

    def holder(self, key: str) -> str | None:
        return self._block.holder(key)


class AsyncHeld:
    """The same for pushes from coroutines."""

    def __init__(self, block: Holds, inner: AsyncTransport) -> None:
        self._block, self._inner = block, inner

    async def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        if self._block.hold_queued(queues):
            await self._block.aflush_full()
        else:
            await self._inner.enqueue(queues)

    async def schedule(self, due: list[tuple[float, bytes]]) -> None:
        if self._block.hold_scheduled(due):
            await self._block.aflush_full()
        else:
            await self._inner.schedule(due)

    async def push(self, jobs: Sequence[AttachedPush], now: float) -> list[Conflict | None]:
        if not self._block.hold_attached(jobs):
            return await self._inner.push(jobs, now)
        await self._block.aflush_full()
        return [None] * len(jobs)

    async def start(self, _plan: Plan) -> None:
        raise no_workflows()
