"""Sending of pushes to Redis from coroutines; the counterpart of ``enqueue.py`` on redis.asyncio.

A connection belongs to the event loop that has opened it. So every loop has a pool of its own,
which is closed when the loop shuts down its asynchronous generators, as ``asyncio.run`` does, and
forgotten with the loop. A forked process begins without any.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

import redis
from redis.asyncio import connection as library
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.sentinel import SentinelConnectionPool

from jobd.errors import RefusedError, UnavailableError
from jobd.store.conflict import Conflict
from jobd.store.connection import IDLE, PROOF
from jobd.store.enqueue import (
    NothingWrittenError,
    check,
    explained,
    is_missing_script,
    not_connected,
    packed_pushes,
    packed_schedule,
)
from jobd.store.keys import Keys
from jobd.store.protocol import Reply
from jobd.wire.attachments import AttachedPush

if TYPE_CHECKING:
    from jobd.graphs.plan import Plan
    from jobd.store.batches import Added
    from jobd.store.scripts import Script
    from jobd.wire.batches import Portion

MOST = 50
"""Most connections of one event loop; further pushes wait for one."""

_UNREACHABLE = (redis.ConnectionError, redis.TimeoutError, OSError)


class AsyncTransport:
    """Stores payloads, in one round trip per call, on any event loop.

    Args:
        client: whose server is used, with its settings.
        prefix: prefix of all keys.
    """

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._client = client
        self._keys = Keys(prefix)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}

    async def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        """Register the queues and append the payloads to them, in their order."""
        await self._send(packed_pushes(self._keys, queues), 1 + len(queues))

    async def schedule(self, due: list[tuple[float, bytes]]) -> None:
        """Add payloads to the schedule at their times (s)."""
        await self._send(packed_schedule(self._keys, due), 1)

    async def push(self, jobs: Sequence[AttachedPush], now: float) -> list[Conflict | None]:
        """Store jobs with attachments; for each, the job that has kept it out."""
        from jobd.store import attached  # not needed by applications without any

        return attached.conflicts(await self._call(*attached.packed(self._keys, jobs, now)))

    async def add(self, portion: Portion, now: float) -> Added:
        """Add to a batch, as :meth:`jobd.store.enqueue.Transport.add` does."""
        from jobd.store import batches  # not needed by applications without any

        call = batches.packed(self._keys, portion, now)
        try:
            return batches.added(await self._call(*call))
        except RefusedError:
            raise
        except UnavailableError:
            return batches.added(await self._call(*call))

    async def start(self, plan: Plan) -> None:
        """Store a workflow and push its first steps, unless there is one with its id."""
        from jobd.store.workflows import Storing, advancing

        storing = Storing(self._keys, plan)
        for packed, replies in storing.portions:
            await self._send(packed, replies)
        _, more = await self._call(storing.script, storing.call)
        while more:
            [more, _] = await self._call(*advancing(self._keys, plan.id))

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        if self._pid == os.getpid():
            pool = self._pools.pop(asyncio.get_running_loop(), None)
            if pool is not None:
                await pool.aclose()

    async def _call(self, script: Script, packed: bytes) -> Reply:
        try:
            [told] = await self._send(packed, 1)
        except RefusedError as error:
            if not is_missing_script(error):
                raise
            await self._send(script.load(), 1)
            [told] = await self._send(packed, 1)
        return told

    async def _send(self, packed: bytes, replies: int) -> list[object]:
        """Send *packed* and read the replies; see :class:`jobd.store.enqueue.Transport`."""
        for last in (False, True):
            try:
                return await self._pool.attempt(packed, replies)
            except NothingWrittenError as error:
                if last:
                    raise explained(self._client, error) from None
            except (redis.ResponseError, *_UNREACHABLE) as error:
                raise explained(self._client, error) from None
        raise AssertionError  # the last attempt returns or raises

    @property
    def _pool(self) -> _Pool:
        """The pool of the running loop."""
        if self._pid != os.getpid():  # its connections belong to the parent
            self._lock, self._pools, self._pid = threading.Lock(), {}, os.getpid()
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None or pool.closed:
            with self._lock:
                for other in [one for one in self._pools if one.is_closed()]:
                    del self._pools[other]
                pool = self._pools[loop] = _Pool(self._client)
        return pool


class Connection(Protocol):
    """The part of the client library's connections that is used; the library types little of it."""

    async def connect(self) -> None: ...
    async def disconnect(self, nowait: bool) -> None: ...
    async def send_command(self, name: str, *, check_health: bool) -> None: ...
    async def send_packed_command(self, command: list[bytes], check_health: bool) -> None: ...
    async def read_response(
        self, disable_decoding: bool = ..., timeout: float | None = ...
    ) -> object: ...


