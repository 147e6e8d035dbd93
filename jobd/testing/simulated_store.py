"""What is in the place of Redis in a world: a store in memory, and the way of pushes to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import redis

from jobd.graphs.plan import Plan
from jobd.jobs import transports
from jobd.store.batches import Added
from jobd.store.conflict import Conflict
from jobd.store.enqueue import Transport
from jobd.testing.simulated_time import Time
from jobd.wire.attachments import AttachedPush
from jobd.wire.batches import Portion


class Store(Protocol):
    """Where a world keeps its jobs."""

    client: redis.Redis
    on_message: Callable[[bytes, bytes], None]

    def cut_off(self, thread: int) -> None:
        """Refuse what that thread sends; 0: nothing."""

    def moved(self, micros: int) -> None:
        """The time has moved by so many microseconds."""


class Memory:
    """The store of every world but those of jobd's own tests."""

    def __init__(self, time: Time) -> None:
        from jobd.testing.memory.connection import connect
        from jobd.testing.memory.server import Server

        self._server = Server(lambda: time.micros)
        self.client = connect(self._server)

    @property
    def on_message(self) -> Callable[[bytes, bytes], None]:
        return self._server.on_message

    @on_message.setter
    def on_message(self, heard: Callable[[bytes, bytes], None]) -> None:
        self._server.on_message = heard

    def cut_off(self, thread: int) -> None:
        self._server.dead_thread = thread

    def moved(self, micros: int) -> None:
        pass


class Replacement:
    """Takes the place of Redis for all clients of the process."""

    wait: Callable[[Callable[[], bool], float | None], None]

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._transports: dict[str, Transport] = {}

    def redis(self, _client: transports.Source) -> redis.Redis:
        return self._client

    def transport(self, client: transports.Source) -> Transport:
        made = self._transports.get(client.prefix)
        if made is None:
            made = self._transports[client.prefix] = Transport(self._client, client.prefix)
        return made

    def atransport(self, client: transports.Source) -> Async:
        return Async(self.transport(client))


class Async:
    """The same for coroutines: nothing has to be waited for."""

    def __init__(self, inner: Transport) -> None:
        self._inner = inner

    async def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        self._inner.enqueue(queues)

    async def schedule(self, due: list[tuple[float, bytes]]) -> None:
        self._inner.schedule(due)

    async def push(self, jobs: Sequence[AttachedPush], now: float) -> list[Conflict | None]:
        return self._inner.push(jobs, now)

    async def start(self, plan: Plan) -> None:
        self._inner.start(plan)

    async def add(self, portion: Portion, now: float) -> Added:
        return self._inner.add(portion, now)
