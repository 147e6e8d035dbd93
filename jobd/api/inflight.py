"""The jobs that jobd's workers have claimed and not yet acknowledged, the running ones among them.

A job in flight is in no queue. Dashboards see it among the running jobs once it has started and its
worker has beaten; this looks at what is true at any moment, also while nobody lives to say so.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from jobd.api.reading import MOST, answers, number, scanned, text
from jobd.api.records import JobRecord
from jobd.api.session import Session, session_or_default
from jobd.store.inflight import CLOCK_STEP

UNCOUNTED = 2 * CLOCK_STEP
"""Seconds without anybody who counts the time of leases, from which on no daemon runs."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One job in flight.

    Attributes:
        owner: identity of the worker that has claimed it.
        tag: its number among its owner's, and where it was.
        queue: where it was.
        lease: seconds for which its owner still counts as alive, unless it says so again; below
            zero when that time is over and the job is, or will be, taken back to its queue.
    """

    owner: str
    tag: str
    queue: str
    lease: float
    job: JobRecord


def leases(session: Session, most: int | None = MOST) -> list[tuple[str, float]]:
    """The first owners of jobs in flight, all if *most* is None, and how long their leases still
    run (s), as :attr:`Claim.lease`. One round trip of three commands."""
    keys = session.keys
    with session.redis.pipeline(transaction=False) as pipe:
        pipe.time()
        pipe.hmget(keys.clock, "reachable", "seen")
        pipe.zrange(keys.owners, 0, -1 if most is None else most - 1, withscores=True)
        (seconds, micros), known, owners = pipe.execute()
    now = seconds + micros / 1e6
    reachable, seen = map(number, known)
    if reachable and seen:  # as in lease_clock.lua
        now = reachable + min(max(0.0, now - seen), CLOCK_STEP)
    # Zero or less marks an owner whose jobs are being recovered.
    return [
        (text(raw), min(ends - now, -0.001) if ends <= 0 else ends - now) for raw, ends in owners
    ]


def uncounted(session: Session) -> float:
    """Seconds for which nobody has counted the time of leases, as keepers and workers do: while
    none of them lives no lease ends, and no job is taken back. One round trip of two commands."""
    with session.redis.pipeline(transaction=False) as pipe:
        pipe.time()
        pipe.hget(session.keys.clock, "seen")
        (seconds, micros), seen = answers(pipe)
    before = number(seen or b"")
    return max(0.0, seconds + micros / 1e6 - before) if before > 0 else 0.0


class InFlightSet:
    """All jobs in flight.

    Args:
        api: the connection; the default one when None.

    Example:
        >>> for claim in InFlightSet(api):  # doctest: +SKIP
        ...     print(claim.owner, claim.queue, claim.job.jid)
    """

    def __init__(self, api: Session | None = None) -> None:
        self._api = session_or_default(api)

    def __iter__(self) -> Iterator[Claim]:
        """All of them in no particular order, of the first 1,000 owners, read in bounded steps."""
        return self._claims(MOST)

    def _claims(self, owners: int | None) -> Iterator[Claim]:
        redis, keys = self._api.redis, self._api.keys
        for owner, lease in leases(self._api, owners):
            for tag, payload in scanned(redis, keys.inflight(owner)):
                name = text(tag)
                queue = name.partition(":")[2]
                yield Claim(owner, name, queue, lease, JobRecord(payload, queue, self._api))

    def mentioning(self, jid: str, *, seconds: float = 0.5) -> Iterator[Claim]:
        """Those whose bytes hold this id, found in about so many seconds. Cost: O(jobs in
        flight)."""
        end = time.monotonic() + seconds
        wanted = jid.encode(errors="replace")
        for claim in self:
            if wanted in claim.job.value:
                yield claim
            if time.monotonic() > end:
                break

    def of_all_owners(self) -> Iterator[Claim]:
        """All of them, however many owners there are: none is missed."""
        return self._claims(None)

    def all_mentioning(self, jid: str) -> Iterator[Claim]:
        """As :meth:`mentioning`, of all owners, however long that takes."""
        wanted = jid.encode(errors="replace")
        return (claim for claim in self.of_all_owners() if wanted in claim.job.value)

    def find_job(self, jid: str, *, seconds: float = 0.5) -> Claim | None:
        """The job in flight with this id, None if there is none, or if it takes longer than about
        so many seconds to find. Cost: O(jobs in flight)."""
        found = self.mentioning(jid, seconds=seconds)
        return next((claim for claim in found if claim.job.jid == jid), None)
