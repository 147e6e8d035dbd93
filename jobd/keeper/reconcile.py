"""Reconciliation: ends what hangs on jobs that have gone without a script of ours seeing it.

Two kinds of jobs have. Those of a queue or set that was cleared as a whole have only been renamed;
this goes through them in steps. And those that a person has deleted by hand in Redis, or that a
program has ended that knows no attachments: their locks would keep other jobs out for ever. So a
lock that has kept one out is looked at. Its holder is gone if two searches through everything miss
it, and no script of ours has moved it in between.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import cast

import redis

from jobd.ambient import clock
from jobd.errors import ArgumentError
from jobd.keeper.batches import BatchWatch
from jobd.keeper.lost import BETWEEN, LostWatch, batches, workflows
from jobd.store import scripts
from jobd.store.keys import Keys
from jobd.store.loops import Loop
from jobd.store.protocol import Argument

INTERVAL = 5.0
"""Seconds between looks at what is to do."""

UNUSED = 30.0
"""The same where no job has had attachments so far."""

AGAIN = 60.0
"""Seconds until a lock whose holder was found is looked at again, at least."""

AT_ONCE = 10
"""Locks in one look."""

BATCH = 100
"""Jobs in one step through what was cleared."""


class Reconcile(Loop):
    """The loop that does both, and what batches and workflows need of the kind.

    Args:
        leads: whether this keeper does what one process should.
    """

    def __init__(
        self, client: redis.Redis, keys: Keys, leads: Callable[[], object] = lambda: True
    ) -> None:
        super().__init__("reconcile", client)
        self._client = client
        self._keys = keys
        self._missed: dict[bytes, tuple[bytes, bytes]] = {}
        self._batches = BatchWatch(client, keys, self.log)
        self._lost = [
            LostWatch(client, keys, kind, self.log, self._delivered, leads)
            for kind in (batches(keys), workflows(keys))
        ]

    def turn(self) -> float:
        cleared = cast("dict[bytes, bytes]", self._client.hgetall(self._keys.departed))
        if not cleared:
            return UNUSED
        self._end_cleared(cleared.keys() - {b"used"})
        self._free_locks()
        self._batches.turn()
        for watch in self._lost:
            watch.turn()
        return INTERVAL

    def _end_cleared(self, keys: Iterable[bytes]) -> None:
        for key in keys:
            places = [self._keys.departed, key.decode()]
            while scripts.DEPART(self._client, places, [BATCH]) and not self._ending:
                pass

    def _free_locks(self) -> None:
        contested = self._keys.contested
        due = self._client.zrange(
            contested, "-inf", repr(clock.now()), byscore=True, offset=0, num=AT_ONCE
        )
        for key in cast("list[bytes]", due):
            began, before = time.monotonic(), self._missed.pop(key, None)
            try:
                holder, seen, stays = cast(
                    "list[bytes | None]", self._client.hmget(key.decode(), ["jid", "seen", "stays"])
                )
            except redis.exceptions.ResponseError:  # a key of another type
                holder = seen = stays = None
            wait = None
            if holder is not None and seen is not None and stays is None:
                with suppress(ArgumentError):  # nobody of ours has written such an id
                    wait = self._look_at(key, (holder, seen), before)
            # In proportion to what it costs: a search may go through a million jobs.
            pause = 10 * (time.monotonic() - began)
            at = "" if wait is None else repr(clock.now() + max(wait, pause))
            words: list[Argument] = [at, holder or b"", seen or b""]
            scripts.LOOK_LATER(self._client, [contested, key.decode()], words)

    def _look_at(
        self, key: bytes, held: tuple[bytes, bytes], before: tuple[bytes, bytes] | None
    ) -> float | None:
        """Free a lock if its holder is gone; returns the seconds until it is looked at again.

        Args:
            held: id of the holder, and when the lock was last seen in use.
            before: the same, if the holder was missed the last time.
        """
        holder, seen = held
        if self._lives(holder.decode(errors="replace")):
            return AGAIN
        if before != held:
            self._missed[key] = held
            return BETWEEN
        places = [self._keys.queues, key.decode(), self._keys.contested]
        if not scripts.FREE(self._client, places, [holder, seen]):
            return AGAIN  # it has changed during the search
        self.log.warning("lock_freed", lock=key.decode(), holder=holder.decode())
        return None

    def _lives(self, jid: str) -> bool:
        """Whether the job is anywhere where it will still run, or runs."""
        # Loaded where they are needed first: most keepers never look for a job.
        from jobd.api.find import JobSearch
        from jobd.api.inflight import InFlightSet
        from jobd.api.session import Session

        session = Session(self._client, self._keys.prefix)
        if not jid:
            return False
        if any(claim.job.jid == jid for claim in InFlightSet(session).of_all_owners()):
            return True
        if any(found.place != "dead" for found in JobSearch(session, jid)):
            return True
        return any(jid.encode() in raw for raw in self._delivered())

    def _delivered(self) -> Iterator[bytes]:
        """The jobs that blocking claims have delivered and that are not in flight yet."""
        keys = self._keys
        for owner in cast("list[bytes]", self._client.zrange(keys.owners, 0, -1)):
            identity = owner.decode()
            for queue in cast("set[bytes]", self._client.smembers(keys.waits(identity))):
                key = keys.claim(identity, queue.decode())
                yield from cast("list[bytes]", self._client.lrange(key, 0, -1))
