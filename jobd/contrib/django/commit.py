"""Pushes that wait for the commit of the transaction in which they are made.

Each push inside a transaction is one callback of Django's ``on_commit``, which knows about nested
transactions and savepoints: what is rolled back is not pushed. After the commit, the first of these
callbacks that Django calls sends what all of them hold, in as few round trips as possible.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from django.db import DEFAULT_DB_ALIAS, connections

from jobd.ambient.block import Block
from jobd.errors import ArgumentError, JobdError
from jobd.jobs.pending import Pending

if TYPE_CHECKING:
    from jobd.graphs.plan import Plan
    from jobd.jobs.transports import AsyncTransport, Transport
    from jobd.store.conflict import Conflict
    from jobd.wire.attachments import AttachedPush

_log = logging.getLogger("jobd.contrib.django")
_order = itertools.count()
_using: ContextVar[str | None] = ContextVar("jobd_django_using")
"""The database whose commit pushes wait for; None for none; not set: what the settings say."""


class OnCommit:
    """Put around the transport of a client: holds pushes back until the commit.

    Args:
        using: alias of the database whose transactions count; None for none.
        log_errors: whether a push that fails after the commit is logged and not raised.
    """

    def __init__(self, using: str | None, *, log_errors: bool = False) -> None:
        self._default = using
        self._log_errors = log_errors

    def transport(self, inner: Transport) -> Transport:
        connection = held_by(self)
        return inner if connection is None else _Holding(connection, inner, self._log_errors)

    def atransport(self, inner: AsyncTransport) -> AsyncTransport:
        # Django has no transactions in coroutines.
        return inner


class _Holding:
    """The transport of one push inside a transaction."""

    __slots__ = ("_connection", "_inner", "_log_errors")

    def __init__(self, connection: Any, inner: Transport, log_errors: bool) -> None:
        self._connection = connection
        self._inner = inner
        self._log_errors = log_errors

    def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        self._held().enqueue(queues)

    def schedule(self, due: list[tuple[float, bytes]]) -> None:
        self._held().schedule(due)

    def push(self, jobs: Sequence[AttachedPush], now: float) -> list[Conflict | None]:
        return self._held().push(jobs, now)

    def start(self, plan: Plan) -> None:
        self._held().start(plan)

    def holder(self, key: str) -> str | None:
        return self._inner.holder(key)

    def _held(self) -> Pending:
        connection = self._connection
        waiting = reversed(connection.run_on_commit)
        if not any(isinstance(callback, _Held) for _, callback, *_ in waiting):
            # The first one of this transaction: somebody may still refer to those of another one,
            # which was rolled back.
            connection.jobd_held = WeakSet()
        held = _Held(connection, self._inner, self._log_errors)
        connection.on_commit(held)
        connection.jobd_held.add(held)
        return held.pending


class _Held:
    """A callback that Django calls after the commit, and forgets after a rollback."""

    __slots__ = ("__weakref__", "connection", "inner", "log_errors", "order", "pending")

    def __init__(self, connection: Any, inner: Transport, log_errors: bool) -> None:
        self.connection = connection
        self.inner = inner
        self.log_errors = log_errors
        self.order = next(_order)
        self.pending = Pending()

    def __call__(self) -> None:
        if not self.pending:
            return  # another one has sent it
        failed: JobdError | None = None
        for inner, pending in self._all():
            try:
                pending.send(inner, time.time())
            except JobdError as error:
                _say(error, len(pending))
                if self.log_errors:
                    _log.exception("after a commit, %d jobs were not pushed", len(pending))
                else:
                    failed = failed or error
        if failed is not None:
            raise failed

    def _all(self) -> list[tuple[Transport, Pending]]:
        """Take what all callbacks of this transaction hold, in the order of the pushes."""
        living = sorted(self.connection.jobd_held, key=lambda held: held.order)
        if self.connection.in_atomic_block:
            # A test calls the callbacks of a transaction that will be rolled back.
            waiting = {id(callback) for _, callback, *_ in self.connection.run_on_commit}
            living = [held for held in living if held is self or id(held) in waiting]
        taken: list[tuple[Transport, Pending]] = []
        for held in living:
            pending, held.pending = held.pending, Pending()
            if taken and taken[-1][0] is held.inner:
                taken[-1][1].extend(pending)
            elif pending:
                taken.append((held.inner, pending))
        return taken


def _say(error: JobdError, jobs: int) -> None:
    what = "1 job was" if jobs == 1 else f"up to {jobs:,} jobs were"
    error.add_note(f"The transaction has been committed, but {what} not pushed.")


def held_by(around: object) -> Any:
    """The connection for whose commit pushes through *around* wait now; None if they do not."""
    using = _using.get(around._default if isinstance(around, OnCommit) else None)
    if using is None:
        return None
    connection = connections[using]
    # Without autocommit, Django runs what waits for a commit only when that is on again.
    return connection if connection.in_atomic_block and connection.commit_on_exit else None


def now() -> Block[str | None]:
    """Push at once what the block pushes, also inside a transaction; also as a decorator.

    Example:
        >>> with now():
        ...     audit.perform_async(42)  # doctest: +SKIP
    """
    return Block("now()", _using, None)


def on_commit(using: str = DEFAULT_DB_ALIAS) -> Block[str | None]:
    """Let what the block pushes wait for the commit of the transaction of the database *using*;
    also as a decorator. Without a transaction it is pushed at once.

    Raises:
        ArgumentError: there is no such database.

    Example:
        >>> with on_commit(using="archive"):
        ...     index.perform_async(42)  # doctest: +SKIP
    """
    if callable(using):
        raise ArgumentError(
            f"on_commit() of jobd takes the alias of a database, not {using!r}: write "
            "with on_commit(): or @on_commit(). A function that is to be called after the commit "
            "is one for django.db.transaction.on_commit"
        )
    if using not in connections:
        known = ", ".join(connections)
        raise ArgumentError(f"on_commit: unknown database {using!r}; DATABASES has {known}")
    return Block(f"on_commit({using!r})", _using, using)