class _Pool:
    """The connections of one event loop."""

    def __init__(self, client: redis.Redis) -> None:
        self.closed = False
        self._source: Any = client.connection_pool
        self._idle: list[tuple[Connection, float]] = []
        self._room = asyncio.Semaphore(MOST)
        self._guard: AsyncGenerator[None, None] | None = None
        self._idle_limit: float = getattr(self._source, "idle_limit", IDLE)

    async def attempt(self, packed: bytes, replies: int) -> list[object]:
        async with self._room:
            try:
                connection = await self._take()
            except _UNREACHABLE as error:
                raise not_connected(error) from error
            try:
                await connection.send_packed_command([packed], check_health=False)
                answers = [await _answer(connection) for _ in range(replies)]
            except BaseException:
                # Replies may be outstanding, also after a cancellation.
                await _drop(connection)
                raise
            if self.closed:
                await _drop(connection)
            else:
                self._idle.append((connection, time.monotonic()))
        try:
            check(answers)
        except NothingWrittenError:
            await self._close_idle()
            raise
        return answers

    async def _take(self) -> Connection:
        """A connection; one that was idle for long is checked before it is used."""
        if self._guard is None:
            self._guard = self._guarding()
            await anext(self._guard)
        while self._idle:
            connection, since = self._idle.pop()
            if not 0 < self._idle_limit < time.monotonic() - since:
                return connection
            if await _alive(connection):
                return connection
            await _drop(connection)
        # Connecting is not cut short: what it has opened by then would not be closed.
        connecting = asyncio.ensure_future(self._connected())
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            connecting.add_done_callback(self._keep)
            raise

    async def _connected(self) -> Connection:
        connection = await self._made()
        try:
            await connection.connect()
        except BaseException:
            await _drop(connection)
            raise
        return connection

    def _keep(self, connecting: asyncio.Future[Connection]) -> None:
        if not connecting.cancelled() and connecting.exception() is None:
            self._idle.append((connecting.result(), time.monotonic()))

    async def _made(self) -> Connection:
        options = dict(self._source.connection_kwargs)
        if isinstance(self._source, SentinelConnectionPool):
            manager = self._source.sentinel_manager
            found = await asyncio.to_thread(manager.discover_master, self._source.service_name)
            options["host"], options["port"] = found
        kind = _kind(self._source.connection_class)
        known = _parameters(kind)
        return kind(
            **{name: value for name, value in options.items() if name in known},
            retry=Retry(NoBackoff(), 0),
        )

    async def aclose(self) -> None:
        self.closed = True
        if self._guard is not None:
            await self._guard.aclose()
        await self._close_idle()

    async def _guarding(self) -> AsyncGenerator[None, None]:
        """Closes the pool when the loop shuts down its asynchronous generators."""
        try:
            yield
        finally:
            self.closed = True
            await self._close_idle()

    async def _close_idle(self) -> None:
        idle, self._idle = self._idle, []
        for connection, _ in idle:
            await _drop(connection)


_INTERNAL = ("maint", "orig", "oss", "himport")
_FOREIGN = {"retry", "redis_connect_func", "parser_class", "event_dispatcher", "connection_pool"}
"""Options of the other kind of connections that these cannot use."""


def _kind(kind: type[object]) -> type[library.AbstractConnection]:
    """The class of connections that corresponds to one of the synchronous client."""
    if issubclass(kind, redis.UnixDomainSocketConnection):
        return library.UnixDomainSocketConnection
    return library.SSLConnection if issubclass(kind, redis.SSLConnection) else library.Connection


def _parameters(kind: type[object]) -> set[str]:
    names = {
        name
        for base in kind.__mro__
        if base is not object
        for name in inspect.signature(vars(base).get("__init__", object)).parameters
    }
    return {name for name in names if not name.startswith(_INTERNAL)} - _FOREIGN


async def _answer(connection: Connection) -> object:
    """The next reply, or the error that the server replied with."""
    try:
        return await connection.read_response(disable_decoding=True)
    except redis.ResponseError as error:
        return error


async def _alive(connection: Connection) -> bool:
    try:
        await connection.send_command("PING", check_health=False)
        await connection.read_response(timeout=PROOF)
    except redis.ResponseError:
        return True  # an error is a reply, too
    except _UNREACHABLE:
        return False
    return True


async def _drop(connection: Connection) -> None:
    with suppress(Exception):
        await connection.disconnect(nowait=True)
