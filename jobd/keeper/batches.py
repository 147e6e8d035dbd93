"""What nothing else sees of batches: producers that have died, and the end of a batch whose last
dead member has left the dead set; a hundred batches at a time."""

from __future__ import annotations

from typing import cast

import redis
from structlog.typing import FilteringBoundLogger

from jobd.ambient import clock
from jobd.store import scripts
from jobd.store.keys import Keys

ABANDONED = 3600.0
"""Seconds without a push after which the producer of an open block is taken for dead."""

ROUND = 60.0
"""Seconds between looks at a batch."""

STEP = 100
"""Batches in one step."""

_STATE = ["total", "dead", "moves", "ended_at", "expired_in"]


class BatchWatch:
    """The steps of one keeper.

    Args:
        log: takes what was found.
    """

    def __init__(self, client: redis.Redis, keys: Keys, log: FilteringBoundLogger) -> None:
        self._client = client
        self._keys = keys
        self._log = log
        self._place = 0
        self._next_round = 0.0

    def turn(self) -> None:
        """One step of each kind."""
        self._note_abandoned()
        now = clock.monotonic()
        if now < self._next_round:
            return
        found = self._client.zrange(self._keys.batches, self._place, self._place + STEP - 1)
        bids = [bid.decode(errors="replace") for bid in cast("list[bytes]", found)]
        self._place = self._place + STEP if len(bids) == STEP else 0
        if not self._place:
            self._next_round = now + ROUND
        with self._client.pipeline(transaction=False) as pipe:
            for bid in bids:
                pipe.hmget(self._keys.batch(bid), _STATE)
            records = pipe.execute(raise_on_error=False) if bids else []
        ended = []
        for bid, fields in zip(bids, records, strict=True):
            if not isinstance(fields, list) or fields[0] is None:  # gone, or of another type
                self._client.zrem(self._keys.batches, bid)
                self._place = max(0, self._place - 1)
                continue
            _, dead, moves, ended_at, expired_in = fields
            if ended_at is not None and dead not in (None, b"0") and expired_in != moves:
                ended.append((bid, moves or b"0"))
        if ended:
            self._expire(ended)

    def _note_abandoned(self) -> None:
        keys, now = self._keys, clock.now()
        due = self._client.zrange(
            keys.batches_open, "-inf", repr(now - ABANDONED), byscore=True, offset=0, num=STEP
        )
        for bid in (each.decode(errors="replace") for each in cast("list[bytes]", due)):
            names = [keys.queues, keys.batches_open, keys.batch(bid)]
            words = [bid, repr(now), repr(now - ABANDONED)]
            if scripts.ABANDON_BATCH(self._client, names, words):
                self._log.warning("batch_abandoned", batch=bid)

    def _expire(self, ended: list[tuple[str, bytes]]) -> None:
        """Let those expire of which no member is in the dead set."""
        from jobd.api.session import Session
        from jobd.api.sets.sets import DeadSet

        left = {bid for bid, _ in ended}
        for entry in DeadSet(Session(self._client, self._keys.prefix)):
            if (found := entry.attachments.batch) is not None:
                left.discard(found[0])
        for bid, moves in ended:
            if bid in left:
                names = [self._keys.queues, self._keys.batch(bid)]
                scripts.EXPIRE_BATCH(self._client, names, [bid, moves])
