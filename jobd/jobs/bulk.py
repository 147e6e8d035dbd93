"""Bulk pushes: which jobs travel in one round trip, and when each is due."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from jobd.ambient import chance, clock
from jobd.errors import ArgumentError, DuplicateJobError
from jobd.jobs.refusals import told
from jobd.jobs.signatures import Parameters
from jobd.jobs.times import Times, When, due_at
from jobd.wire.attachments import AttachedPush
from jobd.wire.payload import Payload, complete

if TYPE_CHECKING:
    from jobd.jobs.transports import Storing
    from jobd.store.conflict import Conflict

T = TypeVar("T")

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

    def stored(self, transport: Storing[T]) -> Iterator[tuple[list[AttachedPush], T]]:
        """Store them, a round trip with each step: yields those that may be kept out, and the
        answer of the *transport*, or an awaitable of it from an asynchronous one."""
        if self.queued:
            yield [], transport.enqueue(self.queued)
        if self.scheduled:
            yield [], transport.schedule(self.scheduled)
        if self.attached:
            yield self.attached, transport.push(self.attached, clock.now())

    @property
    def full(self) -> bool:
        """Whether it takes no more jobs."""
        return self._room <= 0 or len(self.jids) >= self._most


class Bulk:
    """One bulk push: what is still to be sent, in batches that are created one at a time, and what
    it has returned so far.

    Args:
        fields: of the payload of each job, without its arguments.
        options: that the fields complete.
        calls: the arguments of each job.
        at: when they are due: one time, or one for each.
        spread: seconds over which they are spread at random (at least 5), instead of *at*.
        parameters: of the job, against which each call is checked.

    Raises:
        ArgumentError: there are not as many times as calls.
    """

    def __init__(
        self,
        fields: Mapping[str, object],
        options: Mapping[str, object],
        calls: Iterable[object],
        *,
        at: Times = None,
        spread: float | None = None,
        parameters: Parameters | None = None,
    ) -> None:
        if isinstance(at, Sequence):
            calls = calls if isinstance(calls, Sized) else list(calls)
            if len(at) != len(calls):
                raise ArgumentError(f"'at' has {len(at):,} times for {len(calls):,} jobs")
        self.parameters = parameters
        self._fields = fields
        self._options = options
        self._calls = iter(calls)
        self._times = _times(at, spread)
        self._jids: list[str | None] = []
        self._refused: list[str] = []

    def batches(self) -> Iterator[Batch]:
        """Empty batches, each to be filled from :meth:`payloads` and stored before the next one;
        the last one stays empty."""
        while True:
            batch = Batch(self._times is not None)
            yield batch
            if not batch.jids:
                return
            self._jids += batch.jids

    def payloads(self, batch: Batch) -> Iterator[tuple[Payload, float | None]]:
        """The next payloads, until *batch* is full, and when each is due (s); None for now."""
        for call in self._calls:
            now = clock.now()
            made = self._payload(call, now)
            yield made, None if self._times is None else due_at(next(self._times), now)
            if batch.full:
                return

    def _payload(self, call: object, now: float) -> Payload:
        if not isinstance(call, list | tuple):
            raise ArgumentError(
                f"{self._fields['class']}: every call of a bulk push must be a list of arguments, "
                f"not {repr(call)[:100]}"
            )
        if self.parameters is not None:
            self.parameters.check(call)
        made = {**self._fields, "args": list(call)}
        return complete(made, self._options, now=now)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Errors of the block say how many jobs have been pushed before."""
        try:
            yield
        except ArgumentError as error:
            if not self._jids:
                raise
            raise ArgumentError(
                f"{error} ({len(self._jids):,} jobs before it have been pushed)"
            ) from None

    def note(
        self, batch: Batch, jobs: list[AttachedPush], conflicts: list[Conflict | None] | None
    ) -> None:
        """Note for *jobs* of a batch which of them have been kept out."""
        if jobs:
            batch.answer(told(jobs, conflicts or (), self._refused))

    def jids(self) -> list[str | None]:
        """What the push returns.

        Raises:
            DuplicateJobError: jobs were kept out for which that is an error.
        """
        if self._refused:
            raise DuplicateJobError(self._refused, self._jids)
        return self._jids


def _times(at: Times, spread: float | None) -> Iterator[When] | None:
    if spread is not None:
        if at is not None:
            raise ArgumentError("give a bulk push either 'at' or a spread, not both")
        width = max(float(spread), MIN_SPREAD)
        return (chance.share() * width for _ in itertools.count())
    if at is None:
        return None
    return iter(at) if isinstance(at, Sequence) else itertools.repeat(at)
