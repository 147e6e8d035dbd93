"""What nothing else sees of batches: producers that have died, members that are nowhere, and the
end of a batch whose last dead member has left the dead set.

All of it goes in steps, a hundred batches at a time and one search through the jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple, cast

import redis
from structlog.typing import FilteringBoundLogger

from jobd.ambient import clock
from jobd.store import scripts
from jobd.store.keys import Keys

if TYPE_CHECKING:
    from jobd.api.features.batches import Batches

ABANDONED = 3600.0
"""Seconds without a push after which the producer of an open block is taken for dead."""

ROUND = 60.0
"""Seconds between looks at a batch."""

BETWEEN = 15.0
"""Seconds between two searches for its members: as in reconcile.py."""

STEP = 100
"""Batches in one step."""

_STATE = ("total", "pending", "dead", "open", "moves", "ended_at", "looked_at", "expired_in")


class _Missed(NamedTuple):
    """Members that one search has missed.

    Attributes:
        at: when that was (monotonic s).
    """

    moves: str
    numbers: set[int]
    at: float


class BatchWatch:
    """The steps of one keeper.

    Args:
        log: takes what was found.
        delivered: the jobs that blocking claims have delivered and that are not in flight yet.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        log: FilteringBoundLogger,
        delivered: Callable[[], Iterable[bytes]],
    ) -> None:
        self._client = client
        self._keys = keys
        self._delivered = delivered
        self._log = log
        self._place = 0
        self._next_round = 0.0
        self._missed: dict[str, _Missed] = {}

    def turn(self) -> None:
        """One step of each kind."""
        self._note_abandoned()
        self._search_again()
        now = clock.now()
        if now < self._next_round:
            return
        bids = cast(
            "list[bytes]",
            self._client.zrange(self._keys.batches, self._place, self._place + STEP - 1),
        )
        self._place = self._place + STEP if len(bids) == STEP else 0
        if not self._place:
            self._next_round = now + ROUND
        dead = []
        for bid in (each.decode(errors="replace") for each in bids):
            found = self._client.hmget(self._keys.batch(bid), list(_STATE))
            fields = cast("list[bytes | None]", found)
            state = {
                name: None if value is None else value.decode(errors="replace")
                for name, value in zip(_STATE, fields, strict=True)
            }
            if state["total"] is None:
                self._client.zrem(self._keys.batches, bid)
                self._place = max(0, self._place - 1)
            elif state["ended_at"] is not None and _number(state["dead"]):
                if state["expired_in"] != state["moves"]:
                    dead.append((bid, state["moves"] or "0"))
            elif state["ended_at"] is None and not _number(state["open"]):
                self._look_at(bid, state["moves"] or "0", _number(state["looked_at"]))
        if dead:
            self._expire(dead)

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

    # -- members that are nowhere --------------------------------------------------------------

    def _look_at(self, bid: str, moves: str, looked_at: float) -> None:
        """Search for the members of a batch, unless it moves or has just been looked at."""
        now = clock.now()
        if bid in self._missed or now - looked_at < ROUND:
            return
        began = time.monotonic()
        missing = self._missing(bid)
        # In proportion to what it costs, and for all keepers together.
        rest = 10 * (time.monotonic() - began)
        names = [self._keys.queues, self._keys.batch(bid)]
        scripts.REST_BATCH(self._client, names, [bid, repr(now + rest)])
        if missing:
            self._missed[bid] = _Missed(moves, missing, now)

    def _search_again(self) -> None:
        due = [bid for bid, one in self._missed.items() if clock.now() - one.at >= BETWEEN]
        for bid in due[:1]:
            before = self._missed.pop(bid)
            missing = before.numbers & self._missing(bid)
            if missing and self._batches().mend(bid, before.moves, missing):
                self._log.warning("batch_members_missing", batch=bid, jobs=len(missing))

    def _missing(self, bid: str) -> set[int]:
        missing: set[int] = self._batches().missing(bid)
        if missing:
            marker = f'"batch":["{bid}",'.encode()
            for raw in self._delivered():
                _, found, rest = raw.rpartition(marker)
                if found and (number := rest.partition(b"]")[0]).isdigit():
                    missing.discard(int(number))
        return missing

    def _batches(self) -> Batches:
        # Loaded where they are needed first: most keepers never look for a job.
        from jobd.api.features.batches import Batches
        from jobd.api.session import Session

        return Batches(Session(self._client, self._keys.prefix))

    # -- dead members --------------------------------------------------------------------------

    def _expire(self, ended: list[tuple[str, str]]) -> None:
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


def _number(value: str | None) -> float:
    """Of a field that somebody may have changed by hand."""
    try:
        return float(value or 0)
    except ValueError:
        return 0.0
