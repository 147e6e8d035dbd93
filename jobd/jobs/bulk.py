"""Bulk pushes: which jobs travel in one round trip, and when each is due."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

from jobd.ambient import chance, clock
from jobd.errors import ArgumentError
from jobd.jobs.times import Times, When, due_at
from jobd.wire.attachments import AttachedPush

BATCH = 1_000
SCHEDULED_BATCH = 100
"""Jobs in one round trip of a bulk push."""

BATCH_BYTES = 1_048_576
"""Bytes of payloads after which a round trip of a bulk push takes no further job, because a large
command blocks the server for other clients."""

MIN_SPREAD = 5.0
"""Seconds; a shorter spread would not prevent a thundering herd."""


class Batch:
    """The jobs of one round trip of a bulk push.

    Attributes:
        jids: what the push returns for each, in order.
        queued, scheduled: those to store.
        attached: those on which something hangs, which a script stores.
    """

    __slots__ = ("_most", "_places", "_room", "attached", "jids", "queued", "scheduled")

    def __init__(self, is_scheduled: bool) -> None:
        self.jids: list[str | None] = []
        self.queued: dict[str, list[bytes]] = {}
        self.scheduled: list[tuple[float, bytes]] = []
        self.attached: list[AttachedPush] = []
        self._places: list[int] = []
        self._most = SCHEDULED_BATCH if is_scheduled else BATCH
        self._room = BATCH_BYTES

    def add(self, jid: str, queue: str, raw: bytes, at: float | None) -> None:
        """Add a job that is due *at* (s), None for now."""
        self.jids.append(jid)
        self._room -= len(raw)
        if at is None:
            self.queued.setdefault(queue, []).append(raw)
        else:
            self.scheduled.append((at, raw))

    def attach(self, job: AttachedPush) -> None:
        """Add a job on which something hangs."""
        self._places.append(len(self.jids))
        self.jids.append(job.jid)
        self.attached.append(job)
        self._room -= len(job.raw)
        self._most = SCHEDULED_BATCH

    def answer(self, jids: list[str | None]) -> None:
        """Note what the pushes of those return."""
        for place, jid in zip(self._places, jids, strict=True):
            self.jids[place] = jid

    @property
    def full(self) -> bool:
        """Whether it takes no more jobs."""
        return self._room <= 0 or len(self.jids) >= self._most


def bulk_of(
    calls: Iterable[Any], at: Times, spread: float | None
) -> tuple[Iterator[Any], Iterator[When] | None]:
    """The calls of a bulk push, and the times at which they are due; None for now.

    Raises:
        ArgumentError: there are not as many times as calls.
    """
    if isinstance(at, Sequence):
        calls = calls if isinstance(calls, Sized) else list(calls)
        if len(at) != len(calls):
            raise ArgumentError(f"'at' has {len(at):,} times for {len(calls):,} jobs")
    return iter(calls), _times(at, spread)


def next_time(times: Iterator[When] | None) -> float | None:
    """When the next job of a bulk push is due (s), None for now."""
    return None if times is None else due_at(next(times), clock.now())


def after(jids: list[str | None], error: ArgumentError) -> ArgumentError:
    """*error*, which says how many jobs have been pushed before it."""
    if not jids:
        return error
    return ArgumentError(f"{error} ({len(jids):,} jobs before it have been pushed)")


def _times(at: Times, spread: float | None) -> Iterator[When] | None:
    if spread is not None:
        if at is not None:
            raise ArgumentError("give a bulk push either 'at' or a spread, not both")
        width = max(float(spread), MIN_SPREAD)
        return (chance.share() * width for _ in itertools.count())
    if at is None:
        return None
    return iter(at) if isinstance(at, Sequence) else itertools.repeat(at)
