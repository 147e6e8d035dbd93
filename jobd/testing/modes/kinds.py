"""The four modes: ``fake``, ``inline``, ``refuse`` and ``off``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from jobd.errors import ArgumentError
from jobd.graphs.plan import Plan
from jobd.jobs import pending
from jobd.jobs.transports import Adding, AsyncAdding, Source
from jobd.store.conflict import Conflict
from jobd.testing.modes.errors import NoRedisError, UnexpectedPushError
from jobd.testing.modes.jobs import Jobs
from jobd.testing.modes.mode import Mode, caller
from jobd.testing.modes.pushed import PushedJob, call_of
from jobd.testing.modes.running import Performer
from jobd.testing.modes.store import ACollecting, Collecting, Store
from jobd.wire import payload as wire
from jobd.wire.attachments import AttachedPush
from jobd.wire.batches import Portion

if TYPE_CHECKING:
    from redis import Redis

    from jobd.store.batches import Added

ModeName = Literal["fake", "inline", "refuse", "off"]


def fake(*, server_middleware: bool = True) -> Mode[Jobs]:
    """Pushes are collected, and run when the test says so.

    Everything up to Redis is as in a real push: middleware, checks, encoding, unique jobs as with
    an empty Redis.

    Args:
        server_middleware: whether the jobs run inside the server middleware.

    Example:
        >>> with fake() as jobs:
        ...     jobs.pushed()
        []
    """

    def begin(place: str) -> tuple[_Fake, Jobs]:
        pending.watch()
        store = Store()
        made = _Fake("fake", place, store)
        performer = Performer(store, server_middleware=server_middleware)
        return made, Jobs(store, performer, made.transport)

    return Mode("fake", begin)


def inline(*, server_middleware: bool = True) -> Mode[Jobs]:
    """A push runs the job, at once and before it returns, also one that is due later.

    What the job raises is raised by the push; there are no retries. In a coroutine, ``aperform_*``
    run an ``async`` job on the same event loop and others in a thread; ``perform_*`` run an
    ``async`` job on an event loop of its own, in a thread of its own.

    Args:
        server_middleware: whether the jobs run inside the server middleware.

    Example:
        >>> with inline() as jobs:
        ...     len(jobs)
        0
    """

    def begin(place: str) -> tuple[_Inline, Jobs]:
        store = Store()
        performer = Performer(store, server_middleware=server_middleware)
        made = _Inline(place, store, performer)
        return made, Jobs(store, performer, made.transport)

    return Mode("inline", begin)


def refuse() -> Mode[None]:
    """A push is an error: :class:`UnexpectedPushError`.

    Example:
        >>> with refuse():
        ...     pass  # must not push
    """
    return Mode("refuse", lambda place: (_Refuse(place), None))


def off() -> Mode[None]:
    """Pushes go to Redis, inside another mode, too.

    Example:
        >>> with refuse(), off():
        ...     pass  # may push
    """
    return Mode("off", lambda _: (_Off(), None))


def mode_called(name: str, options: Mapping[str, object] | None = None) -> Mode[Any]:
    """The mode called *name*, for where modes are chosen by name.

    Raises:
        ArgumentError: there is none.
    """
    kinds: dict[str, Callable[..., Mode[Any]]] = {
        "fake": fake,
        "inline": inline,
        "refuse": refuse,
        "off": off,
    }
    if name not in kinds:
        raise ArgumentError(f"unknown mode {name!r}: use fake, inline, refuse or off")
    try:
        return kinds[name](**(options or {}))
    except TypeError as error:
        raise ArgumentError(str(error)) from None


class _NoRedis:
    """Answers everything that is not a push."""

    def __init__(self, name: str, place: str) -> None:
        self._name, self._place = name, place

    def redis(self, _client: Source) -> Redis | None:
        raise NoRedisError(
            f"this needs Redis, which jobd.testing.{self._name}() has replaced (entered at "
            f"{self._place}). Results, cancellation and the data API work in jobd.testing.world(), "
            "and with a real server in jobd.testing.off()"
        )


class _Collection(_NoRedis):
    """Answers what is asked about batches, too."""

    def __init__(self, name: str, place: str, store: Store) -> None:
        super().__init__(name, place)
        self._store = store

    def batch(self, client: Source, bid: str) -> Mapping[bytes, bytes]:
        return self._store.batch((client.url, client.prefix), bid)

    def wait(self, _ended: Callable[[], bool], seconds: float | None) -> None:
        if seconds is None:
            raise NoRedisError(
                f"this wait has no end: in jobd.testing.{self._name}() (entered at {self._place}) "
                "no job runs meanwhile; run them before, by jobs.drain()"
            )


class _Fake(_Collection):
    def transport(self, client: Source) -> Adding:
        return Collecting(self._store, client)

    def atransport(self, client: Source) -> AsyncAdding | None:
        return ACollecting(self._store, client)


class _Inline(_Collection):
    def __init__(self, place: str, store: Store, performer: Performer) -> None:
        super().__init__("inline", place, store)
        self._performer = performer

    def transport(self, client: Source) -> Adding:
        return _Running(self._store, client, self._performer)

    def atransport(self, client: Source) -> AsyncAdding | None:
        return _ARunning(self._store, client, self._performer)


class _Running(Collecting):
    """Runs what is pushed."""

    def __init__(self, store: Store, client: Source, performer: Performer) -> None:
        super().__init__(store, client)
        self._performer = performer

    def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        self._run(self.queued(queues))

    def schedule(self, due: list[tuple[float, bytes]]) -> None:
        self._run(self.scheduled(due))

    def push(self, jobs: Sequence[AttachedPush], now: float) -> list[Conflict | None]:
        conflicts = []
        for push in jobs:
            job, conflict = self._store.attach(push, self._client, now)
            conflicts.append(conflict)
            self._run([] if job is None else [job])
        return conflicts

    def start(self, plan: Plan) -> None:
        self._run(self._store.begin_flow(plan, self._client))

    def add(self, portion: Portion, now: float) -> Added:
        added, jobs = self._store.gather(portion, self._client, now)
        self._run(jobs)
        return added

    def _run(self, jobs: list[PushedJob]) -> None:
        ready, failure = deque(jobs), None
        while (job := self._store.next_of(ready)) is not None:
            try:
                _, more = self._performer.perform(job)
            except Exception as error:  # noqa: BLE001 - raised once what it leaves has run
                failure = failure or error
                self._store.keep_after_failure(ready, job)
            else:
                ready.extend(more)
        if failure is not None:
            raise failure


class _ARunning:
    """The same for pushes from coroutines."""

    def __init__(self, store: Store, client: Source, performer: Performer) -> None:
        self._collecting = Collecting(store, client)
        self._store, self._client, self._performer = store, client, performer

    async def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        await self._run(self._collecting.queued(queues))

    async def schedule(self, due: list[tuple[float, bytes]]) -> None:
        await self._run(self._collecting.scheduled(due))

    async def push(self, jobs: Sequence[AttachedPush], now: float) -> list[Conflict | None]:
        conflicts = []
        for push in jobs:
            job, conflict = self._store.attach(push, self._client, now)
            conflicts.append(conflict)
            await self._run([] if job is None else [job])
        return conflicts

    async def start(self, plan: Plan) -> None:
        await self._run(self._store.begin_flow(plan, self._client))

    async def add(self, portion: Portion, now: float) -> Added:
        added, jobs = self._store.gather(portion, self._client, now)
        await self._run(jobs)
        return added

    async def _run(self, jobs: list[PushedJob]) -> None:
        ready, failure = deque(jobs), None
        while (job := self._store.next_of(ready)) is not None:
            try:
                _, more = await self._performer.aperform(job)
            except Exception as error:  # noqa: BLE001 - raised once what it leaves has run
                failure = failure or error
                self._store.keep_after_failure(ready, job)
            else:
                ready.extend(more)
        if failure is not None:
            raise failure


class _Refuse(_NoRedis):
    """Refuses every push."""

    def __init__(self, place: str) -> None:
        super().__init__("refuse", place)

    def transport(self, _client: Source) -> Adding | None:
        return self

    def atransport(self, _client: Source) -> AsyncAdding | None:
        return _ARefuse(self)

    def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        self._fail(raw for payloads in queues.values() for raw in payloads)

    def schedule(self, due: list[tuple[float, bytes]]) -> None:
        self._fail(raw for _, raw in due)

    def push(self, jobs: Sequence[AttachedPush], _now: float) -> list[Conflict | None]:
        self._fail(job.raw for job in jobs)

    def start(self, plan: Plan) -> None:
        self._fail(one.job.raw for one in plan.steps if one.job is not None)

    def add(self, portion: Portion, _now: float) -> Added:
        raws = [raw for run in portion.queued for raw in run.raws]
        raws += [job.raw for job in portion.scheduled]
        raws += [job.raw for job in portion.attached]
        self._fail(raws, f"batch {portion.bid} without jobs was pushed")

    def holder(self, _key: str) -> str | None:
        return None  # nothing is ever pushed

    def _fail(self, raws: Iterable[bytes], empty: str = "") -> NoReturn:
        fields = [wire.decode(raw) for raw in raws]
        what = empty
        for first in fields[:1]:
            call = call_of(first["class"], first["args"], first.get("kwargs", {}))
            more = f" and {len(fields) - 1:,} more" if len(fields) > 1 else ""
            what = f"{call}{more} was pushed to queue {first['queue']!r}"
        raise UnexpectedPushError(
            f"{what} at {caller()}, but jobd.testing.refuse() is in force (entered at "
            f"{self._place}). If this test may push, let it: with fake() or inline(), or by the "
            "fixture jobs"
        )


class _ARefuse:
    def __init__(self, refusing: _Refuse) -> None:
        self._refusing = refusing

    async def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        self._refusing.enqueue(queues)

    async def schedule(self, due: list[tuple[float, bytes]]) -> None:
        self._refusing.schedule(due)

    async def push(self, jobs: Sequence[AttachedPush], now: float) -> list[Conflict | None]:
        return self._refusing.push(jobs, now)

    async def start(self, plan: Plan) -> None:
        self._refusing.start(plan)

    async def add(self, portion: Portion, now: float) -> Added:
        return self._refusing.add(portion, now)


class _Off:
    """Leaves everything to Redis."""

    def transport(self, _client: Source) -> Adding | None:
        return None

    def atransport(self, _client: Source) -> AsyncAdding | None:
        return None

    def redis(self, _client: Source) -> Redis | None:
        return None
