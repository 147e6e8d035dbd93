"""The watch: one connection that is notified of jobs in any number of queues.

Blocking claims (blocking.py) need a connection per queue, and a command per queue to cancel them.
With many queues the worker instead checks with one command (``EXISTS``) whether any queue has a
job, with ``CLIENT TRACKING`` on: the server then sends one invalidation per changed queue. Nothing
is delivered; the fetcher claims as usual.

Every idle worker is notified of a push. Each checks again after a short random delay, and most find
that the job is gone; so a push costs one message and one check per idle worker. Checks are spaced,
however often queues change, so the watch never costs more than polling at that interval.

Used by the fetcher thread only.
"""

from __future__ import annotations

import math
import random
import selectors
import time
from collections.abc import Collection, Sequence

import redis

from jobd.runtime.process.wakeup import Bell
from jobd.store.inflight import InFlight
from jobd.store.pipeline import Wire
from jobd.store.protocol import pack
from jobd.worker.fetch.blocking import BLOCK, GRACE
from jobd.worker.fetch.refused_connections import Refusal

SPREAD = 0.01
"""Seconds within which idle workers check after a change. Those that found a job last time and are
not busy check at once."""

SPACING = 0.02
"""Seconds between checks after a change, if the last one found nothing."""


class Watch:
    """All queues of one worker, and the bell that wakes its fetcher.

    Attributes:
        armed: whether it watches.
        refusal: why it cannot.
    """

    def __init__(
        self,
        client: redis.Redis,
        inflight: InFlight,
        queues: Sequence[str],
        bell: Bell,
    ) -> None:
        self._inflight = inflight
        self._names = {inflight.place(queue).encode(): queue for queue in queues}
        self._wire = Wire(client)
        self._registered: int | None = None
        self._answers = False
        self.refusal = Refusal()
        self._selector = selectors.DefaultSelector()
        self._bell = bell
        self._selector.register(bell, selectors.EVENT_READ)
        self.armed = False
        # Queues that may have jobs; queues that the server has been asked about.
        self._unknown = set(queues)
        self._asked: set[str] = set()
        self._paused: frozenset[str] = frozenset()
        self._found = False
        self._looked_at = 0.0
        self._look_at = 0.0
        # Whether a change has woken it; whether the last check then found a job, and if not, when.
        self._woken = False
        self._won = True
        self._lost_at = 0.0
        self._busy = False

    def covers(self, _paused: Collection[str]) -> bool:
        """Whether all queues are empty and the next job will be noticed."""
        return self.armed and not self._found

    def arm(self, paused: Collection[str], *, busy: bool) -> None:
        """Watch every queue that is not paused.

        Args:
            busy: jobs are running here, so idle workers may go first.
        """
        if self._registered is None and not self._open():
            return
        self._busy = busy
        if self.covers(()) and self._paused == paused:
            return
        if self._wire.readable(0.0):
            self._hear()  # changes made by our own claims must not wake us
        if self._registered is not None:
            self._paused = frozenset(paused)
            self._found = False
            self.armed = True
            self._plan()

    def disarm(self) -> None:
        """Stop watching."""
        self._found = self.armed = False

    def sleep(self, seconds: float) -> None:
        """Sleep until the bell rings, a queue has a job or *seconds* have passed.

        Raises:
            redis.RedisError: the server does not answer.
        """
        until = time.monotonic() + seconds
        awake = False
        while not awake:
            due = min(until, self._look_at if self.armed and not self._found else math.inf)
            for key, _ in self._selector.select(max(0.0, due - time.monotonic())):
                if key.data is self._wire:
                    awake = self._hear() or awake
                else:
                    self._bell.silence()
                    awake = True
            now = time.monotonic()
            if self.armed and not self._found and now >= self._look_at:
                self._look(now)
                awake = awake or not self.armed  # the connection has ended
            awake = awake or now >= until

    def close(self) -> None:
        """Close the connection."""
        if self._registered is not None:
            self._selector.unregister(self._registered)
            self._registered = None
        self._wire.close()
        self._unknown = set(self._names.values())
        self._asked = set()
        self._found = self.armed = False

    def _open(self) -> bool:
        """Connect, unless that was refused recently."""
        if self.refusal.active:
            return False
        try:
            self._wire.connect()
            # With RESP3 the server sends invalidations on the connection itself; RESP2 needs
            # another one for them.
            self._wire.send(pack("HELLO", 3) + pack("CLIENT", "TRACKING", "ON"))
            self._wire.read()
            self._wire.read()
        except redis.RedisError as error:
            self._wire.close()
            self.refusal.note(error)
            return False
        self._answers = False
        self._registered = self._wire.fileno()
        self._selector.register(self._registered, selectors.EVENT_READ, self._wire)
        return True

    def _plan(self, wait: float = 0.0) -> None:
        """Schedule the next check in *wait* seconds, if there is anything to check."""
        if self._asked:
            return  # the answer comes first
        if self._unknown - self._paused:
            self._look_at = time.monotonic() + wait
        else:
            self._look_at = self._looked_at + BLOCK

    def _look(self, now: float) -> None:
        if self._asked:
            raise redis.ConnectionError("no answer to EXISTS")
        if not self._unknown - self._paused:
            # Nothing has been received for a while: check that the connection still works.
            self._unknown = set(self._names.values())
        self._looked_at = now
        if asked := self._unknown - self._paused:
            self._asked = asked
            self._look_at = now + GRACE
            try:
                self._wire.send(self._inflight.look(asked))
            except redis.RedisError as error:
                self._fail(error)
        else:
            self._look_at = now + BLOCK

    def _hear(self) -> bool:
        """Read what the server has sent; returns whether a check has just found a job."""
        found = self._found
        while True:
            try:
                said = self._wire.read()
            except redis.RedisError as error:
                self._fail(error)
                return True
            if isinstance(said, int):
                self._answered(said)
            else:
                self._changed(said)
            if not self._wire.readable(0.0):
                return self._found and not found

    def _fail(self, error: redis.RedisError) -> None:
        """Close after an error: the server closes idle connections, or a check was refused.
        Nothing is lost; if the server is down, the main connection will notice."""
        self.close()
        if isinstance(error, redis.ResponseError) or not self._answers:
            self.refusal.note(error)

    def _changed(self, said: tuple[bytes, list[bytes] | None]) -> None:
        """Note changed queues; the keys are None if the whole database has changed."""
        _, keys = said
        names = self._names.values() if keys is None else map(self._names.get, keys)
        self._unknown |= {name for name in names if name is not None}
        self._woken = self._woken or self.covers(())
        if not self._asked:
            self._look_at = min(self._look_at, time.monotonic() + self._pause())

    def _answered(self, jobs: int) -> None:
        asked, self._asked = self._asked, set()
        self._answers = True
        self.refusal.over()
        if jobs:
            self._found = self.armed
        else:
            self._unknown -= asked
        if self._woken:
            self._woken, self._won = False, jobs > 0
            if not jobs:
                self._lost_at = time.monotonic()
        self._plan(self._pause())

    def _pause(self) -> float:
        """Seconds from a change to the next check."""
        spread = 0.0 if self._won and not self._busy else random.uniform(0.0, SPREAD)
        return max(spread, self._lost_at + SPACING - time.monotonic())
