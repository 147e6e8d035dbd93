"""Blocking claims: one connection per queue that waits in the server for the next job.

``BLMOVE`` atomically moves a pushed job into a list that belongs to this worker; the server wakes
exactly one of all idle workers. The call that files the job as in flight is pipelined behind it:
the server runs it as soon as the wait ends, which saves a round trip between push and start.

If a connection cannot be opened, its queue is polled. Each wait is shown on the scoreboard until
the fetcher has read its result.

Used by the fetcher thread only.
"""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import redis

from jobd.runtime.ipc.scoreboard import Page
from jobd.runtime.process.wakeup import Bell
from jobd.store.inflight import InFlight
from jobd.store.pipeline import Closed, Wire
from jobd.store.protocol import pack
from jobd.worker.fetch.refused_connections import Refusal

BLOCK = 5.0
"""Seconds that one blocking claim waits in the server. Keepers rely on it: after this time the
server can no longer answer a claim of a dead worker (see keeper/recovery.py)."""

FILE_AT_MOST = 100
"""Sequence numbers reserved for one filing; the limit in file.lua."""

GRACE = 5.0
"""Seconds beyond BLOCK after which a silent connection is considered dead."""

UNBLOCK_AGAIN = 0.02
"""Seconds between attempts to cancel a blocking claim."""

LAST_WORDS = 0.1
"""Seconds to wait for the other connections to close when the server dies and one has closed."""


class CannotBeCalledBack(Exception):
    """This user may not cancel a blocking claim (``CLIENT UNBLOCK``)."""


class Arrival(NamedTuple):
    """The result of a blocking claim: jobs that are in flight, numbered from *first*.

    *payloads* is None if the owner no longer holds a lease, and empty if the queue has been paused
    in the meantime.
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
        refusal: why some could not be started.
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
        """Whether any claim is waiting."""
        return any(wait.armed_at for wait in self._waits)

    def covers(self, paused: Collection[str]) -> bool:
        """Whether there is a wait on every queue that is not paused: then all are empty."""
        return all(wait.armed_at or wait.queue in paused for wait in self._waits)

    def open(self, paused: Collection[str]) -> bool:
        """Connect for every queue that is not paused; False if that is refused.

        Raises:
            CannotBeCalledBack: blocking claims must not be used.
        """
        return all(
            wait.registered is not None or wait.queue in paused or self._open(wait)
            for wait in self._waits
        )

    def arm(self, paused: Collection[str], numbers: Callable[[int], int]) -> None:
        """Wait on every queue that is not paused and for which a connection is allowed.

        Args:
            numbers: reserves that many sequence numbers; returns the first.

        Raises:
            CannotBeCalledBack: blocking claims must not be used.
            redis.RedisError: a connection failed.
        """
        for wait in self._waits:
            if not (wait.armed_at or wait.registered is None or wait.wire.alive()):
                self._drop(wait)  # closed by the server or lost while it was idle
        self.open(paused)
        for wait in self._waits:
            if wait.armed_at or wait.queue in paused or wait.registered is None:
                continue
            if wait is self._refused and self.refusal.active:
                continue
            wait.first = numbers(FILE_AT_MOST)
            self._send(wait)

    def disarm(self, command: Wire) -> list[Arrival]:
        """Cancel all claims over the *command* connection; returns what arrived before."""
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
            # UNBLOCK has no effect if the answer is on its way, or if the server has not read the
            # claim yet (there is no order between connections); then the claim may still block.
            doubtful = [wait for wait in waiting if not command.read()]
            waiting = [wait for wait in doubtful if not wait.wire.readable(UNBLOCK_AGAIN)]

    def sleep(self, seconds: float) -> list[Arrival]:
        """Sleep until the bell rings, a job arrives or *seconds* have passed.

        A wait that timed out starts again: no claim is needed to know that its queue is empty.

        Raises:
            redis.RedisError: a connection failed.
        """
        arrivals: list[Arrival] = []
        with self._losing(arrivals):
            for key, _ in self._selector.select(seconds):
                if isinstance(key.data, _Wait):
                    if not key.data.armed_at:
                        self._drop(key.data)  # the server has closed an idle connection
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
        """If the block fails, *arrivals* are lost to the caller (Redis still has them)."""
        try:
            yield
        except redis.RedisError:
            self._lost = self._lost or bool(arrivals)
            raise

    def close(self) -> bool:
        """Close the connections. Jobs that a claim has delivered in the meantime stay in its list.

        Returns:
            Whether it is certain that there are no such jobs.
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
        """Whether the server ended this wait by *until* without delivering anything."""
        try:
            if not wait.wire.readable(max(0.0, until - time.monotonic())):
                return False
        except redis.ConnectionError:
            return False  # it broke during the send, and the server may have received part of it
        try:
            _, payloads = self._answers(wait)
        except redis.RedisError:
            return not self._lost
        return bool(payloads == [])

    def _drop(self, wait: _Wait) -> None:
        # By its number: a broken connection has closed itself and no longer knows it.
        if wait.registered is not None:
            self._selector.unregister(wait.registered)
            wait.registered = None
        wait.wire.close()

    def _open(self, wait: _Wait) -> bool:
        """Connect; False if that is refused."""
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
        # Set before sending: a failed send may have been received in part.
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

    def _answers(
        self, wait: _Wait
    ) -> tuple[bytes | redis.ResponseError | None, list[bytes] | None]:
        """The answers to the wait (BLMOVE) and to the filing.

        If the connection breaks, a delivered job may be unknown to us; but not if the server
        closed it without an answer. It answers a wait in the same iteration of its event loop as
        the push that ended the wait: if it dies before, the pushing client got no answer either
        and knows that the job may not have been stored.
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
