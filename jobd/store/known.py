"""Whether some living worker can run the job of a tick: what workers tell about themselves."""

from __future__ import annotations

import msgspec
import redis

from jobd.ambient import clock
from jobd.schedules.entry import Entry
from jobd.store.keys import Keys
from jobd.wire.json_value import UNREADABLE

FRESH = 5.0
"""Seconds for which an answer of the server serves."""

SILENT = 90.0
"""Seconds without word from any worker of an application after which none runs. Its schedules do
not hold then: it may be here under another name, with the same jobs."""


class _Info(msgspec.Struct):
    """The part of a process's description that matters; Ruby writes it, too."""

    queues: list[str] = []


_read_info = msgspec.json.Decoder(_Info).decode


class Known:
    """What living workers know."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._classes: dict[str, set[bytes]] = {}
        self._queues: set[str] = set()
        self._apps: dict[bytes, float] = {}
        self._classes_at = self._queues_at = float("-inf")

    def missing(self, entry: Entry, now: float) -> str:
        """Why nobody can run the job of *entry*; "" if somebody can.

        Args:
            now: the server's time.

        Raises:
            redis.RedisError: the server refused, or did not answer.
        """
        classes = self._known(now)
        if now - self._apps.get(entry.app.encode(), now) > SILENT:
            return f"no worker of the application {entry.app} is running"
        if entry.foreign:
            if entry.queue in self._served():
                return ""
            return f"no process serves the queue {entry.queue}"
        name = entry.job.encode()
        if any(name in names for names in classes.values()):
            return ""
        return f"no living worker knows the job {entry.job}"

    def _known(self, now: float) -> dict[str, set[bytes]]:
        if clock.monotonic() < self._classes_at + FRESH:
            return self._classes
        pipeline = self._client.pipeline(transaction=False)
        pipeline.zrange(self._keys.classes, repr(now), "+inf", byscore=True)
        pipeline.zrange(self._keys.periodic_seen, 0, -1, withscores=True)
        digests, apps = pipeline.execute()
        self._apps = dict(apps)
        living = {digest.decode() for digest in digests}
        for digest in living - self._classes.keys():
            key = self._keys.classes_of(digest)
            self._classes[digest] = self._members(key)
        for digest in self._classes.keys() - living:
            del self._classes[digest]
        self._classes_at = clock.monotonic()
        return self._classes

    def _served(self) -> set[str]:
        if clock.monotonic() < self._queues_at + FRESH:
            return self._queues
        members = self._members(self._keys.processes)
        pipeline = self._client.pipeline(transaction=False)
        for identity in members:
            pipeline.hget(self._keys.process(identity.decode(errors="replace")), "info")
        self._queues = set()
        for info in pipeline.execute(raise_on_error=False) if members else ():
            if isinstance(info, bytes):
                try:
                    self._queues.update(_read_info(info).queues)
                except UNREADABLE:
                    continue  # written by hand
        self._queues_at = clock.monotonic()
        return self._queues

    def _members(self, key: str) -> set[bytes]:
        """The members of a set, in steps: a large one holds nobody up."""
        return set(self._client.sscan_iter(key, count=1000))
