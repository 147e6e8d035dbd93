"""Blocking claims: one connection per queue that waits in the server for the next job.

``BLMOVE`` moves a pushed job into a list of this worker's own, so that it is in one place or the
other at every moment; the server wakes exactly one of all idle workers anywhere, whoever pushed
it. The call that files it as in flight is sent right behind: the server runs it the moment that the
wait is over, which saves a round trip between a push and the start of its job.

A connection that cannot be opened leaves its queue to be polled. Each wait is shown on the
scoreboard until the fetcher has read what it brought.

Belongs to the fetcher's thread.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import redis

from jobd.runtime.ipc.scoreboard import Page
from jobd.runtime.process.wakeup import Bell
from jobd.store.inflight import InFlight
from jobd.store.pipeline import Closed, Wire
from jobd.store.protocol import pack
from jobd.worker.fetch.refusal import Refusal

BLOCK = 5.0
"""Seconds that one blocking claim waits in the server. A keeper relies on it: when this long has
passed, the server can no longer answer a claim of a dead worker (see keeper/recovery.py)."""

FILE_AT_MOST = 100
"""Sequence numbers set aside for one filing; the bound in file.lua."""

GRACE = 5.0
"""Seconds beyond that after which a silent connection is taken for dead."""

UNBLOCK_AGAIN = 0.02
"""Seconds between attempts to call a blocking claim back."""

LAST_WORDS = 0.1
"""Seconds in which the ends of all connections arrive, when the server dies and one has."""


class CannotBeCalledBack(Exception):
    """The server would not let this user call a blocking claim back (``CLIENT UNBLOCK``)."""


class Arrival(NamedTuple):
    """What a blocking claim brought: jobs that are in flight, numbered from *first*.

    *payloads* is None when the owner holds no lease any more, and empty when the queue has been
    paused meanwhile.
    """

    queue: str
    first: int
    payloads: list[bytes] | None


class _Wait:
    def __init__(self, number: int, queue: str, wire: Wire) -> None:
        self.number = number
        self.queue = queue
        self.wire = wire
        self.client_id = 0
        self.registered: int | None = None
        self.armed_at = 0.0
        self.first = 0


class Waits:
    """All blocking claims of one worker, and the bell that wakes its fetcher.

    Attributes:
        refusal: why some could not be begun.
    """

    def __init__(
        self,
        client: redis.Redis,
        inflight: InFlight,
        queues: Sequence[str],
        bell: Bell,
        page: Page,
    ) -> None:
        self._inflight = inflight
        self._page = page
        self.refusal = Refusal()
        self._refused: _Wait | None = None
        self._lost = False
        self._waits = [_Wait(number, name, Wire(client)) for number, name in enumerate(queues)]
        self._selector = selectors.DefaultSelector()
        self._bell = bell
        self._selector.register(bell, selectors.EVENT_READ)

    @property
    def armed(self) -> bool:
        """Whether any of them waits."""
        return any(wait.armed_at for wait in self._waits)

    def covers(self, paused: Collection[str]) -> bool:
        """Whether every queue that is not paused is waited on: then they are all empty."""
        return all(wait.armed_at or wait.queue in paused for wait in self._waits)

    def open(self, paused: Collection[str]) -> bool:
        """Connect for every queue that is not paused; False if that is not granted.

        Raises:
            CannotBeCalledBack: they must not be used.
        """
        return all(
            wait.registered is not None or wait.queue in paused or self._open(wait)
            for wait in self._waits
        )

    def arm(self, paused: Collection[str], numbers: Callable[[int], int]) -> None:
        """Wait on every queue that is not paused, as far as that is granted.

        Args:
            numbers: sets so many sequence numbers aside for what may arrive; returns the first.

        Raises:
            CannotBeCalledBack: they must not be used.
            redis.RedisError: a connection failed.
        """
        for wait in self._waits:
            if not (wait.armed_at or wait.registered is None or wait.wire.alive()):
                self._drop(wait)  # idle for long, and closed or forgotten meanwhile
        self.open(paused)
        for wait in self._waits:
            if wait.armed_at or wait.queue in paused or wait.registered is None:
                continue
            if wait is self._refused and self.refusal.active:
                continue
            wait.first = numbers(FILE_AT_MOST)
            self._send(wait)

    def disarm(self, command: Wire) -> list[Arrival]:
        """Call all of them back over the *command* connection; returns what arrived before."""
        waiting = [wait for wait in self._waits if wait.armed_at]
        arrivals: list[Arrival] = []
        with self._losing(arrivals):
            self._call_back(waiting, command)
            for wait in waiting:
                if arrival := self._arrival(wait):
                    arrivals.append(arrival)
        return arrivals

    @staticmethod
    def _call_back(waiting: list[_Wait], command: Wire) -> None:
        while waiting:
            command.send(b"".join(pack("CLIENT", "UNBLOCK", wait.client_id) for wait in waiting))
            # Nobody is unblocked when the answer is on its way, or when the server has not read
            # the claim yet: connections are not ordered among each other. Then it may block still.
            doubtful = [wait for wait in waiting if not command.read()]
            waiting = [wait for wait in doubtful if not wait.wire.readable(UNBLOCK_AGAIN)]

    def sleep(self, seconds: float) -> list[Arrival]:
        """Sleep until the bell rings, a job arrives or *seconds* have passed.

        A wait that brought nothing begins again: no claim is needed to know its queue as empty.

        Raises:
            redis.RedisError: a connection failed.
        """
        arrivals: list[Arrival] = []
        with self._losing(arrivals):
            for key, _ in self._selector.select(seconds):
                if isinstance(key.data, _Wait):
                    if not key.data.armed_at:
                        self._drop(key.data)  # the server has closed what it saw idle for long
                    elif arrival := self._arrival(key.data):
                        arrivals.append(arrival)
                    elif key.data is not self._refused:
                        self._send(key.data)
                else:
                    self._bell.silence()
            now = time.monotonic()
            for wait in self._waits:
                if wait.armed_at and now - wait.armed_at > BLOCK + GRACE:
                    raise redis.TimeoutError(f"no answer to BLMOVE on {wait.queue}")
        return arrivals

    @contextmanager
    def _losing(self, arrivals: list[Arrival]) -> Iterator[None]:
        """A failure in here means that nobody will see *arrivals* (but in Redis, later)."""
        try:
            yield
        except redis.RedisError:
            self._lost = self._lost or bool(arrivals)
            raise

    def close(self) -> bool:
        """Close the connections. What a claim delivered meanwhile stays in its list.

        Returns:
            Whether it is certain that nothing has been delivered that is not known here.
        """
        certain = not self._lost
        until = time.monotonic() + LAST_WORDS
        for wait in self._waits:
            if wait.armed_at:
                certain = self._brought_nothing(wait, until) and certain
            self._drop(wait)
            wait.armed_at = 0.0
            self._page.show_wait(wait.number, 0)
        self._lost = False
        return certain

    def _brought_nothing(self, wait: _Wait, until: float) -> bool:
        """Whether the server has ended this wait, by *until*, without having delivered anything."""
        try:
            if not wait.wire.readable(max(0.0, until - time.monotonic())):
                return False
        except redis.ConnectionError:
            return False  # it broke while the wait was sent, and part of that may have arrived
        try:
            _, payloads = self._answers(wait)
        except redis.RedisError:
            return not self._lost
        return bool(payloads == [])

    def _drop(self, wait: _Wait) -> None:
        # By its number: a connection that broke has closed itself, and knows it no more.
        if wait.registered is not None:
            self._selector.unregister(wait.registered)
            wait.registered = None
        wait.wire.close()

    def _open(self, wait: _Wait) -> bool:
        """Connect; False if that is not granted."""
        if self.refusal.active:
            return False
        try:
            wait.wire.connect()
            try:
                wait.client_id = wait.wire.ask("CLIENT", "ID")
                wait.wire.ask("CLIENT", "UNBLOCK", wait.client_id)
            except redis.ResponseError as error:
                wait.wire.close()
                raise CannotBeCalledBack(str(error)) from error
        except redis.RedisError as error:
            wait.wire.close()
            self._refuse(wait, error)
            return False
        wait.registered = wait.wire.fileno()
        self._selector.register(wait.registered, selectors.EVENT_READ, wait)
        return True

    def _refuse(self, wait: _Wait, error: redis.RedisError) -> None:
        self._refused = wait
        self.refusal.note(error)

    def _send(self, wait: _Wait) -> None:
        blocking = self._inflight.wait(wait.queue, BLOCK)
        # Before it is sent: if that fails, some of it may have been.
        wait.armed_at = time.monotonic()
        self._page.show_wait(wait.number, wait.first)
        wait.wire.send(blocking + self._inflight.file(wait.first, wait.queue))

    def _arrival(self, wait: _Wait) -> Arrival | None:
        """Read the answers to the wait and to the filing; None if nothing arrived."""
        delivered, payloads = self._answers(wait)
        if isinstance(delivered, redis.ResponseError):
            self._refuse(wait, delivered)
            delivered = None
        elif wait is self._refused:
            self._refused = None
            self.refusal.over()
        if delivered is None and payloads == []:
            return None
        return Arrival(wait.queue, wait.first, payloads)

    def _answers(self, wait: _Wait) -> tuple[bytes | redis.ResponseError | None, Any]:
        """What the wait has delivered, and what the filing has filed.

        If the connection breaks, what it has delivered may be lost to us; but not if the server
        ended it and had said nothing. For it answers a wait in the same turn of its loop as the
        push that has ended the wait: if it dies before that, whoever pushed has got no answer
        either, and knows that the job may not have been stored.
        """
        wait.armed_at = 0.0
        delivered: bytes | redis.ResponseError | None = None
        try:
            try:
                delivered = wait.wire.read()
            except redis.ResponseError as error:
                delivered = error
            return delivered, wait.wire.read()
        except redis.RedisError as error:
            known = isinstance(error, Closed | redis.ResponseError)
            if not known or isinstance(delivered, bytes):
                self._lost = True
            raise
        finally:
            self._page.show_wait(wait.number, 0)
