"""The scheduler: moves jobs that are due from ``retry`` and ``schedule`` to their queues.

It reads a bounded batch, writes the new payloads, and one script moves those that are still in the
set, so that several keepers may race and a crash at any point loses nothing. It takes turns between
the two sets, so that a flood of retries does not hold up scheduled jobs. Client middleware does not
run again here.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import redis

from jobd import payload
from jobd.background import Loop
from jobd.errors import JobdError, PayloadError
from jobd.options import DEFAULT_QUEUE
from jobd.redis import scripts
from jobd.redis.keys import Keys
from jobd.redis.protocol import Argument

SET_ASIDE = 300.0
"""Seconds for which a job stays in its set that has no place to go to, not even the dead set."""

BATCH = 200
"""Jobs that one script call moves. It bounds the time for which everybody else must wait."""

BYTES = 4 * 1024 * 1024
"""About what they have together. No command tells the size of a job before it is read, so each
batch is as large as the one before it promises."""

FIRST = 10
"""Jobs of a batch when nothing is known about their size."""


class NoQueue(JobdError):
    """The key of the job's queue holds something else."""


class Move(NamedTuple):
    """A member of a set, the queue that it goes to (None for the dead set), and what is pushed."""

    member: bytes
    queue: str | None
    pushed: bytes


class Scheduler(Loop):
    """See the module.

    Args:
        poll: most seconds between looks at the sets; others may have put something in.
    """

    def __init__(self, client: redis.Redis, keys: Keys, poll: float) -> None:
        super().__init__("scheduler", client)
        self._client = client
        self._keys = keys
        self._poll = poll
        self._most: dict[str, int] = {}
        self._broken: frozenset[str] = frozenset()
        self.quiet = False

    def turn(self) -> float | None:
        if self.quiet:
            return None
        now = time.time()
        first = self._first_times()
        due = [source for source, at in first.items() if at <= now]
        for source in due:
            self._promote(source, self._due(source, now), now)
        if due:
            return 0.0  # There may be more, and what comes after them is not known yet.
        return max(0.0, min([self._poll, *(at - now for at in first.values())]))

    def _first_times(self) -> dict[str, float]:
        """When the first job of each set that has one is due, in one round trip.

        Raises:
            redis.RedisError: neither can be read.
        """
        sources = (self._keys.retry, self._keys.schedule)
        pipeline = self._client.pipeline(transaction=False)
        for source in sources:
            pipeline.zrange(source, 0, 0, withscores=True)
        found: dict[str, Any] = dict(
            zip(sources, pipeline.execute(raise_on_error=False), strict=True)
        )
        broken = {key: str(was) for key, was in found.items() if isinstance(was, redis.RedisError)}
        if len(broken) == len(sources):
            raise found[sources[0]]
        for source in broken.keys() - self._broken:
            self.log.error("set_unusable", source=source, error=broken[source])
        self._broken = frozenset(broken)
        return {
            source: float(first[0][1])
            for source, first in found.items()
            if first and source not in broken
        }

    def _due(self, source: str, now: float) -> list[bytes]:
        """The first jobs of *source* that are due."""
        most = self._most.pop(source, FIRST)
        members: Any = self._client.zrangebyscore(source, "-inf", repr(now), start=0, num=most)
        # Where there are no more, the next ones may be of another kind.
        if len(members) == most:
            fitting = BYTES * most // (sum(map(len, members)) + 1)
            self._most[source] = max(1, min(BATCH, fitting))
        return list(members)

    def _promote(self, source: str, members: list[bytes], now: float) -> None:
        moves: list[Move] = []
        for member in members:
            try:
                queue, pushed = payload.with_enqueued(member, now)
            except PayloadError as error:
                self.log.error("job_malformed", source=source, error=str(error))
                buried = payload.noted(member, error=error, queue=DEFAULT_QUEUE, now=now)
                moves.append(Move(member, None, buried))
            else:
                moves.append(Move(member, queue, pushed))
        if refused := self._move(source, moves, now):
            targets = {move.member: move.queue for move in moves}
            self._set_aside(source, [(member, targets[member]) for member in refused], now)

    def _move(self, source: str, moves: list[Move], now: float) -> list[bytes]:
        """Returns the members that stay because their place is a key of another type."""
        queues: dict[str, int] = {}
        arguments: list[Argument] = []
        for member, queue, pushed in moves:
            place = 0 if queue is None else queues.setdefault(queue, len(queues) + 1)
            arguments += (member, place, pushed)
        keys = [source, self._keys.queues, self._keys.dead, *map(self._keys.queue, queues)]
        refused: list[bytes]
        moved, *refused = scripts.PROMOTE(
            self._client, keys, [repr(now), len(queues), *queues, *arguments]
        )
        self.log.debug("jobs_promoted", source=source, jobs=moved)
        return refused

    def _set_aside(self, source: str, refused: list[tuple[bytes, str | None]], now: float) -> None:
        """Send jobs that no queue can take to the dead set with the reason; where that cannot take
        them either, let them wait in their set, behind the others."""
        burials = []
        for member, queue in refused:
            if queue is None:  # no job, for which the dead set is no set
                burials.append(Move(member, None, member))
                continue
            error = NoQueue(
                f"{self._keys.queue(queue)} is not a list, so this job cannot be put into its "
                f"queue; delete or rename that key, then retry the job"
            )
            self.log.error("job_set_aside", source=source, queue=queue, error=str(error))
            burials.append(
                Move(member, None, payload.noted(member, error=error, queue=queue, now=now))
            )
        if left := self._move(source, burials, now):
            self.log.error("jobs_have_no_place", source=source, jobs=len(left))
            scripts.RESCHEDULE(self._client, [source], [repr(now + SET_ASIDE), *left])
