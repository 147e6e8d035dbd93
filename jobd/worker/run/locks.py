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

    def enter(self, jid: str, lock: Lock, *, first: bool) -> str | None:
        """Do what the start of the job *jid* does to its lock.

        Args:
            first: it has not been started before; a retry does not take a lock that it has lost.

        Returns:
            The id of the job that holds the lock, if that keeps this one from starting.

        Raises:
            redis.RedisError: it may or may not have been done.
        """
        key = self._keys.lock(lock.key)
        if first and jid and not lock.held:
            stays = int(lock.until == "expiry")
            places = [key, self._keys.contested, self._keys.departed]
            holder = scripts.LOCK(self._client, places, [jid, lock.seconds or "", stays])
            if holder is not None:
                return str(holder.decode())
        if lock.until in ("start", "due"):
            scripts.UNLOCK(self._client, [self._keys.queues, key], [jid])
        return None
