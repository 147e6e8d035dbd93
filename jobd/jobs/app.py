"""The application object, which holds jobs, hooks and middleware."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, ParamSpec, TypeVar, Unpack, overload

from jobd.jobs.client import MAX_PAYLOAD, Client
from jobd.jobs.context import CurrentJob
from jobd.jobs.decorators import FunctionJob, OnCancel, OnExhausted, RetryIn, function_job
from jobd.jobs.hooks import CancelHandler, DeathHandler, ErrorHandler, Event, Handlers, Hook, Hooks
from jobd.jobs.middleware import Chain
from jobd.jobs.propagation import propagation
from jobd.jobs.pushable import CallOptions
from jobd.jobs.registry import Registry, UniqueBy
from jobd.wire.options import DEFAULTS, merged

if TYPE_CHECKING:
    from redis import Redis

    from jobd.jobs.transports import Around
    from jobd.schedules.schedule import PeriodicOptions

    class JobOptions(CallOptions, PeriodicOptions, total=False):
        """The options of a job: those of a call, and those that a call cannot change."""

        name: str | None
        retry_in: RetryIn | None
        on_exhausted: OnExhausted | None
        timeout: float | timedelta | None
        unique_by: UniqueBy
        on_cancel: OnCancel | None
        cancellable: bool | None


P = ParamSpec("P")
R = TypeVar("R")


class App:
    """An application: its jobs, hooks, middleware and client.

    Most programs only need the default application, whose members are ``jobd.job``, ``jobd.on``,
    ``jobd.configure`` and so on. Several applications in one process are independent.

    Args:
        default_options: default options of its jobs, and of pushes by name with its client.

    Attributes:
        client_middleware: middleware around every push.
        server_middleware: middleware around every execution.
        error_handlers: functions called with every exception of a job or of jobd itself, and a dict
            of its context.
        death_handlers: functions called with the payload and the exception of a job that will not
            be retried.
        cancel_handlers: functions called with the payload of a job that was cancelled after its
            start.
        default_options: payload fields.
        registry: its jobs.
        hooks: functions for lifecycle events of worker processes.

    Raises:
        ArgumentError: an option is unknown or has an invalid value.

    Example:
        >>> shop = App(default_options={"queue": "shop"})
        >>> shop.configure("redis://127.0.0.1:6379/1", prefix="shop:").prefix
        'shop:'
        >>> @shop.job(retry=5)
        ... def pack(order_id: int) -> None: ...
    """

    def __init__(self, *, default_options: Mapping[str, object] | None = None) -> None:
        self.registry = Registry()
        self.hooks = Hooks()
        self.error_handlers = Handlers[ErrorHandler]("an error handler")
        self.death_handlers = Handlers[DeathHandler]("a death handler")
        self.cancel_handlers = Handlers[CancelHandler]("a cancel handler")
        self.client_middleware: Chain[str] = Chain()
        self.server_middleware: Chain[CurrentJob] = Chain()
        self.default_options: Mapping[str, object] = merged(DEFAULTS, default_options or {})
        self._client: Client | None = None
        self._around: Around | None = None

    @property
    def client(self) -> Client:
        """The client that pushes its jobs; created from the environment unless :meth:`configure`
        was called."""
        if self._client is None:
            return self.configure()
        return self._client

    @property
    def configured(self) -> bool:
        """Whether it has a client."""
        return self._client is not None

    def configure(
        self,
        redis: str | Redis | None = None,
        prefix: str | None = None,
        *,
        max_payload: int = MAX_PAYLOAD,
        lineage: bool = False,
    ) -> Client:
        """Set up the client that ``perform_async`` and the like use in this process.

        Args:
            redis: a URL or a client; default as for :class:`Client`.
            prefix: prefix of all keys; default as for :class:`Client`.
            max_payload: maximum size of a payload in bytes.
            lineage: whether jobs that are pushed by jobs in this process record which one; in
                workers the setting ``lineage`` says so, too.

        Example:
            >>> App().configure("redis://127.0.0.1:6379/1", prefix="shop:").prefix
            'shop:'
        """
        if lineage:
            propagation.follow(lineage=True)
        url, given = (redis, None) if isinstance(redis, str) else (None, redis)
        client = Client(url, prefix, given, max_payload=max_payload)
        client.middleware = self.client_middleware
        client.default_options = self.default_options
        client.around = self._around
        client.app = self
        self._client = client
        return client

    def push_through(self, around: Around | None) -> None:
        """Put *around* around the transport of its client, and of each that :meth:`configure` makes
        later; see :meth:`jobd.Client.through`. None takes away what was there."""
        self._around = around
        if self._client is not None:
            self._client.around = around

    @overload
    def job(self, function: Callable[P, R], /) -> FunctionJob[P, R]: ...
    @overload
    def job(
        self, /, **options: Unpack[JobOptions]
    ) -> Callable[[Callable[P, R]], FunctionJob[P, R]]: ...
    def job(
        self,
        function: Callable[..., object] | None = None,
        /,
        *,
        name: str | None = None,
        retry_in: RetryIn | None = None,
        on_exhausted: OnExhausted | None = None,
        timeout: float | timedelta | None = None,
        unique_by: UniqueBy = None,
        on_cancel: OnCancel | None = None,
        cancellable: bool | None = None,
        **options: object,
    ) -> object:
        """Turn a function into a job.

        Args:
            name: class name in the payload; default: module and qualified name of the function.
            queue: queue that the job is pushed to; default ``"default"``.
            retry: True (25 retries), False (no retries, and not into the dead set), or the number
                of retries.
            dead: False keeps the job out of the dead set when its retries are exhausted.
            backtrace: True, or how many lines of the traceback to keep with a failed job.
            retry_queue: queue for retries.
            retry_for: seconds since the first failure in which the job is retried; replaces the
                number of retries.
            retry_in: function that returns the seconds until the next attempt, or DISCARD, or KILL,
                or None for the default delay; called with the count, the exception and the payload.
            on_exhausted: called with the payload and the exception after the last attempt; may
                return DISCARD.
            timeout: seconds that an execution may take; then JobTimeout is raised in it, which
                counts as a failure.
            on_cancel: called with the payload if the job was cancelled (:func:`jobd.cancel`) after
                it had started.
            cancellable: False for a job in which no :class:`JobCancelled` is raised when it is
                cancelled; it can ask ``current_job().cancelled``.
            expires_in: seconds (or a timedelta) after its due time in which the job may start;
                later it is dropped as expired.
            unique: True: a call is not pushed while one with the same arguments waits, runs or will
                be retried.
            unique_for: seconds (or a timedelta) after the due time at which others are let in
                again in any case.
            unique_until: ``"success"`` (the default: until the job has ended), ``"start"`` or
                ``"expiry"`` (for all of ``unique_for``).
            unique_by: names of the arguments that make a call unique, or a function that is called
                with them and returns what does; default: all.
            on_conflict: what a push does that is not let in: ``"skip"`` (it returns None),
                ``"raise"`` (:class:`DuplicateJobError`), ``"holder"`` (it returns the id of the
                other job), ``"replace"`` (the other one, if it is still scheduled) or ``"again"``
                (the job runs once more when the other one has ended).
            debounce: seconds from the last push after which the job runs, once for all of them.
            max_wait: seconds from the first of these pushes after which it runs in any case.
            keep_result: seconds (or a timedelta) for which the result is kept, for
                :class:`jobd.Result`.
            stalled_after: seconds (or a timedelta) without a report of
                :meth:`~jobd.CurrentJob.progress` after which the running job counts as stalled,
                which is logged and shown.
            cron: a line of cron at whose times the job is pushed by itself, a
                :class:`Schedule`, or a list of these.
            every: seconds (or a timedelta) after which it is pushed by itself, again and again.
            tz: name of the time zone of the line; default UTC.
            catch_up: which missed ticks of these are pushed later: ``"last"`` (the default),
                ``"all"`` or ``"none"``.
            grace: seconds (or a timedelta) for which that is done; default 600.
            overlap: ``"skip"`` (the default: no tick while the job of an earlier one lives) or
                ``"allow"``.
            jitter: seconds (or a timedelta) within which the job is due after the tick.
            tags: strings that dashboards show and filter by.
            extra: further fields of the payload, which middleware can read.

        Raises:
            ArgumentError: an option is unknown or has an invalid value, the name is taken, or
                workers could not find the function.

        Example:
            >>> @job(queue="mail", retry=5)
            ... def greet(user_id: int, *, loud: bool = False) -> None: ...
            >>> greet.perform_async(42, loud=True)  # doctest: +SKIP
            '1befef82961e0772dce5ae4d'
        """

        def decorate(target: Callable[..., object]) -> FunctionJob[..., object]:
            return function_job(
                self,
                target,
                name,
                options,
                retry_in,
                on_exhausted,
                timeout,
                unique_by,
                on_cancel,
                cancellable,
            )

        return decorate if function is None else decorate(function)

    def on(self, event: Event) -> Callable[[Hook], Hook]:
        """Register a hook for a lifecycle event of worker processes.

        ``startup`` hooks run before the first job, in the order of registration, and an exception
        in one prevents the worker from starting. ``leader`` hooks run in one worker of the daemon
        whose keeper leads, each time that it begins to. ``quiet`` (no more jobs are fetched),
        ``shutdown`` (the stop begins) and ``exit`` (all jobs are done or returned to their queues)
        hooks run in reverse order. Each function runs at most once per process, except those for
        ``leader``.

        Raises:
            ArgumentError: the event is unknown, or the function is ``async`` or a generator.

        Example:
            >>> @App().on("startup")
            ... def warm_up() -> None:
            ...     print("loading")
        """
        return self.hooks.on(event)


default = App()
"""The default application, whose members are ``jobd.job``, ``jobd.on`` and so on."""

default.client_middleware = Client.middleware  # also used by clients created directly
