"""Listening to what happens to jobs, as it happens: the other end of :mod:`jobd.worker.tail`."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import takewhile
from math import inf
from typing import Any

import redis
from redis.client import PubSub

from jobd.ambient import clock
from jobd.api.queues.queues import Queue, summaries
from jobd.api.session import Session
from jobd.store import control
from jobd.store.control import TAIL_EVERY, Look
from jobd.store.trouble import unavailable
from jobd.wire import tail
from jobd.wire.tail import Event, Report

SILENT = 3 * TAIL_EVERY
"""Seconds without a sign of the server after which the connection is taken for dead."""

QUEUES = 50
"""Most queues that are looked at for pushes."""

HEAD = 20
"""Jobs of each that are looked at, the newest."""

_LISTED = 1000
"""Most queues that are listed."""

_AT_ONCE = 1000
"""Reports that are returned together."""


class Tail:
    """What workers report, from the first :meth:`wait` until :meth:`close`.

    Attributes:
        processes: how many worker processes have been told that somebody listens.
    """

    def __init__(self, session: Session) -> None:
        self._redis = session.redis
        number = control.database(self._redis)
        self._workers = control.channel(session.keys, number)
        self._channel = control.tail_channel(session.keys, number)
        self._listener: Any = None
        self._tell_at = self._heard_at = -inf
        self.processes = 0

    def wait(self, seconds: float) -> list[Report]:
        """The next reports; none if none arrives within so many seconds.

        Raises:
            UnavailableError: Redis does not answer, or refuses; the next call connects again, and
                has missed what was reported meanwhile.
        """
        try:
            if self._listener is None:
                self._subscribe()
            self._tell()
            found: list[Report] = []
            left = seconds
            while len(found) < _AT_ONCE and (said := self._listener.get_message(timeout=left)):
                left = 0.0
                self._heard_at = time.monotonic()
                if said["type"] == "message" and (report := tail.read(said["data"])) is not None:
                    found.append(report)
            if not found and time.monotonic() - self._heard_at > SILENT + seconds:
                raise redis.TimeoutError("the connection is silent")
        except redis.RedisError as error:
            self.close()
            raise unavailable(self._redis, error) from None
        return found

    def close(self) -> None:
        """Listen no longer."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def _subscribe(self) -> None:
        self._listener = PubSub(self._redis.connection_pool)
        self._listener.subscribe(self._channel)
        if self._listener.get_message(timeout=SILENT) is None:
            raise redis.TimeoutError("no answer to SUBSCRIBE")
        self._heard_at = time.monotonic()
        self._tell_at = -inf

    def _tell(self) -> None:
        """Tell the workers that somebody listens, from time to time."""
        now = time.monotonic()
        if now >= self._tell_at:
            self.processes = self._redis.publish(self._workers, control.message(Look.TAIL))
            self._listener.ping()
            self._tell_at = now + TAIL_EVERY


class Pushes:
    """What comes to the heads of the queues, seen by looking at them again and again. A job that a
    worker claims between two looks is not seen.

    Args:
        queue: the only queue to look at; None for all, at most :data:`QUEUES`.

    Attributes:
        unwatched: how many queues there are beyond that, at least.
    """

    def __init__(self, session: Session, queue: str | None = None) -> None:
        self._session = session
        self._queue = queue
        self._known: dict[str, frozenset[int]] | None = None
        self._sizes: dict[str, int] = {}
        self.unwatched = 0

    def look(self) -> tuple[list[Event], int]:
        """The jobs that have come since the last call, oldest first, and how many more there were
        at least; none at the first call. Cost: one script for each 250 queues, and one for each
        queue that has jobs.

        Raises:
            UnavailableError: Redis does not answer, or refuses.
        """
        now, events, left_out = clock.now(), list[Event](), 0
        before, known, sizes = self._known, dict[str, frozenset[int]](), self._look_at_sizes()
        for name, size in sizes.items():
            jobs = self._head(name) if size else []
            known[name] = frozenset(map(hash, jobs))
            if before is None:
                continue
            new = list(takewhile(_not_in(before.get(name, frozenset())), jobs))
            events += (tail.event(now, "pushed", name, raw) for raw in reversed(new))
            if len(new) == len(jobs):  # the last one that was seen is further down
                left_out += max(0, size - self._sizes.get(name, 0) - len(new))
        self._known, self._sizes = known, sizes
        return events, left_out

    def _look_at_sizes(self) -> dict[str, int]:
        if self._queue is not None:
            return {self._queue: Queue(self._queue, self._session).size}
        found = summaries(self._session, _LISTED)
        self.unwatched = max(0, len(found) - QUEUES)
        return {each.name: each.size for each in found[:QUEUES]}

    def _head(self, name: str) -> list[bytes]:
        """The newest jobs of a queue, the newest first."""
        page = Queue(name, self._session).page(0, HEAD, newest_first=True)
        return [job.value for job in page]


def _not_in(known: frozenset[int]) -> Callable[[bytes], bool]:
    return lambda raw: hash(raw) not in known
