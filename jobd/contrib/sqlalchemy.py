"""SQLAlchemy: pushes that wait for the commit of a session, and a session for each job.

A push belongs to the innermost transaction or savepoint that is open when it is made. A released
savepoint hands its pushes to the transaction around it, one that is rolled back or closed drops
them, and the end of the outermost one sends them, if it was committed. At that point the connection
is back in its pool, so that an unreachable Redis leaves the session usable.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload
from weakref import WeakKeyDictionary, WeakSet

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session
from sqlalchemy.orm import Session, SessionTransaction, scoped_session
from sqlalchemy.util.concurrency import await_only, in_greenlet

from jobd.errors import ArgumentError, JobdError, UnavailableError
from jobd.graphs.plan import Plan
from jobd.jobs.client import Client
from jobd.jobs.context import CurrentJob
from jobd.jobs.middleware import AsyncNext, Next
from jobd.jobs.pending import Pending
from jobd.jobs.pushable import Performs, Pushable
from jobd.jobs.transports import AsyncTransport, Transport, within
from jobd.wire.attachments import AttachedPush

if TYPE_CHECKING:
    from jobd.store.conflict import Conflict

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound=Session | AsyncSession)

AnySession = Session | AsyncSession | scoped_session[Any] | async_scoped_session[Any]

_log = logging.getLogger("jobd.client")

NOT_PUSHED = "the transaction was committed, but not all of its %d jobs were pushed"
"""The note on an error of Redis, and the log message."""


@overload
def after_commit(session: AnySession) -> AbstractContextManager[None]: ...
@overload
def after_commit(session: AnySession, job: Pushable[P, R]) -> Pushable[P, R]: ...
@overload
def after_commit(session: AnySession, job: type[Performs[P, R]]) -> Pushable[P, R]: ...
@overload
def after_commit(session: AnySession, job: Client) -> Client: ...
def after_commit(session: AnySession, job: Any = None) -> object:
    """Push when the transaction of *session* has been committed, at once if there is none.

    Pushes return the id of the job at once, and are dropped if the transaction is rolled back. If
    Redis cannot be reached after the commit, ``commit`` raises :class:`jobd.UnavailableError`;
    the transaction stays committed.

    Args:
        session: an ordinary, an async or a scoped session.
        job: what pushes: a job, or a client for pushes by name. Without it, the result is a
            context manager, in which all pushes of this thread or task wait.

    Raises:
        ArgumentError: *session* or *job* is something else.

    Example:
        >>> after_commit(session, welcome).perform_async(7)  # doctest: +SKIP
        >>> with after_commit(session):  # doctest: +SKIP
        ...     welcome.perform_async(7)
    """
    around = _AfterCommit(_plain(session))
    if job is None:
        return within(around, "after_commit(session)")
    if not callable(getattr(job, "through", None)):
        raise ArgumentError(
            f"after_commit takes a job (the result of @job, or a subclass of Job), not {job!r}: "
            "after_commit(session, welcome).perform_async(7)"
        )
    return job.through(around)


class JobSessions(Generic[S]):
    """Server middleware that gives each job a session of its own and closes it at the job's end.

    The session is made when the job first asks for it. What the job has not committed is rolled
    back.

    Args:
        factory: a ``sessionmaker``; an ``async_sessionmaker`` for async jobs.

    Example:
        >>> from sqlalchemy import create_engine
        >>> from sqlalchemy.orm import sessionmaker
        >>> db = JobSessions(sessionmaker(create_engine("sqlite://")))
        >>> jobd.server_middleware.add(db)  # doctest: +SKIP
    """

    def __init__(self, factory: Callable[[], S]) -> None:
        self._factory = factory
        self._current: ContextVar[_Opened[S] | None] = ContextVar("jobd_session", default=None)

    @property
    def session(self) -> S:
        """The session of the running job.

        Raises:
            JobdError: there is no running job, or it is not async and the sessions are.
        """
        opened = self._current.get()
        if opened is None:
            raise JobdError(
                "no job with a session runs here: add the JobSessions to server_middleware, and "
                "run the job in a worker or by perform_inline"
            )
        if opened.session is None:
            session = self._factory()
            if isinstance(session, AsyncSession) and not opened.on_loop:
                raise JobdError(
                    "the sessions are async and the job is not: write the job as async def, or "
                    "give it JobSessions of a sessionmaker"
                )
            opened.session = session
        return opened.session

    def __call__(self, job: CurrentJob, _payload: object, _queue: str, call_next: Next) -> object:
        opened: _Opened[S] = _Opened(on_loop=False)
        token = self._current.set(opened)
        try:
            result = call_next()
            _warn(job, opened.session)
            return result
        finally:
            self._current.reset(token)
            if isinstance(opened.session, Session):
                opened.session.close()

    async def acall(
        self, job: CurrentJob, _payload: object, _queue: str, call_next: AsyncNext
    ) -> object:
        opened: _Opened[S] = _Opened(on_loop=True)
        token = self._current.set(opened)
        try:
            result = await call_next()
            _warn(job, opened.session)
            return result
        finally:
            self._current.reset(token)
            if isinstance(opened.session, AsyncSession):
                # A cancelled job gives its connection back, too.
                await asyncio.shield(asyncio.ensure_future(opened.session.close()))
            elif isinstance(opened.session, Session):
                opened.session.close()


class _Opened(Generic[S]):
    """The session of one job, if it has asked for it."""

    def __init__(self, *, on_loop: bool) -> None:
        self.on_loop = on_loop
        self.session: S | None = None


def _warn(job: CurrentJob, session: Session | AsyncSession | None) -> None:
    if session is not None and (session.new or session.dirty or session.deleted):
        _log.warning(
            "%s (%s) ended without committing the changes in its session: call session.commit()",
            job.name,
            job.jid,
        )


def _plain(session: object) -> Session:
    """The session whose events tell what happens to the transaction."""
    found = session
    if isinstance(found, Session):
        return found
    if isinstance(found, (scoped_session, async_scoped_session)):
        found = found()
    if isinstance(found, AsyncSession):
        found = found.sync_session
    if not isinstance(found, Session):
        raise ArgumentError(f"after_commit takes a session of SQLAlchemy, not {session!r}")
    return found


class _Held:
    """The pushes that wait for one transaction, in their order, each run of them with the transport
    that will store it."""

    def __init__(self) -> None:
        self.committed = False
        self.runs: list[tuple[Transport | None, AsyncTransport | None, Pending]] = []

    def __len__(self) -> int:
        return sum(len(pending) for _, _, pending in self.runs)

    def pending(self, inner: Transport | None, ainner: AsyncTransport | None) -> Pending:
        if self.runs and self.runs[-1][0] is inner and self.runs[-1][1] is ainner:
            return self.runs[-1][2]
        pending = Pending()
        self.runs.append((inner, ainner, pending))
        return pending

    def extend(self, other: _Held) -> None:
        for inner, ainner, pending in other.runs:
            self.pending(inner, ainner).extend(pending)

    def send(self) -> None:
        if in_greenlet():
            # The session is async: its loop must not wait for Redis.
            await_only(_finished(self._asend()))
        elif all(ainner is None for _, ainner, _ in self.runs):
            now = time.time()
            for inner, _, pending in self.runs:
                assert inner is not None
                pending.send(inner, now)
        else:
            # A coroutine has pushed into a session that is not async: its commit blocks anyway.
            _in_thread(self._asend())

    async def _asend(self) -> None:
        now = time.time()
        for inner, ainner, pending in self.runs:
            if ainner is not None:
                await pending.asend(ainner, now)
            elif inner is not None:
                await asyncio.to_thread(pending.send, inner, now)


_sending: set[asyncio.Future[None]] = set()
"""The loop itself has only weak references."""


async def _finished(sending: Coroutine[object, None, None]) -> None:
    """Send to the end: the transaction is committed, so a cancellation comes too late."""
    task = asyncio.ensure_future(sending)
    _sending.add(task)
    task.add_done_callback(_sending.discard)
    await asyncio.shield(task)


def _in_thread(sending: Coroutine[object, None, None]) -> None:
    errors: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(sending)
        except BaseException as error:  # noqa: BLE001 - raised in the thread that waits
            errors.append(error)

    thread = threading.Thread(target=run, name="jobd-after-commit")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


_waiting: WeakKeyDictionary[SessionTransaction, _Held] = WeakKeyDictionary()

_committing: WeakSet[SessionTransaction] = WeakSet()
"""Those that have been committed and have not ended: listeners of others may still push."""


class _AfterCommit:
    """What is put around the transports of pushes that wait for *session*."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def transport(self, inner: Transport) -> Transport:
        return _Holding(self, inner)

    def atransport(self, inner: AsyncTransport) -> AsyncTransport:
        return _AsyncHolding(self, inner)

    def pending(self, inner: Transport | None, ainner: AsyncTransport | None) -> Pending | None:
        """Where a push waits; None without a transaction."""
        session = self._session
        transaction = session.get_nested_transaction() or session.get_transaction()
        if transaction is None:
            return None
        held = _waiting.get(transaction)
        if held is None:
            held = _waiting[transaction] = _Held()
            held.committed = transaction in _committing
        return held.pending(inner, ainner)


