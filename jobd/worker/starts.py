"""Counts, for the queues that have an objective (setting ``slo``), the jobs that started and those
of them that started too late: more than so many seconds after they had been pushed to their queue.

A job thread counts each as it starts; every heartbeat sends what is new. Without the setting there
is no such object, and nothing is counted.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import redis

from jobd.ambient import clock
from jobd.settings.schema import Objective
from jobd.store.keys import Keys
from jobd.wire.json_value import UNREADABLE

if TYPE_CHECKING:
    from redis.typing import EncodableT, FieldT

TTL = 7 * 86_400
"""Seconds after which the totals are forgotten when no worker has an objective any more."""

SHORT = 8 * 3600
"""Seconds for which the counts of a minute, and of ten, are kept."""


class _Stamps(msgspec.Struct, gc=False):
    """The times of a payload: seconds, or milliseconds if they are whole numbers."""

    enqueued_at: float | int | None = None
    created_at: float | int | None = None


_read = msgspec.json.Decoder(_Stamps).decode


class Starts:
    """The counts of one worker.

    Args:
        objectives: queues, and the seconds within which their jobs are to start.
    """

    def __init__(self, objectives: Sequence[Objective]) -> None:
        self._limits = {one.queue: one.seconds for one in objectives}
        self._lock = threading.Lock()
        self._started: Counter[str] = Counter()
        self._late: Counter[str] = Counter()

    def note(self, queue: str, payload: bytes) -> None:
        """A job of *queue* starts."""
        limit = self._limits.get(queue)
        if limit is None:
            return
        late = _waited(payload) > limit
        with self._lock:
            self._started[queue] += 1
            self._late[queue] += late

    def send(self, client: redis.Redis, keys: Keys) -> None:
        """Add the new counts to the totals and to this minute and these ten; one round trip.

        Raises:
            redis.RedisError: the next call sends them again; what Redis had stored before the
                failure is counted twice.
        """
        with self._lock:
            started, self._started = self._started, Counter()
            late, self._late = self._late, Counter()
        try:
            self._send(client, keys, started, late)
        except redis.RedisError:
            with self._lock:
                self._started.update(started)
                self._late.update(late)
            raise

    def _send(
        self, client: redis.Redis, keys: Keys, started: Counter[str], late: Counter[str]
    ) -> None:
        now = clock.now()
        with client.pipeline(transaction=False) as pipe:
            told: dict[FieldT, EncodableT] = {
                f"{queue}|t": repr(limit) for queue, limit in self._limits.items()
            }
            told |= {f"{queue}|at": repr(now) for queue in self._limits}
            pipe.hset(keys.slo, mapping=told)
            pipe.expire(keys.slo, TTL)
            for counts, letter in ((started, "s"), (late, "l")):
                for queue, count in counts.items():
                    if count:
                        for key in (keys.slo, keys.slo_minute(now), keys.slo_ten_minutes(now)):
                            pipe.hincrby(key, f"{queue}|{letter}", count)
            if started:
                pipe.expire(keys.slo_minute(now), SHORT)
                pipe.expire(keys.slo_ten_minutes(now), SHORT)
            pipe.execute()


def _waited(payload: bytes) -> float:
    """Seconds since a job was pushed to its queue; 0.0 if it does not say when."""
    try:
        stamps = _read(payload)
    except UNREADABLE:
        return 0.0
    since = stamps.created_at if stamps.enqueued_at is None else stamps.enqueued_at
    if since is None:
        return 0.0
    return clock.now() - (since / 1000 if isinstance(since, int) else since)
