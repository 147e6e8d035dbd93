"""Operations of an owner on its in-flight jobs, as packed calls of the scripts.

Nothing is sent here: the fetcher sends these calls in order on one connection.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from jobd.ambient import clock
from jobd.store import scripts
from jobd.store.keys import Keys
from jobd.store.protocol import Argument, pack
from jobd.wire.payload import Work

LEASE = 60.0
"""Seconds that a lease is valid, and so the time until a dead host's jobs are recovered. Only time
in which the server was reachable counts; see ``lua/lease_clock.lua``."""

CLOCK_STEP = LEASE / 6
"""Seconds that the lease clock advances at most from one call to the next."""

DAY_TTL = 5 * 365 * 86400
"""Seconds that a day's counters are kept, as in Sidekiq."""


End = Literal["done", "expired", "cancelled", "duplicate"]
"""How jobs end together."""

ScriptCall = tuple[list[str], list[Argument]]
"""KEYS and ARGV of a script."""


class Claimed(msgspec.Struct, frozen=True, order=True, gc=False):
    """A job in flight: sequence number of the claim, queue, and original bytes; and what they say,
    where the claim has looked at it already."""

    sequence: int
    queue: str
    payload: bytes
    work: Work | None = None

    @property
    def tag(self) -> str:
        """Its field in the in-flight hash.

        >>> Claimed(7, "default", b"{}").tag
        '7:default'
        """
        return f"{self.sequence}:{self.queue}"


def split_tag(tag: bytes) -> tuple[int, str] | None:
    """The sequence number and the queue; None for a field that was not written by jobd.

    >>> split_tag(b"7:low:er"), split_tag(b"7"), split_tag(b"7:\xff")
    ((7, 'low:er'), None, None)
    """
    sequence, _, queue = tag.partition(b":")
    try:
        return (int(sequence), queue.decode()) if queue and sequence.isdigit() else None
    except ValueError:
        return None


