"""``Job``, the base class of jobs that are classes; options are given in the class statement."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from types import MethodType
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from jobd.errors import ArgumentError
from jobd.jobs.app import App, default
from jobd.jobs.bound_job import Call
from jobd.jobs.decorators import (
    OnCancel,
    OnExhausted,
    RetryIn,
    Settings,
    define,
    options_of,
    schedules_of,
    settings_of,
)
from jobd.jobs.pushable import (
    AAsyncMethod,
    AAtMethod,
    ABulkMethod,
    AInMethod,
    AsyncMethod,
    AtMethod,
    BulkMethod,
    CallOptions,
    HolderMethod,
    ImmutableMethod,
    InlineMethod,
    InMethod,
    Pushable,
    SetMethod,
    SignatureMethod,
    ThroughMethod,
)
from jobd.jobs.registry import UniqueBy
from jobd.wire.options import OPTIONS

if TYPE_CHECKING:
    from jobd.schedules.schedule import PeriodicOptions

    class ClassOptions(CallOptions, PeriodicOptions, total=False):
        """The options in a class statement."""


_IN_BODY = (*OPTIONS, "name", "cron", "every")
_FUNCTIONS = ("retry_in", "on_exhausted", "on_cancel", "unique_by")


def _refuse_in_body(cls: type[Job]) -> None:
    """Refuse options that are written as class attributes, where they have no effect.

    Methods and properties may have the name of an option whose value is not a function.

    Raises:
        ArgumentError: names the first, and where it belongs.
    """
    for name in _IN_BODY:
        value = vars(cls).get(name)
        if value is None or (
            name not in _FUNCTIONS and (callable(value) or hasattr(value, "__get__"))
        ):
            continue
        raise ArgumentError(
            f"{cls.__qualname__}: the option {name!r} has no effect in the body of the class; give "
            f"it in the class statement: class {cls.__name__}(Job, {name}=...)"
        )


def _signature_of(cls: type[Job], perform: object) -> inspect.Signature:
    """The signature of *perform* without self.

    Raises:
        ArgumentError: it is not a method with self.
    """
    if inspect.isfunction(perform) and inspect.isfunction(inspect.getattr_static(cls, "perform")):
        with suppress(ValueError):  # it takes nothing at all
            return inspect.signature(MethodType(perform, cls))
    raise ArgumentError(f"{cls.__qualname__}.perform must be a method, with self")


def _refuse_arguments(cls: type[Job]) -> None:
    """Refuse a class that cannot be instantiated without arguments.

    Raises:
        ArgumentError: its ``__init__`` requires arguments.
    """
    try:
        signature = inspect.signature(cls)
    except ValueError:
        return  # implemented in C
    try:
        signature.bind()
    except TypeError as error:
        raise ArgumentError(
            f"{cls.__qualname__}: every execution creates an instance without arguments, but its "
            f"__init__ requires some ({error}); pass the arguments of a call to perform"
        ) from None


class Job:
    """Base class of jobs: subclasses define ``perform``, with options in the class statement.

    Every execution creates a new instance, without arguments. Options are inherited, but for
    ``cron`` and ``every``. A subclass
    without ``perform`` is not a job, but can hold options for its subclasses. With ``app=`` the
    class and its subclasses belong to that :class:`~jobd.App`, otherwise to the default one.

    Raises:
        ArgumentError: an option is unknown or has an invalid value, or the name is taken.

    Example:
        >>> class Resize(Job, queue="images", retry=5):
        ...     def perform(self, path: str, width: int) -> None: ...
        >>> Resize.perform_async("cat.png", 640)  # doctest: +SKIP
        '1befef82961e0772dce5ae4d'
    """

    _app: ClassVar[App] = default
    _settings: ClassVar[Settings] = Settings()
    _pushable: ClassVar[Pushable[..., object] | None] = None

    perform_async = AsyncMethod()
    perform_in = InMethod()
    perform_at = AtMethod()
    perform_bulk = BulkMethod()
    aperform_async = AAsyncMethod()
    aperform_in = AInMethod()
    aperform_at = AAtMethod()
    aperform_bulk = ABulkMethod()
    perform_inline = InlineMethod()
    s = SignatureMethod()
    si = ImmutableMethod()
    set = SetMethod()
    through = ThroughMethod()
    unique_holder = HolderMethod()

    def __init_subclass__(
        cls,
        *,
        app: App | None = None,
        name: str | None = None,
        retry_in: RetryIn | None = None,
        on_exhausted: OnExhausted | None = None,
        timeout: float | timedelta | None = None,
        unique_by: UniqueBy = None,
        on_cancel: OnCancel | None = None,
        cancellable: bool | None = None,
        **options: Unpack[ClassOptions],
    ) -> None:
        super().__init_subclass__()
        _refuse_in_body(cls)
        if app is not None:
            if not isinstance(app, App):
                raise ArgumentError(f"{cls.__qualname__}: app must be a jobd.App, not {app!r}")
            cls._app = app
        base, own = cls._settings, dict[str, object](options)
        schedules = schedules_of(cls, own)
        cls._settings = settings_of(
            cls,
            options_of(cls, base.options, own),
            retry_in or base.retry_in,
            on_exhausted or base.on_exhausted,
            base.timeout if timeout is None else timeout,
            unique_by or base.unique_by,
            on_cancel or base.on_cancel,
            base.cancellable if cancellable is None else cancellable,
            schedules,
        )
        perform = getattr(cls, "perform", None)
        if perform is None:
            return
        signature = _signature_of(cls, perform)
        _refuse_arguments(cls)

        made: Callable[[], Any] = cls

        def run(*args: object, **kwargs: object) -> object:
            return made().perform(*args, **kwargs)

        owner = cls._app
        definition = define(owner, cls, perform, run, signature, name, cls._settings)
        cls._pushable = Pushable(Call(owner, definition))
