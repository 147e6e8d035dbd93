"""The scheduler: moves due jobs from ``retry`` and ``schedule`` to their queues.

It gets a bounded batch and writes the new payloads; one script then moves those that are still in
the set and returns the next batch. Keepers get different jobs, so that each job is promoted once
without a leader. The batch of a dead keeper goes to another one after at most a second. These
reservations are only a hint: keepers may race, and a crash at any point loses nothing. The two sets
take turns, so that a flood of retries does not delay scheduled jobs. Client middleware does not run
again here.
"""

from __future__ import annotations

from typing import NamedTuple

import redis

from jobd.ambient import chance, clock
from jobd.errors import JobdError, PayloadError
from jobd.store import scripts
from jobd.store.keys import Keys
from jobd.store.loops import Loop
from jobd.store.protocol import Argument
from jobd.wire import job_name, transitions
from jobd.wire.options import DEFAULT_QUEUE

SET_ASIDE = 300.0
"""Seconds for which a job is postponed if it cannot be put anywhere, not even into the dead set."""

BATCH = 200
"""Most jobs that one script call moves. It limits the time for which other clients wait."""

BYTES = 4 * 1024 * 1024
"""Approximate limit on their size together."""

RESERVED = 1.0
"""Seconds for which a batch is reserved for one keeper; longer than moving it takes."""


class NoQueue(JobdError):
    """The key of the job's queue is not a list."""


class Move(NamedTuple):
    """A member of a set, the queue that it goes to (None for the dead set), and what is pushed."""

    member: bytes
    queue: str | None
    pushed: bytes


class Scheduler(Loop):
    """The loop that moves due jobs to their queues.

    Args:
        poll: most seconds between checks of the sets, to which other clients add jobs.
    """

    def __init__(self, client: redis.Redis, keys: Keys, poll: float) -> None:
        super().__init__("scheduler", client)
        self._client = client
        self._keys = keys
        self._poll = poll
        self._me = chance.token(6)
        self._handed: dict[str, list[bytes]] = {}
        self._broken: frozenset[str] = frozenset()
        self.quiet = False

    def turn(self) -> float | None:
        if self.quiet:
            self._handed.clear()
            return None
        now = clock.now()
        waits = [
            self._promote(source, now) if at <= now else at - now
            for source, at in self._first_times().items()
        ]
        return max(0.0, min([self._poll, *waits]))

    def _first_times(self) -> dict[str, float]:
        """When the first job of each set that is not empty is due, in one round trip.

        Raises:
            redis.RedisError: neither can be read.
        """
        sources = (self._keys.retry, self._keys.schedule)
        pipeline = self._client.pipeline(transaction=False)
        for source in sources:
            pipeline.zrange(source, 0, 0, withscores=True)
        found = dict(zip(sources, pipeline.execute(raise_on_error=False), strict=True))
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

    def _promote(self, source: str, now: float) -> float:
        """Promote the next batch; returns the seconds until there may be another."""
        members = self._handed.pop(source, [])
        if not members:
            _, members, wait = self._move(source, [], now, BATCH)
            if not members:
                return wait
        moves: list[Move] = []
        for member in members:
            try:
                queue, pushed = transitions.with_enqueued(member, now)
            except PayloadError as error:
                fields = job_name.log_fields(member)
                self.log.error("job_malformed", source=source, error=str(error), **fields)
                buried = transitions.noted(member, error=error, queue=DEFAULT_QUEUE, now=now)
                moves.append(Move(member, None, buried))
            else:
                moves.append(Move(member, queue, pushed))
        refused, self._handed[source], _ = self._move(source, moves, now, BATCH)
        if refused:
            targets = {move.member: move.queue for move in moves}
            self._set_aside(source, [(member, targets[member]) for member in refused], now)
        return 0.0

    def _move(
        self, source: str, moves: list[Move], now: float, most: int
    ) -> tuple[list[bytes], list[bytes], float]:
        """Returns the members not moved because the target key has another type, at most *most*
        next members, and for how many seconds other keepers have reserved all due ones."""
        queues: dict[str, int] = {}
        arguments: list[Argument] = []
        for member, queue, pushed in moves:
            place = 0 if queue is None else queues.setdefault(queue, len(queues) + 1)
            arguments += (member, place, pushed)
        keys = self._keys
        places = [source, keys.queues, keys.dead, keys.promoting(source), *map(keys.queue, queues)]
        me = self._me if most else ""
        wanted: list[Argument] = [repr(now), me, most, BYTES, min(self._poll, RESERVED)]
        moved, refused, members, wait, _ = scripts.PROMOTE(
            self._client, places, [*wanted, len(queues), *queues, *arguments]
        )
        if moved:
            self.log.debug("jobs_promoted", source=source, jobs=moved)
        return refused, members, float(wait)

    def _set_aside(self, source: str, refused: list[tuple[bytes, str | None]], now: float) -> None:
        """Move jobs whose queue cannot take them to the dead set with the reason; if that cannot
        take them either, postpone them in their set."""
        burials = []
        for member, queue in refused:
            if queue is None:  # a malformed job, and the key of the dead set is not a set
                burials.append(Move(member, None, member))
                continue
            error = NoQueue(
                f"{self._keys.queue(queue)} is not a list, so this job cannot be pushed to its "
                f"queue; delete or rename that key, then retry the job"
            )
            self.log.error(
                "job_set_aside",
                source=source,
                queue=queue,
                error=str(error),
                **job_name.log_fields(member),
            )
            burials.append(
                Move(member, None, transitions.noted(member, error=error, queue=queue, now=now))
            )
        if left := self._move(source, burials, now, 0)[0]:
            self.log.error("jobs_have_no_place", source=source, jobs=len(left))
            scripts.RESCHEDULE(self._client, [source], [repr(now + SET_ASIDE), *left])