class _Holding:
    """A transport that holds pushes back while there is a transaction."""

    def __init__(self, around: _AfterCommit, inner: Transport) -> None:
        self._around = around
        self._inner = inner

    def _target(self) -> Transport | Pending:
        pending = self._around.pending(self._inner, None)
        return self._inner if pending is None else pending

    def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        self._target().enqueue(queues)

    def schedule(self, due: list[tuple[float, bytes]]) -> None:
        self._target().schedule(due)

    def push(self, jobs: Sequence[AttachedPush], now: float) -> list[Conflict | None]:
        return self._target().push(jobs, now)

    def start(self, plan: Plan) -> None:
        self._target().start(plan)

    def holder(self, key: str) -> str | None:
        return self._inner.holder(key)


class _AsyncHolding:
    """The same for pushes from coroutines."""

    def __init__(self, around: _AfterCommit, inner: AsyncTransport) -> None:
        self._around = around
        self._inner = inner

    async def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        pending = self._around.pending(None, self._inner)
        if pending is None:
            await self._inner.enqueue(queues)
        else:
            pending.enqueue(queues)

    async def schedule(self, due: list[tuple[float, bytes]]) -> None:
        pending = self._around.pending(None, self._inner)
        if pending is None:
            await self._inner.schedule(due)
        else:
            pending.schedule(due)

    async def push(self, jobs: Sequence[AttachedPush], now: float) -> list[Conflict | None]:
        pending = self._around.pending(None, self._inner)
        return await self._inner.push(jobs, now) if pending is None else pending.push(jobs, now)

    async def start(self, plan: Plan) -> None:
        pending = self._around.pending(None, self._inner)
        if pending is None:
            await self._inner.start(plan)
        else:
            pending.start(plan)


