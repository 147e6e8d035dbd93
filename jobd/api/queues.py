"""The queues and the jobs that wait in them."""

from __future__ import annotations

import time
from dataclasses import dataclass

import redis as redis_py

from jobd.api.records import Record
from jobd.redis.keys import Keys


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue.

    Attributes:
        size: jobs that wait.
        latency: seconds that the oldest of them has waited; 0.0 for an empty queue.
        paused: no worker takes jobs from it.
    """

    name: str
    size: int
    latency: float
    paused: bool


def queues(redis: redis_py.Redis, keys: Keys, now: float | None = None) -> list[Queue]:
    """All known queues by name, in two round trips."""
    now = time.time() if now is None else now
    with redis.pipeline(transaction=False) as pipe:
        pipe.smembers(keys.queues)
        pipe.smembers(keys.paused)
        known, paused = pipe.execute()
        names = sorted(name.decode() for name in known)
        for name in names:
            pipe.llen(keys.queue(name))
            pipe.lindex(keys.queue(name), -1)
        answers = pipe.execute()
    return [
        Queue(
            name=name,
            size=size,
            latency=Record.read(oldest).latency(now) if oldest is not None else 0.0,
            paused=name.encode() in paused,
        )
        for name, size, oldest in zip(names, answers[::2], answers[1::2], strict=True)
    ]


def queued(
    redis: redis_py.Redis, keys: Keys, name: str, *, start: int = 0, count: int = 50
) -> list[Record]:
    """*count* jobs of queue *name* from place *start* on, next to run first."""
    with redis.pipeline(transaction=False) as pipe:
        pipe.lrange(keys.queue(name), -(start + count), -(start + 1))
        (raws,) = pipe.execute()
    return [Record.read(raw) for raw in reversed(raws)]
