"""The listener: hears for all waits of a process when a job has ended.

One thread and one connection subscribe to a channel for each job that is waited for. Whoever waits
registers first and reads the record then, so that no end falls between; the record is also read
when the subscription is confirmed, after every reconnect, and now and then: a message only makes it
faster. When nobody waits any more, the thread ends and the connection is closed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self, cast
from weakref import WeakKeyDictionary

import redis

from jobd.features.results.record import GONE, ended
from jobd.jobs.client import Client
from jobd.runtime.process.wakeup import Bell
from jobd.store.pipeline import Wire
from jobd.store.protocol import pack

_log = logging.getLogger("jobd.results")
_NOT_LISTENING = "cannot listen for results, so they are polled: %s"
_FAILED = "listening for results failed"

READ_AGAIN = 30.0
"""Seconds between readings of all records that are waited for."""

LINGER = 5.0
"""Seconds without a wait after which the thread ends."""

PAUSE = 0.5
"""Seconds between attempts to connect."""

BATCH = 100
"""Channels, or records, in one round trip."""

Ended = tuple[str, bytes]
"""State and detail of a job that has ended."""


class Waiter:
    """One wait; a context manager that ends it."""

    def __init__(self, listener: Listener, key: str) -> None:
        self._listener = listener
        self.key = key
        self._told = threading.Event()
        self._found: Ended | None = None
        self._future: asyncio.Future[Ended] | None = None

    def wait(self, until: float) -> Ended | None:
        """Block until the job has ended, or until that monotonic time."""
        while self._found is None and (left := until - time.monotonic()) > 0:
            self._told.wait(min(left, threading.TIMEOUT_MAX))
        return self._found

    def future(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Ended]:
        """The same, to be awaited in *loop*."""
        self._future = loop.create_future()
        return self._future

    def tell(self, found: Ended) -> None:
        """Called by the listener, perhaps more than once."""
        self._found = found
        self._told.set()
        if (future := self._future) is not None:
            with suppress(RuntimeError):  # its loop is closed
                future.get_loop().call_soon_threadsafe(_resolve, future, found)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._listener.leave(self)


def _resolve(future: asyncio.Future[Ended], found: Ended) -> None:
    if not future.done():
        future.set_result(found)


_listeners: WeakKeyDictionary[Client, Listener] = WeakKeyDictionary()
_lock = threading.Lock()


class Listener:
    """All waits of this process for jobs of one installation."""

    def __init__(self, client: Client) -> None:
        self._redis = client.redis
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._waiters: dict[str, set[Waiter]] = {}
        self._bell: Bell | None = None  # of the running thread

    @classmethod
    def of(cls, client: Client) -> Listener:
        """The one for *client*; another one in a forked process, which has no thread."""
        with _lock:
            known = _listeners.get(client)
            other = known is None or known._pid != os.getpid() or known._redis is not client.redis
            if known is None or other:
                known = _listeners[client] = cls(client)
            return known

    def waiter(self, key: str) -> Waiter:
        """Begin to wait for the record *key*."""
        waiter = Waiter(self, key)
        with self._lock:
            self._waiters.setdefault(key, set()).add(waiter)
            if self._bell is None:
                bell, name = Bell(), "jobd-results"
                try:
                    threading.Thread(target=self._run, args=[bell], name=name, daemon=True).start()
                except BaseException:
                    bell.close()
                    self._waiters[key].discard(waiter)
                    raise
                self._bell = bell
            self._bell.ring()
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """End a wait."""
        with self._lock:
            waiters = self._waiters.get(waiter.key, set())
            waiters.discard(waiter)
            if not waiters:
                self._waiters.pop(waiter.key, None)

    def _run(self, bell: Bell) -> None:
        """Listen until nobody has waited for some time."""
        idle_since = time.monotonic()
        while True:
            wire = None
            try:
                wire = Wire(self._redis)
                wire.connect()
                idle_since = self._listen(wire, bell, idle_since)
            except redis.RedisError as error:
                # No connection, or no permission to subscribe: then this is a poll.
                _log.debug(_NOT_LISTENING, error)
                with suppress(redis.RedisError, RuntimeError):
                    self._read(list(self._waiters))
            except Exception:  # noqa: BLE001 - whoever waits must not wait for ever; logged
                _log.exception(_FAILED)
            if wire is not None:
                wire.close()
            with self._lock:
                if not self._waiters and time.monotonic() - idle_since >= LINGER:
                    self._bell = None
                    bell.close()
                    return
            time.sleep(PAUSE)

    def _listen(self, wire: Wire, bell: Bell, idle_since: float) -> float:
        """Listen on one connection until nobody waits; returns since when that is.

        Raises:
            redis.RedisError: the connection was lost, or the records cannot be read.
        """
        subscribed: set[str] = set()
        read_at = time.monotonic() + READ_AGAIN
        while True:
            now = time.monotonic()
            with self._lock:
                wanted = set(self._waiters)
            if wanted:
                idle_since = now
            elif now - idle_since >= LINGER:
                return idle_since
            self._change(wire, "SUBSCRIBE", wanted - subscribed)
            # Many waits come and go; what is heard in vain costs less than to unsubscribe each.
            if len(subscribed - wanted) >= BATCH or not wanted:
                self._change(wire, "UNSUBSCRIBE", subscribed - wanted)
                subscribed &= wanted
            subscribed |= wanted
            if now >= read_at:
                self._read(wanted)
                read_at = now + READ_AGAIN
            if wire.readable(max(0.0, min(LINGER, read_at - now)), bell):
                self._hear(wire)
            bell.silence()

    @staticmethod
    def _change(wire: Wire, command: str, keys: Iterable[str]) -> None:
        names = sorted(keys)
        for first in range(0, len(names), BATCH):
            wire.send(pack(command, *names[first : first + BATCH]))

    def _hear(self, wire: Wire) -> None:
        """Use everything that has arrived."""
        confirmed: list[str] = []
        while wire.readable(0.0):
            message = cast("list[bytes]", wire.read())
            kind, key, what = message[0], message[1].decode(), message[2]
            if kind == b"subscribe":
                confirmed.append(key)
            elif kind == b"message":
                state, has_detail, detail = what.partition(b" ")
                if has_detail:
                    self._tell(key, state.decode(), detail)
                else:
                    confirmed.append(key)
        self._read(confirmed)

    def _read(self, keys: Iterable[str]) -> None:
        """Read the records, and tell who waits for one that has ended."""
        names = list(keys)
        for first in range(0, len(names), BATCH):
            part = names[first : first + BATCH]
            with self._redis.pipeline(transaction=False) as pipe:
                for key in part:
                    pipe.hmget(key, ["state", "detail"])
                records = pipe.execute()
            for key, (state, detail) in zip(part, records, strict=True):
                word = GONE if state is None else state.decode(errors="replace")
                if ended(word) or word == GONE:
                    self._tell(key, word, detail or b"")

    def _tell(self, key: str, state: str, detail: bytes) -> None:
        with self._lock:
            waiters = list(self._waiters.get(key, ()))
        for waiter in waiters:
            waiter.tell((state, detail))