def _committed(session: Session) -> None:
    """Also called for a savepoint that is released."""
    transaction = session.get_nested_transaction() or session.get_transaction()
    if transaction is None:
        return
    _committing.add(transaction)
    if (held := _waiting.get(transaction)) is not None:
        held.committed = True


def _ended(_session: Session, transaction: SessionTransaction) -> None:
    _committing.discard(transaction)
    if not _waiting or (held := _waiting.pop(transaction, None)) is None:
        return
    if not held.committed:
        _log.debug("%d pushes were dropped: their transaction was not committed", len(held))
        return
    if (outer := _around(transaction)) is not None:
        _waiting.setdefault(outer, _Held()).extend(held)
        return
    try:
        held.send()
    except UnavailableError as error:
        error.add_note(NOT_PUSHED % len(held))
        _log.error(NOT_PUSHED, len(held))
        raise


def _around(transaction: SessionTransaction) -> SessionTransaction | None:
    """The savepoint or transaction around it; those of a flush are neither."""
    outer = transaction.parent
    while outer is not None and not outer.nested and outer.parent is not None:
        outer = outer.parent
    return outer


# They concern all sessions: those of any sessionmaker, scoped ones, and those inside async ones.
event.listen(Session, "after_commit", _committed)
event.listen(Session, "after_transaction_end", _ended)
