"""Where pushes go: to Redis, or to what has been put in its place or around it.

A push runs its middleware, is checked and encoded where it is called; then a transport stores it.
Tests put another one in the place of Redis (:func:`replaced`), for all clients of the process. What
holds pushes back until a transaction commits is put around it: for one client
(:meth:`jobd.Client.through`), or for what a block of code pushes (:func:`within`).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from jobd.ambient.block import Block
from jobd.wire.attachments import AttachedPush

if TYPE_CHECKING:
    from redis import Redis

    from jobd.graphs.plan import Plan
    from jobd.jobs.inline import Application
    from jobd.store.batches import Added
    from jobd.store.conflict import Conflict
    from jobd.wire.batches import Portion


class Source(Protocol):
    """The part of :class:`jobd.Client` that tells clients apart.

    Attributes:
        app: the application whose jobs it pushes; None for the default one.
    """

    url: str
    prefix: str
    app: Application | None


class Transport(Protocol):
    """Stores encoded payloads.

    All methods raise :class:`jobd.UnavailableError` if that cannot be done, and
    :class:`jobd.RefusedError` if the server refuses it.
    """

    def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        """Append payloads to queues, in their order."""

    def schedule(self, due: list[tuple[float, bytes]]) -> None:
        """Add payloads to the schedule at their times (s since the epoch)."""

    def push(self, jobs: Sequence[AttachedPush], now: float) -> list[Conflict | None]:
        """Store jobs with attachments; for each, the job that has kept it out."""

    def start(self, plan: Plan) -> None:
        """Store a workflow and push its first steps, unless there is one with its id."""

    def holder(self, key: str) -> str | None:
        """The id of the job that holds the lock *key*."""


Told_co = TypeVar("Told_co", covariant=True)
"""What a transport answers to a push."""


class Storing(Protocol[Told_co]):
    """The part that both kinds of transports have, where the code for both is the same."""

    def enqueue(self, queues: Mapping[str, list[bytes]]) -> Told_co: ...
    def schedule(self, due: list[tuple[float, bytes]]) -> Told_co: ...
    def push(self, jobs: Sequence[AttachedPush], now: float) -> Told_co: ...
    def start(self, plan: Plan) -> Told_co: ...


class AsyncTransport(Protocol):
    """The same for pushes from coroutines."""

    async def enqueue(self, queues: Mapping[str, list[bytes]]) -> None: ...
    async def schedule(self, due: list[tuple[float, bytes]]) -> None: ...
    async def push(self, jobs: Sequence[AttachedPush], now: float) -> list[Conflict | None]: ...
    async def start(self, plan: Plan) -> None: ...


class Adding(Transport, Protocol):
    """A transport that stores batches, too: those to Redis, and what takes its place."""

    def add(self, portion: Portion, now: float) -> Added:
        """Add to a batch."""


class AsyncAdding(AsyncTransport, Protocol):
    """The same for pushes from coroutines."""

    async def add(self, portion: Portion, now: float) -> Added: ...


class Replacement(Protocol):
    """What takes the place of Redis."""

    def transport(self, client: Source) -> Adding | None:
        """What stores the pushes of *client*; None for its Redis."""

    def atransport(self, client: Source) -> AsyncAdding | None:
        """The same for pushes from coroutines."""

    def redis(self, client: Source) -> Redis | None:
        """What is asked where something else than a push needs the Redis of *client*; None for
        that Redis."""


@runtime_checkable
class Simulation(Replacement, Protocol):
    """One in which jobs run only if it makes them, so that nobody can simply wait for them."""

    def wait(self, ended: Callable[[], bool], seconds: float | None) -> None:
        """Let jobs run until *ended*, or so much time has passed; None for any time.

        Raises:
            JobdError: that will never be.
        """


@runtime_checkable
class Collection(Replacement, Protocol):
    """One without any Redis, which knows its batches itself."""

    def batch(self, client: Source, bid: str) -> Mapping[bytes, bytes]:
        """The record of a batch; empty if it is not there."""


class Around(Protocol):
    """What is put around a transport: decides for each push whether to hold it back."""

    def transport(self, inner: Transport) -> Transport: ...
    def atransport(self, inner: AsyncTransport) -> AsyncTransport: ...


class _Routes:
    """What is in place now.

    Attributes:
        special: whether there is anything; otherwise pushes do not look.
    """

    def __init__(self) -> None:
        self.special = False
        self.replacements: tuple[Replacement, ...] = ()
        self.lock = threading.Lock()


routes = _Routes()
_within: ContextVar[Around | None] = ContextVar("jobd_within", default=None)


class _Outside:
    """Around what goes past everything."""

    def transport(self, inner: Transport) -> Transport:
        return inner

    def atransport(self, inner: AsyncTransport) -> AsyncTransport:
        return inner


_outside = _Outside()


@contextlib.contextmanager
def replaced(replacement: Replacement) -> Iterator[None]:
    """While the block runs, *replacement* takes the place of Redis for all clients of the process,
    in all threads. Blocks nest; the last one that began and has not ended counts."""
    with routes.lock:
        routes.replacements = (*routes.replacements, replacement)
        routes.special = True
    try:
        yield
    finally:
        with routes.lock:
            # The last one: the same may be in place twice.
            newest_first = list(reversed(routes.replacements))
            newest_first.remove(replacement)
            routes.replacements = tuple(reversed(newest_first))


def outside() -> Block[Around | None]:
    """While the block runs, its pushes go past what :func:`within` has put around them, and past a
    batch."""
    return Block("outside()", _within, _outside)


def within(around: Around, name: str = "within()") -> Block[Around | None]:
    """While the block runs, its pushes go through *around*; those of other threads and tasks do
    not.

    Args:
        name: how it was written, for messages.
    """
    routes.special = True
    return Block(name, _within, around)


def route(
    client: Source, own: Callable[[], Adding], around: Around | None, batch: Around | None
) -> Transport:
    """The transport of *client*, whose *own* one is that to Redis.

    Args:
        batch: in whose block this is: it takes all, whatever else is around.
    """
    found = _replacement()
    inner = None if found is None else found.transport(client)
    made: Transport = own() if inner is None else inner
    for each in _layers(around, batch):
        made = each.transport(made)
    return made


def aroute(
    client: Source, own: Callable[[], AsyncAdding], around: Around | None, batch: Around | None
) -> AsyncTransport:
    """:func:`route` for pushes from coroutines."""
    found = _replacement()
    inner = None if found is None else found.atransport(client)
    made: AsyncTransport = own() if inner is None else inner
    for each in _layers(around, batch):
        made = each.atransport(made)
    return made


def _layers(around: Around | None, batch: Around | None) -> list[Around]:
    """What is around a transport, from the inside out."""
    here = _within.get()
    if here is _outside or here is batch:
        batch = None
    return [each for each in (around, here, batch) if each is not None]


def redis_for(client: Source) -> Redis | None:
    """What is in the place of the Redis of *client* for all but pushes; None if nothing is."""
    found = _replacement()
    return None if found is None else found.redis(client)


def simulation() -> Simulation | None:
    """What is in the place of Redis, if jobs run only there."""
    found = _replacement() if routes.special else None
    return found if isinstance(found, Simulation) else None


def collection() -> Collection | None:
    """What is in the place of Redis, if it knows batches itself."""
    found = _replacement() if routes.special else None
    return found if isinstance(found, Collection) else None


def _replacement() -> Replacement | None:
    in_place = routes.replacements
    return in_place[-1] if in_place else None
