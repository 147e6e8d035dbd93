"""Worker processes as a dashboard sees them: they beat, hold leases and work, and cost no CPU."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis as redis_py

from benchmarks.load.backlog import KEYS, QUEUE, Sizes, connect, queued

_BEATS = 20
"""Processes that beat each second: each of two hundred every ten seconds, as workers do."""


@contextmanager
def heartbeats(url: str, sizes: Sizes) -> Iterator[None]:
    """The processes, which work and beat as long as the ``with`` statement lasts."""
    beats = _Heartbeats(connect(url), sizes)
    beats.start()
    try:
        yield
    finally:
        beats.stop()


class _Heartbeats(threading.Thread):
    """A thread that beats for all processes, evenly: so many each second."""

    def __init__(self, redis: redis_py.Redis, sizes: Sizes) -> None:
        super().__init__(name="heartbeats", daemon=True)
        self._redis = redis
        self._threads = sizes.threads
        self._ended = threading.Event()
        self._names = [
            f"web{at // 20:02}.example.org:{4000 + at}:{at:012x}" for at in range(sizes.processes)
        ]
        jobs = queued(random.Random(7), QUEUE, sizes.processes * sizes.threads)
        # Half of the threads work.
        self._work = {name: [next(jobs) for _ in range(sizes.threads // 2)] for name in self._names}
        for name in self._names:
            self._begin(name)

    def run(self) -> None:
        at = 0
        while not self._ended.wait(1.0):
            pipe = self._redis.pipeline(transaction=False)
            for name in (self._names * 2)[at : at + _BEATS]:
                self._beat(pipe, name)
            pipe.execute()
            at = (at + _BEATS) % len(self._names)

    def stop(self) -> None:
        self._ended.set()
        self.join()
        self._redis.close()

    def _begin(self, name: str) -> None:
        host, pid, _ = name.split(":")
        info = {
            "hostname": host,
            "pid": int(pid),
            "started_at": time.time() - 86400,
            "tag": "shop",
            "concurrency": self._threads,
            "queues": [QUEUE, *(f"mail-{at:02}" for at in range(8))],
            "weights": [{QUEUE: 5, **{f"mail-{at:02}": 1 for at in range(8)}}],
            "labels": ["shop"],
            "identity": name,
            "version": "1.0",
            "implementation": "jobd",
        }
        now = time.time()
        pipe: Any = self._redis.pipeline(transaction=False)
        pipe.sadd(KEYS.processes, name)
        pipe.hset(KEYS.process(name), "info", json.dumps(info))
        for at, raw in enumerate(self._work[name]):
            fields = {"queue": QUEUE, "payload": raw.decode(), "run_at": int(now - 7 * at)}
            for key in (KEYS.work(name), KEYS.workers(name)):
                pipe.hset(key, f"thread-{at}", json.dumps(fields))
        pipe.zadd(KEYS.owners, {name: now + 86400})
        jobs = {f"{at}:{QUEUE}": raw for at, raw in enumerate(self._work[name])}
        pipe.hset(KEYS.inflight(name), mapping=jobs)
        self._beat(pipe, name)
        pipe.execute()

    def _beat(self, pipe: Any, name: str) -> None:
        beat = {
            "concurrency": self._threads,
            "busy": len(self._work[name]),
            "beat": repr(time.time()),
            "rtt_us": 180,
            "quiet": "false",
            "rss": 98_000,
        }
        pipe.hset(KEYS.process(name), mapping=beat)
        for key in (KEYS.process(name), KEYS.work(name), KEYS.workers(name)):
            pipe.expire(key, 60)
