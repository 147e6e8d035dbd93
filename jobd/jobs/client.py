"""The client that pushes jobs to Redis, in one round trip per push or batch.

The steps of a push are middleware, validation, encoding, Redis. A push is only retried if the first
attempt certainly stored nothing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from jobd.ambient import clock
from jobd.errors import ArgumentError
from jobd.jobs.bulk import Batch, Bulk
from jobd.jobs.checks import checked
from jobd.jobs.membership import membership
from jobd.jobs.middleware import Chain
from jobd.jobs.refusals import told
from jobd.jobs.signatures import Parameters
from jobd.jobs.times import due_at
from jobd.jobs.transports import Around, aroute, redis_for, route, routes
from jobd.wire import payload as wire
from jobd.wire.attachments import AttachedPush, Pushed
from jobd.wire.options import DEFAULTS
from jobd.wire.pushed import answer, answers

if TYPE_CHECKING:
    from redis import Redis

    from jobd.jobs.inline import Application
    from jobd.jobs.transports import AsyncTransport, Storing, Transport
    from jobd.store import async_enqueue, enqueue

T = TypeVar("T")

DEFAULT_URL = "redis://127.0.0.1:6379/0"
MAX_PAYLOAD = 1_048_576
"""Default limit for the size of a payload in bytes."""


class Client:
    """Pushes jobs. Thread-safe and fork-safe.

    Args:
        url: URL of Redis; default ``$JOBD_REDIS``, then ``$REDIS_URL``, then localhost.
        prefix: prefix of all keys; default ``$JOBD_PREFIX``, then none.
        redis: an existing client to use instead of *url*.
        max_payload: maximum size of a payload in bytes.

    Attributes:
        middleware: the chain around every push: that of the default application, or of the one
            that created this client; replace it with a copy to change it for this client only.
        default_options: default options of pushes by name.
        around: what is around its transport; see :meth:`through`.
        app: the application that created it; None for the default one.

    Example:
        >>> client = Client("redis://127.0.0.1:6379/0")
        >>> client.push({"class": "Reports::Monthly", "args": [2026, 11]})  # doctest: +SKIP
        '1befef82961e0772dce5ae4d'
    """

    middleware: Chain[str] = Chain()
    default_options: Mapping[str, object] = DEFAULTS
    app: Application | None = None

    def __init__(
        self,
        url: str | None = None,
        prefix: str | None = None,
        redis: Redis | None = None,
        *,
        max_payload: int = MAX_PAYLOAD,
    ) -> None:
        if url is not None and redis is not None:
            raise ArgumentError("give Client either a url or a redis client, not both")
        self.url = url or os.environ.get("JOBD_REDIS") or os.environ.get("REDIS_URL") or DEFAULT_URL
        self.prefix = os.environ.get("JOBD_PREFIX", "") if prefix is None else prefix
        self.max_payload = max_payload
        self._redis = redis
        self._given = redis is not None
        self._made: enqueue.Transport | None = None
        self._amade: async_enqueue.AsyncTransport | None = None
        self.around: Around | None = None
        self._origin: Client | None = None  # the one that `through` has copied

    @property
    def redis(self) -> Redis:
        """The Redis client: the given one, or one created from the URL; or what is in its place,
        see :mod:`jobd.jobs.transports`."""
        if routes.special and (other := redis_for(self)) is not None:
            return other
        return self._connected()

    def _connected(self) -> Redis:
        # Two threads may both create one at first; the other has no connection and is dropped.
        if self._redis is None:
            # Imported here, so that an application that only defines jobs starts without it.
            from jobd.store.connection import connect

            self._redis = connect(self.url)
        return self._redis

    @property
    def transport(self) -> Transport:
        """What stores its pushes: Redis, or what is in its place; see
        :mod:`jobd.jobs.transports`."""
        if not routes.special and self.around is None:
            return self._made or self._own()
        return route(self, self._own, self.around, membership.enclosing)

    def _own(self) -> enqueue.Transport:
        if self._origin is not None:
            return self._origin._own()
        if self._made is None:
            from jobd.store.enqueue import Transport

            self._made = Transport(self._connected(), self.prefix)
        return self._made

    @property
    def atransport(self) -> AsyncTransport:
        """The same for pushes from coroutines."""
        if not routes.special and self.around is None:
            return self._amade or self._aown()
        return aroute(self, self._aown, self.around, membership.enclosing)

    def _aown(self) -> async_enqueue.AsyncTransport:
        if self._origin is not None:
            return self._origin._aown()
        if self._amade is None:
            from jobd.store.async_enqueue import AsyncTransport

            self._amade = AsyncTransport(self._connected(), self.prefix)
        return self._amade

    def through(self, around: Around | None) -> Client:
        """This client, with *around* around its transport: it decides for each push whether it is
        held back, until a transaction commits for example. None takes away what was there.

        Example:
            >>> client = Client("redis://127.0.0.1:6379/0")
            >>> client.through(None).url
            'redis://127.0.0.1:6379/0'
        """
        self._connected()  # made once, so that both share its connections
        other = object.__new__(type(self))  # copy.copy would take longer than the push
        other.__dict__.update(self.__dict__)
        other.around, other._origin = around, self._origin or self
        return other

    def close(self) -> None:
        """Close its connections, unless it was given its Redis client. The next push opens new
        ones."""
        if self._redis is not None and not self._given:
            self._redis.connection_pool.disconnect(inuse_connections=False)

    async def aclose(self) -> None:
        """:meth:`close`, and the connections of the running event loop."""
        self.close()
        if self._amade is not None:
            await self._amade.aclose()

    @property
    def destination(self) -> str:
        """Where its pushes go, see :func:`destination`; "" if it was given a Redis client or an
        invalid URL."""
        if self._given:
            return ""
        from jobd.settings.schema import Invalid

        try:
            return destination(self.url, self.prefix)
        except Invalid:
            return ""

    def push(self, item: Mapping[str, object]) -> str | None:
        """Push a job by the name of its class, without having its code.

        Args:
            item: ``class`` and ``args``; optionally ``kwargs``, ``jid``, ``at`` (a time as for
                ``perform_at``, in seconds) and any option such as ``queue`` or ``retry``; fields
                that jobd does not know go into ``extra`` or to the top level.

        Returns:
            The job's id; None if client middleware stopped the push, or a unique job like it is
            there already. If an event loop is running, it is a ``str`` that can be awaited; the
            push has blocked the loop in any case.

        Raises:
            ArgumentError: the item, or one of the arguments, is invalid.
            DuplicateJobError: a job like it is there already, and ``on_conflict="raise"``.
            UnavailableError: Redis did not accept the job.
        """
        return self.send(*self._by_name(item))

    async def apush(self, item: Mapping[str, object]) -> str | None:
        """Push a job by the name of its class from a coroutine; see :meth:`push`.

        The event loop goes on while Redis is asked. Middleware may be ``async``. Each event loop
        has connections of its own.
        """
        return await self.asend(*self._by_name(item))

    def _by_name(self, item: Mapping[str, object]) -> tuple[wire.Payload, float | None]:
        fields = wire.fields(item)
        now = clock.now()
        made = wire.complete(fields, self.default_options, now=now)
        return made, due_at(made.pop("at", 0), now)

    def push_bulk(self, item: Mapping[str, Any]) -> list[str | None]:
        """Push many jobs of one class by name; see :meth:`push`.

        Args:
            item: as for :meth:`push`, but ``args`` is an iterable of argument lists. ``at`` may
                be a list with a time for each. ``spread_interval`` spreads the jobs at random over
                that many seconds (at least 5).

        Returns:
            One entry per job: its id, or None if client middleware stopped it.
        """
        fields = dict(item)
        calls = fields.pop("args", None)
        if isinstance(calls, str | bytes | Mapping) or not isinstance(calls, Iterable):
            raise ArgumentError("push_bulk needs 'args' to be a list of argument lists")
        if "jid" in fields:
            raise ArgumentError("push_bulk gives every job an id of its own; omit 'jid'")
        at, spread = fields.pop("at", None), fields.pop("spread_interval", None)
        fields = wire.fields({**fields, "args": []})
        return self.send_bulk(Bulk(fields, self.default_options, calls, at=at, spread=spread))

    # --- for bound_job, which has the code of the job -------------------------------------------

    def prepare(
        self, made: wire.Payload, at: float | None, parameters: Parameters | None
    ) -> tuple[wire.Payload, Pushed | None] | None:
        """Run the middleware and validate the result; None if it stopped the push. With what the
        push has to do beside storing the job, if anything."""
        if changed := bool(self.middleware):
            if at is not None:
                made["at"] = at
            if found := self.middleware.asynchronous:
                raise ArgumentError(
                    f"{made['class']}: the client middleware {found[0]} is async, so only "
                    "aperform_async and the like can push"
                )
            if not self.middleware.invoke(made["class"], made, made["queue"], lambda: made):
                return None
        return self._joined(checked(made, at, parameters, changed))

    async def aprepare(
        self, made: wire.Payload, at: float | None, parameters: Parameters | None
    ) -> tuple[wire.Payload, Pushed | None] | None:
        """The same on the running event loop, for middleware of both kinds."""
        if not self.middleware.asynchronous:
            if membership.active:
                await membership.aroom()
            return self.prepare(made, at, parameters)
        if at is not None:
            made["at"] = at
        if not await self.middleware.ainvoke(made["class"], made, made["queue"], lambda: made):
            return None
        if membership.active:
            await membership.aroom()
        return self._joined(checked(made, at, parameters, True))

    def _joined(
        self, ready: tuple[wire.Payload, Pushed | None]
    ) -> tuple[wire.Payload, Pushed | None]:
        """The same job as a member of the batch that it is pushed into, if any."""
        if membership.active:
            membership.join(ready[0], self)
        return ready

    def send(
        self, made: wire.Payload, at: float | None, parameters: Parameters | None = None
    ) -> str | None:
        """Prepare, encode and store a payload; returns its jid or None."""
        began = time.monotonic()
        ready = self.prepare(made, at, parameters)
        if ready is None:
            return None
        made, pushed = ready
        if pushed is None:
            self._store(self.transport, made, at, parameters)
            return answer(made["jid"], began)
        jobs = [self._attached(made, pushed, parameters)]
        [jid] = told(jobs, self.transport.push(jobs, clock.now()))
        return None if jid is None else answer(jid, began)

    async def asend(
        self, made: wire.Payload, at: float | None, parameters: Parameters | None = None
    ) -> str | None:
        """:meth:`send` on the running event loop."""
        ready = await self.aprepare(made, at, parameters)
        if ready is None:
            return None
        made, pushed = ready
        if pushed is None:
            await self._store(self.atransport, made, at, parameters)
            return str(made["jid"])
        jobs = [self._attached(made, pushed, parameters)]
        [jid] = told(jobs, await self.atransport.push(jobs, clock.now()))
        return jid

    def _store(
        self,
        transport: Storing[T],
        made: wire.Payload,
        at: float | None,
        parameters: Parameters | None,
    ) -> T:
        """Give a payload to a transport of either kind; returns what that returns."""
        names = None if parameters is None else parameters.names
        if at is not None:
            return transport.schedule([(at, wire.encode(made, self.max_payload, names))])
        wire.stamp(made, clock.now())
        return transport.enqueue({made["queue"]: [wire.encode(made, self.max_payload, names)]})

    def _attached(
        self, made: wire.Payload, pushed: Pushed, parameters: Parameters | None
    ) -> AttachedPush:
        # The script writes the time: the job may have to wait for another one.
        names = None if parameters is None else parameters.names
        raw = wire.encode(made, self.max_payload, names)
        return AttachedPush(raw, str(made["jid"]), made["queue"], pushed)

    def holder(self, key: str) -> str | None:
        """The id of the job that holds the lock *key*.

        Raises:
            UnavailableError: Redis does not answer.
        """
        return self.transport.holder(key)

    def send_bulk(self, bulk: Bulk) -> list[str | None]:
        """Send a bulk push in batches, limited in number and bytes."""
        began = time.monotonic()
        for batch in bulk.batches():
            with bulk.counted():
                for made, due in bulk.payloads(batch):
                    ready = self.prepare(made, due, bulk.parameters)
                    self._add(batch, ready, due, bulk.parameters)
            for jobs, conflicts in batch.stored(self.transport):
                bulk.note(batch, jobs, conflicts)
        return answers(bulk.jids(), began)

    async def asend_bulk(self, bulk: Bulk) -> list[str | None]:
        """:meth:`send_bulk` on the running event loop."""
        for batch in bulk.batches():
            with bulk.counted():
                for made, due in bulk.payloads(batch):
                    ready = await self.aprepare(made, due, bulk.parameters)
                    self._add(batch, ready, due, bulk.parameters)
            for jobs, conflicts in batch.stored(self.atransport):
                bulk.note(batch, jobs, await conflicts)
        return bulk.jids()

    def _add(
        self,
        batch: Batch,
        ready: tuple[wire.Payload, Pushed | None] | None,
        at: float | None,
        parameters: Parameters | None,
    ) -> None:
        """Add a prepared job, None if middleware has stopped it."""
        if ready is None:
            batch.jids.append(None)
            return
        made, pushed = ready
        if pushed is not None:
            batch.attach(self._attached(made, pushed, parameters))
            return
        if at is None:
            wire.stamp(made, clock.now())
        names = None if parameters is None else parameters.names
        raw = wire.encode(made, self.max_payload, names)
        batch.add(made["jid"], made["queue"], raw, at)


def destination(url: str, prefix: str) -> str:
    """Where pushes to *url* go, for display and comparison; contains no secrets.

    Raises:
        Invalid: *url* is invalid.
    """
    from jobd.settings.redis_url import target  # not needed for pushes

    return f"{target(url)}{f' with the prefix {prefix}' if prefix else ''}"
