"""A job with the options of a call; ``pushable.py`` adds the types."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Iterable, Mapping
from typing import Protocol

from jobd.ambient import clock
from jobd.errors import ArgumentError, JobdError
from jobd.jobs.bulk import Bulk
from jobd.jobs.client import Client
from jobd.jobs.context import CurrentJob
from jobd.jobs.inline import perform
from jobd.jobs.middleware import Chain
from jobd.jobs.registry import Definition, Registry
from jobd.jobs.signatures import Parameters
from jobd.jobs.times import Times, When, due_at
from jobd.jobs.transports import Around
from jobd.jobs.unrun import awaited
from jobd.wire import attachments
from jobd.wire import payload as wire
from jobd.wire.options import merged


class Owner(Protocol):
    """The part of :class:`jobd.App` that a job uses."""

    @property
    def registry(self) -> Registry: ...
    @property
    def server_middleware(self) -> Chain[CurrentJob]: ...
    @property
    def default_options(self) -> Mapping[str, object]: ...
    @property
    def client(self) -> Client: ...


class _Through:
    """An owner whose pushes go through *around*."""

    __slots__ = ("_around", "_owner")

    def __init__(self, owner: Owner, around: Around) -> None:
        self._owner = owner
        self._around = around

    @property
    def registry(self) -> Registry:
        return self._owner.registry

    @property
    def server_middleware(self) -> Chain[CurrentJob]:
        return self._owner.server_middleware

    @property
    def default_options(self) -> Mapping[str, object]:
        return self._owner.default_options

    @property
    def client(self) -> Client:
        return self._owner.client.through(self._around)


class Call:
    """Pushes a job with a set of options, or runs it in this process."""

    __slots__ = ("_parameters", "definition", "options", "owner")

    def __init__(
        self,
        owner: Owner,
        definition: Definition,
        options: Mapping[str, object] | None = None,
        parameters: Parameters | None = None,
    ) -> None:
        self.owner = owner
        self.definition = definition
        self.options = definition.options if options is None else options
        self._parameters = parameters or Parameters(definition)

    def with_options(self, given: Mapping[str, object]) -> Call:
        """The same job with its options updated with *given*."""
        try:
            options = merged(self.options, given)
        except ArgumentError as error:
            raise ArgumentError(f"{self.definition.name}.set: {error}") from None
        return Call(self.owner, self.definition, options, self._parameters)

    def through(self, around: Around) -> Call:
        """The same job, whose pushes go through *around*."""
        return Call(_Through(self.owner, around), self.definition, self.options, self._parameters)

    def push(self, args: tuple[object, ...], kwargs: dict[str, object]) -> str | None:
        return self.owner.client.send(self._payload(args, kwargs), None, self._parameters)

    def push_at(
        self, when: When, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> str | None:
        now = clock.now()
        made = self._payload(args, kwargs, now)
        return self.owner.client.send(made, due_at(when, now), self._parameters)

    def push_bulk(
        self, calls: Iterable[object], at: Times, spread: float | None
    ) -> list[str | None]:
        return self.owner.client.send_bulk(self._bulk(calls, at, spread))

    async def apush(self, args: tuple[object, ...], kwargs: dict[str, object]) -> str | None:
        client, made = self.owner.client, self._payload(args, kwargs)
        return await client.asend(made, None, self._parameters)

    async def apush_at(
        self, when: When, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> str | None:
        now = clock.now()
        made = self._payload(args, kwargs, now)
        return await self.owner.client.asend(made, due_at(when, now), self._parameters)

    async def apush_bulk(
        self, calls: Iterable[object], at: Times, spread: float | None
    ) -> list[str | None]:
        return await self.owner.client.asend_bulk(self._bulk(calls, at, spread))

    def _bulk(self, calls: Iterable[object], at: Times, spread: float | None) -> Bulk:
        return Bulk(
            {"class": self.definition.name},
            self.options,
            calls,
            at=at,
            spread=spread,
            parameters=self._parameters,
        )

    def unique_holder(self, args: tuple[object, ...], kwargs: dict[str, object]) -> str | None:
        made = self._payload(args, kwargs)
        attachments.attach(made, None, clock.now(), self._parameters.identity)
        lock = attachments.read(made.get(attachments.FIELD)).lock
        if lock is None:
            raise ArgumentError(f"{self.definition.name} is not unique: give it unique=True")
        return self.owner.client.holder(lock.key)

    def run(self, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        """Do what a push and an execution do, without Redis; returns the job's result."""
        client = self.owner.client
        ready = client.prepare(self._payload(args, kwargs), None, self._parameters)
        if ready is None:
            return None
        made, _ = ready  # it is never pushed, and takes no lock
        raw = wire.encode(made, client.max_payload, self._parameters.names)
        chain = self.owner.server_middleware
        return perform(raw, made["queue"], self.definition, chain, self._run_awaitable)

    @property
    def parameters(self) -> Parameters:
        """Its parameters, against which calls are checked."""
        return self._parameters

    def step(
        self, args: tuple[object, ...], kwargs: Mapping[str, object], jid: str, *, more: int = 0
    ) -> wire.Payload:
        """The payload of a call that is a step of a workflow.

        Args:
            more: how many arguments come before *args* when it starts.

        Raises:
            ArgumentError: the arguments do not fit the signature.
        """
        try:
            self._parameters.check([None] * more + list(args), kwargs)
        except ArgumentError as error:
            if not more:
                raise
            raise ArgumentError(
                f"{error}. The result of the step before it comes first; si() makes a signature "
                "that takes none"
            ) from None
        name = self.definition.name
        return wire.create(name, list(args), kwargs, self.options, jid=jid, now=clock.now())

    def _run_awaitable(self, awaitable: Awaitable[object]) -> object:
        import asyncio  # imported only for async jobs

        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(awaited(awaitable))
        if isinstance(awaitable, Coroutine):
            awaitable.close()
        raise JobdError(
            f"{self.definition.name} is async and cannot run inline inside a running event loop; "
            "await the function itself"
        )

    def _payload(
        self, args: tuple[object, ...], kwargs: dict[str, object], now: float | None = None
    ) -> wire.Payload:
        self._parameters.check(args, kwargs)
        return wire.create(
            self.definition.name,
            list(args),
            kwargs,
            self.options,
            jid=wire.new_jid(),
            now=clock.now() if now is None else now,
        )
