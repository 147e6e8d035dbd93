"""Pushes that are held back, until a transaction has committed or a batch is complete."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from jobd.jobs.bulk import BATCH, BATCH_BYTES
from jobd.jobs.refusals import told_later
from jobd.wire.attachments import AttachedPush
from jobd.wire.transitions import with_enqueued

if TYPE_CHECKING:
    from jobd.graphs.plan import Plan
    from jobd.jobs.transports import AsyncTransport, Storing, Transport
    from jobd.store.conflict import Conflict

T = TypeVar("T")


_watched: WeakSet[Pending] | None = None


def watch() -> None:
    """Remember from now on which pushes are held back, for :func:`waiting`."""
    global _watched
    if _watched is None:
        _watched = WeakSet()


def waiting() -> int:
    """How many pushes are held back now, of those since :func:`watch`."""
    return sum(len(pending) for pending in list(_watched or ()))


class Pending:
    """A transport that keeps pushes until :meth:`send`. Not thread-safe.

    Of a job with attachments nobody can say yet whether another one keeps it out: it counts as let
    in, and a refusal is logged when it is sent.

    Example:
        >>> pending = Pending()
        >>> pending.enqueue({"mail": [b"{}"]})
        >>> len(pending)
        1
    """

    def __init__(self) -> None:
        # In the order of the pushes: jobs of one queue are to stay in theirs.
        self._runs: list[_Run] = []
        if _watched is not None:
            _watched.add(self)

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        for queue, payloads in queues.items():
            self._run(_Queued).extend((queue, raw) for raw in payloads)

    def schedule(self, due: list[tuple[float, bytes]]) -> None:
        self._run(_Scheduled).extend(due)

    def push(self, jobs: Sequence[AttachedPush], _now: float) -> list[Conflict | None]:
        self._run(_Attached).extend(jobs)
        return [None] * len(jobs)

    def start(self, plan: Plan) -> None:
        self._run(_Started).append(plan)

    def extend(self, other: Pending) -> None:
        """Append what *other* holds."""
        for run in other._runs:
            self._run(type(run)).extend(run)

    def _run(self, kind: Callable[[], _Run]) -> _Run:
        """The last run, if it is of that kind, or a new one."""
        if not self._runs or type(self._runs[-1]) is not kind:
            self._runs.append(kind())
        return self._runs[-1]

    def send(self, transport: Transport, now: float) -> None:
        """Store all of them in the order of the pushes, in as few round trips as their kinds and
        their size allow.

        Args:
            now: becomes the time of the push (s since the epoch).

        Raises:
            UnavailableError: Redis did not accept all of them.
        """
        for run in self._runs:
            for jobs, conflicts in run.stored(transport, now):
                told_later(jobs, conflicts or ())

    async def asend(self, transport: AsyncTransport, now: float) -> None:
        """:meth:`send` from a coroutine."""
        for run in self._runs:
            for jobs, conflicts in run.stored(transport, now):
                told_later(jobs, await conflicts or ())


class _Run(list[Any], ABC):
    """Pushes of one kind, one after the other."""

    @abstractmethod
    def stored(
        self, transport: Storing[T], now: float
    ) -> Iterator[tuple[Sequence[AttachedPush], T]]:
        """Store them, a portion with each step: yields what may be refused, and the transport's
        answer or an awaitable of it."""


class _Queued(_Run):
    """Names of queues and payloads."""

    def stored(
        self, transport: Storing[T], now: float
    ) -> Iterator[tuple[Sequence[AttachedPush], T]]:
        queued = ((queue, with_enqueued(raw, now)[1]) for queue, raw in self)
        for portion in portions(queued, lambda each: len(each[1])):
            grouped: dict[str, list[bytes]] = {}
            for queue, raw in portion:
                grouped.setdefault(queue, []).append(raw)
            yield (), transport.enqueue(grouped)


class _Scheduled(_Run):
    """Times and payloads."""

    def stored(
        self, transport: Storing[T], _now: float
    ) -> Iterator[tuple[Sequence[AttachedPush], T]]:
        for due in portions(self, lambda each: len(each[1])):
            yield (), transport.schedule(due)


class _Attached(_Run):
    """Jobs with attachments."""

    def stored(
        self, transport: Storing[T], now: float
    ) -> Iterator[tuple[Sequence[AttachedPush], T]]:
        for jobs in portions(self, lambda each: len(each.raw)):
            yield jobs, transport.push(jobs, now)


class _Started(_Run):
    """Workflows."""

    def stored(
        self, transport: Storing[T], _now: float
    ) -> Iterator[tuple[Sequence[AttachedPush], T]]:
        for plan in self:
            yield (), transport.start(plan)


def portions(items: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """*items* in lists that one round trip may carry."""
    portion: list[T] = []
    room = BATCH_BYTES
    for item in items:
        portion.append(item)
        room -= size(item)
        if room <= 0 or len(portion) == BATCH:
            yield portion
            portion, room = [], BATCH_BYTES
    if portion:
        yield portion
