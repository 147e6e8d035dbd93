"""The application object: what jobs, hooks and middleware belong to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack, overload

from jobd.jobs.client import MAX_PAYLOAD, Client
from jobd.jobs.context import CurrentJob
from jobd.jobs.decorators import FunctionJob, OnExhausted, RetryIn, function_job
from jobd.jobs.hooks import DeathHandler, ErrorHandler, Event, Handlers, Hook, Hooks
from jobd.jobs.middleware import Chain
from jobd.jobs.pushable import CallOptions
from jobd.jobs.registry import Registry
from jobd.wire.options import DEFAULTS, merged

if TYPE_CHECKING:
    from redis import Redis

P = ParamSpec("P")
R = TypeVar("R")


class JobOptions(CallOptions, total=False):
    """The options of a job: those that a call can have, and those that it cannot change."""

    name: str | None
    retry_in: RetryIn | None
    on_exhausted: OnExhausted | None
    timeout: float | timedelta | None


class App:
    """An application: its jobs, hooks and middleware, and where its jobs are pushed to.

    Nearly all programs need the default one only, whose parts are ``jobd.job``, ``jobd.on``,
    ``jobd.configure`` and so on. Several in one process know nothing of each other.

    Args:
        default_options: of its jobs that give none, and of pushes by name with its client.

    Attributes:
        client_middleware: around every push.
        server_middleware: around every execution.
        error_handlers: each is called with every exception of a job or of jobd itself, and a dict
            of its context.
        death_handlers: each is called with the payload and the exception of a job that will not be
            tried again.
        default_options: payload fields.
        registry: its jobs.
        hooks: its functions for moments in the life of a worker process.

    Raises:
        ArgumentError: an option holds what it may not hold, or there is none of that name.

    Example:
        >>> shop = App(default_options={"queue": "shop"})
        >>> shop.configure("redis://127.0.0.1:6379/1", prefix="shop:").prefix
        'shop:'
        >>> @shop.job(retry=5)
        ... def pack(order_id: int) -> None: ...
    """

    def __init__(self, *, default_options: Mapping[str, Any] | None = None) -> None:
        self.registry = Registry()
        self.hooks = Hooks()
        self.error_handlers = Handlers[ErrorHandler]("an error handler")
        self.death_handlers = Handlers[DeathHandler]("a death handler")
        self.client_middleware: Chain[str] = Chain()
        self.server_middleware: Chain[CurrentJob] = Chain()
        self.default_options: Mapping[str, Any] = merged(DEFAULTS, default_options or {})
        self._client: Client | None = None

    @property
    def client(self) -> Client:
        """What its jobs are pushed with, made from the environment unless :meth:`configure` was
        called."""
        if self._client is None:
            return self.configure()
        return self._client

    @property
    def configured(self) -> bool:
        """Whether it has a client already."""
        return self._client is not None

    def configure(
        self,
        redis: str | Redis | None = None,
        prefix: str | None = None,
        *,
        max_payload: int = MAX_PAYLOAD,
    ) -> Client:
        """Set up the client that ``perform_async`` and its kin use in this process.

        Args:
            redis: a URL or a client; default as for :class:`Client`.
            prefix: of every key; default as for :class:`Client`.
            max_payload: bytes allowed for one payload.

        Example:
            >>> App().configure("redis://127.0.0.1:6379/1", prefix="shop:").prefix
            'shop:'
        """
        url, given = (redis, None) if isinstance(redis, str) else (None, redis)
        client = Client(url, prefix, given, max_payload=max_payload)
        client.middleware = self.client_middleware
        client.default_options = self.default_options
        self._client = client
        return client

    @overload
    def job(self, function: Callable[P, R], /) -> FunctionJob[P, R]: ...
    @overload
    def job(
        self, /, **options: Unpack[JobOptions]
    ) -> Callable[[Callable[P, R]], FunctionJob[P, R]]: ...
    def job(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        retry_in: RetryIn | None = None,
        on_exhausted: OnExhausted | None = None,
        timeout: float | timedelta | None = None,
        **options: Any,
    ) -> Any:
        """Make a job of a function.

        Args:
            name: class name on the wire; default module and qualified name of the function.
            queue: default ``"default"``.
            retry: True (25 times), False (never, and not into the dead set), or how many times.
            dead: False keeps a job that is exhausted out of the dead set.
            backtrace: True, or how many lines of the traceback to keep with a failed job.
            retry_queue: where retries go.
            retry_for: seconds since the first failure for which it is tried again; replaces the
                count.
            retry_in: seconds until the next try, or DISCARD, or KILL, or None for the default
                delay; called with the count, the exception and the payload.
            on_exhausted: called with the payload and the exception after the last try; may return
                DISCARD.
            timeout: seconds that one execution may take; then JobTimeout is raised in it, which is
                a failure like any other.
            tags: strings that dashboards show and filter by.
            extra: further fields of the payload, which middleware can read.

        Raises:
            ArgumentError: an option holds what it may not hold, there is none of that name, the
                name is taken, or no worker could find the function.

        Example:
            >>> @job(queue="mail", retry=5)
            ... def greet(user_id: int, *, loud: bool = False) -> None: ...
            >>> greet.perform_async(42, loud=True)  # doctest: +SKIP
            '1befef82961e0772dce5ae4d'
        """

        def decorate(target: Callable[..., Any]) -> FunctionJob[..., Any]:
            return function_job(self, target, name, options, retry_in, on_exhausted, timeout)

        return decorate if function is None else decorate(function)

    def on(self, event: Event) -> Callable[[Hook], Hook]:
        """Register a function for a moment in the life of each worker process.

        ``startup`` runs before the first job, in the order of registration, and an exception in it
        keeps the worker from starting. ``quiet`` (no more jobs are taken), ``shutdown`` (stopping
        begins) and ``exit`` (all jobs are done or given back) run in reverse order. Each function
        runs at most once.

        Raises:
            ArgumentError: there is no such event, or the function is ``async`` or a generator.

        Example:
            >>> @App().on("startup")
            ... def warm_up() -> None:
            ...     print("loading")
        """
        return self.hooks.on(event)


default = App()
"""The application whose parts are ``jobd.job``, ``jobd.on`` and so on."""

default.client_middleware = Client.middleware  # a client made by hand pushes as the default one