class InFlight:
    """Packs the calls of one owner.

    Args:
        identity: identity of the owner.
        queues: names of the queues that it serves, in the order of the configuration.
    """

    def __init__(self, keys: Keys, identity: str, queues: Sequence[str]) -> None:
        self._keys = keys
        self._identity = identity
        self._queues = tuple(queues)
        self._hash = keys.inflight(identity)
        self._waits = keys.waits(identity)
        self._day = ""
        self._counters: list[str] = []

    def register(self) -> bytes:
        keys = (self._keys.owners, self._keys.clock, self._waits)
        return scripts.REGISTER.pack(keys, (self._identity, LEASE, *self._queues))

    def release(self) -> bytes:
        claims = (self._keys.claim(self._identity, queue) for queue in self._queues)
        keys = (self._keys.owners, self._keys.clock, self._hash, self._waits, *claims)
        return scripts.RELEASE.pack(keys, (self._identity,))

    def held(self) -> bytes:
        """Read the tags of all jobs in flight."""
        return pack("HKEYS", self._hash)

    def payload(self, sequence: int, queue: str) -> bytes:
        """Read the payload of a job in flight."""
        return pack("HGET", self._hash, f"{sequence}:{queue}")

    def wait(self, queue: str, timeout: float) -> bytes:
        """Block until a job arrives in *queue*, or *timeout* seconds have passed."""
        return pack(
            "BLMOVE",
            self._keys.queue(queue),
            self._keys.claim(self._identity, queue),
            "RIGHT",
            "LEFT",
            timeout,
        )

    def place(self, queue: str) -> str:
        """The key of a queue."""
        return self._keys.queue(queue)

    def look(self, queues: Iterable[str]) -> bytes:
        """Count how many of *queues* have jobs."""
        return pack("EXISTS", *map(self._keys.queue, queues))

    def head(self, queue: str) -> bytes:
        """Read the next job of *queue*, and leave it there."""
        return pack("LINDEX", self._keys.queue(queue), -1)

    def claim(
        self, first: int, most: int, shares: Iterable[tuple[str, int]], *, limits: bool = False
    ) -> bytes:
        """Claim up to *most* jobs, numbered from *first*; *shares* in the order to try.

        Args:
            limits: each share is the limit for the total after that queue.
        """
        keys = [self._keys.owners, self._hash, self._keys.paused]
        kind = "limits" if limits else "shares"
        arguments: list[str | int] = [self._identity, first, most, kind]
        for queue, share in shares:
            keys.append(self._keys.queue(queue))
            arguments += (queue, share)
        return scripts.CLAIM.pack(keys, arguments)

    def file(self, first: int, queue: str, *, wanted: bool = True) -> bytes:
        """Move the jobs that a blocking claim on *queue* has delivered to in flight, numbered from
        *first*; or return them to the queue, if no more are *wanted*."""
        return scripts.FILE.pack(*self._filing(first, queue, wanted=wanted))

    def return_delivered(self) -> list[ScriptCall]:
        """Calls of FILE that return all jobs that are still in the claim lists."""
        return [self._filing(0, queue, wanted=False) for queue in self._queues]

    def _filing(self, first: int, queue: str, *, wanted: bool) -> ScriptCall:
        keys = [
            self._keys.owners,
            self._hash,
            self._keys.claim(self._identity, queue),
            self._keys.paused,
            self._keys.queue(queue),
            self._keys.schedule,
        ]
        return keys, [self._identity, first, queue, int(not wanted)]

    def acknowledge(self, jobs: Iterable[Claimed]) -> bytes:
        return scripts.ACKNOWLEDGE.pack(
            (self._hash, *self._stats()[:2]),
            [DAY_TTL, *[f"{job.sequence}:{job.queue}" for job in jobs]],
        )

    def end(self, state: End, jobs: Iterable[tuple[Claimed, bytes]]) -> bytes:
        """End *jobs*, each with the detail of its result, with what hangs on them."""
        keys = self._keys
        counters = {
            "done": self._stats()[:2],
            "expired": [keys.expired, keys.expired_on(self._today())],
            "cancelled": [keys.cancelled, keys.cancelled_on(self._today())],
            "duplicate": [keys.duplicates, keys.duplicates_on(self._today())],
        }
        # To those who wait for its result a duplicate was cancelled.
        arguments: list[Argument] = [DAY_TTL, "cancelled" if state == "duplicate" else state]
        for job, detail in jobs:
            arguments += (job.tag, detail)
        return scripts.END.pack((self._hash, keys.queues, *counters[state]), arguments)

    def snooze(self, job: Claimed, payload: bytes, at: float | None, queue: str) -> bytes:
        """Run *job* again at *at*; None puts it behind the jobs in *queue*."""
        keys = (self._hash, self._keys.schedule, self._keys.queues, self._keys.queue(queue))
        return scripts.SNOOZE.pack(keys, (job.tag, payload, "" if at is None else repr(at), queue))

    def retry(self, job: Claimed, payload: bytes, at: float) -> bytes:
        keys = (self._hash, self._keys.retry, *self._stats())
        return scripts.RETRY.pack(keys, (DAY_TTL, job.tag, payload, repr(at)))

    def bury(
        self,
        job: Claimed,
        payload: bytes,
        now: float,
        *,
        keep_from: float,
        most: int,
        counted: bool,
        detail: bytes,
    ) -> bytes:
        keys = (self._hash, self._keys.dead, *self._stats())
        limits = (repr(now), repr(keep_from), most, int(counted))
        return scripts.BURY.pack(keys, (DAY_TTL, job.tag, payload, *limits, detail))

    def discard(self, job: Claimed, detail: bytes) -> bytes:
        return scripts.DISCARD.pack((self._hash, *self._stats()), (DAY_TTL, job.tag, detail))

    def give_back(self, jobs: Iterable[Claimed], started: frozenset[int]) -> bytes:
        """Return *jobs* to the head of their queues; those in *started* were interrupted."""
        return scripts.GIVE_BACK.pack(*self.giving_back(jobs, started))

    def giving_back(
        self, jobs: Iterable[Claimed], started: frozenset[int] = frozenset()
    ) -> ScriptCall:
        """The call of GIVE_BACK for :meth:`give_back`."""
        newest_first = sorted(jobs, reverse=True)
        queues = sorted({job.queue for job in newest_first})
        arguments: list[Argument] = [DAY_TTL]
        for job in newest_first:
            arguments += (job.tag, queues.index(job.queue) + 1, int(job.sequence in started))
        lists = map(self._keys.queue, queues)
        return [self._hash, *self._stats(), self._keys.schedule, *lists], arguments

    @staticmethod
    def _today() -> str:
        return time.strftime("%Y-%m-%d", time.gmtime(clock.now()))

    def _stats(self) -> list[str]:
        """Keys of the counters: processed, processed today, failed, failed today (UTC)."""
        day = self._today()
        if day != self._day:
            keys = self._keys
            self._day = day
            self._counters = [
                keys.processed,
                keys.processed_on(day),
                keys.failed,
                keys.failed_on(day),
            ]
        return self._counters
