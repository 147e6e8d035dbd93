"""The locks of unique jobs, at the start of a job: some are released then, and some taken late."""

from __future__ import annotations

import redis

from jobd.store import scripts
from jobd.store.keys import Keys
from jobd.wire.attachments import Lock


class Locks:
    """Thread-safe: every call uses a connection of the client's pool."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def enter(self, jid: str, lock: Lock) -> str | None:
        """Do what the start of the job *jid* does to its lock.

        Returns:
            The id of the job that holds the lock, if that keeps this one from starting.

        Raises:
            redis.RedisError: it may or may not have been done.
        """
        key = self._keys.lock(lock.key)
        if not lock.held:
            stays = int(lock.until == "expiry")
            holder = scripts.LOCK(self._client, [key], [jid, lock.seconds or "", stays])
            if holder is not None:
                return str(holder.decode())
        if lock.until == "start":
            scripts.UNLOCK(self._client, [self._keys.queues, key], [jid])
        return None
