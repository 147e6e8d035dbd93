"""``@job`` and ``Job``: how an application says what a job is, and calls it.

The types do the rest of the work: a call is checked against the signature of the function by
mypy and pyright, and once more when it is pushed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from types import MethodType
from typing import Any, ClassVar, Never, ParamSpec, TypeVar, overload

from jobd.errors import ArgumentError
from jobd.jobs.bound_job import Call
from jobd.jobs.functions import is_generator_function, refuse_lazy
from jobd.jobs.pushable import (
    AsyncMethod,
    AtMethod,
    BulkMethod,
    InlineMethod,
    InMethod,
    Pushable,
    SetMethod,
)
from jobd.jobs.registry import Definition, module_of, origin_of, register
from jobd.wire.options import DEFAULTS, OPTIONS, check_seconds, merged

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Verdict(Enum):
    """What ``retry_in`` may answer instead of seconds."""

    DISCARD = "discard"
    KILL = "kill"

    def __repr__(self) -> str:
        return self.name


DISCARD = Verdict.DISCARD
"""Drop the job: no retry, and not into the dead set. Death handlers run."""

KILL = Verdict.KILL
"""No more retries: the job goes the way of one that has used them all up."""

# The exception is Any so that a function that takes an Exception, or a BaseException, fits.
RetryIn = Callable[[int, Any, dict[str, Any]], float | Verdict | None]
OnExhausted = Callable[[dict[str, Any], Any], object]


class FunctionJob(Pushable[P, R_co]):
    """What ``@job`` makes of a function. Called directly, it is still that function."""

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __init__(self, function: Callable[P, R_co], call: Call) -> None:
        super().__init__(call)
        self._function = function
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return self._function(*args, **kwargs)

    @property
    def name(self) -> str:
        """Class name on the wire."""
        return self._call.definition.name

    def __repr__(self) -> str:
        return f"<job {self.name}>"


@overload
def job(function: Callable[P, R], /) -> FunctionJob[P, R]: ...
@overload
def job(
    *,
    name: str | None = None,
    queue: str | None = None,
    retry: bool | int | None = None,
    dead: bool | None = None,
    backtrace: bool | int | None = None,
    retry_queue: str | None = None,
    retry_for: float | timedelta | None = None,
    retry_in: RetryIn | None = None,
    on_exhausted: OnExhausted | None = None,
    timeout: float | timedelta | None = None,
    tags: Sequence[str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Callable[[Callable[P, R]], FunctionJob[P, R]]: ...
def job(
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
        retry_for: seconds since the first failure for which it is tried again; replaces the count.
        retry_in: seconds until the next try, or DISCARD, or KILL, or None for the default delay;
            called with the count, the exception and the payload.
        on_exhausted: called with the payload and the exception after the last try; may return
            DISCARD.
        timeout: seconds that one execution may take; then JobTimeout is raised in it, which is a
            failure like any other.
        tags: strings that dashboards show and filter by.
        extra: further fields of the payload, which middleware can read.

    Raises:
        ArgumentError: an option holds what it may not hold, there is none of that name, the name
            is taken, or no worker could find the function.

    Example:
        >>> @job(queue="mail", retry=5)
        ... def greet(user_id: int, *, loud: bool = False) -> None: ...
        >>> greet.perform_async(42, loud=True)  # doctest: +SKIP
        '1befef82961e0772dce5ae4d'
    """

    def decorate(target: Callable[..., Any]) -> FunctionJob[..., Any]:
        if isinstance(target, str):
            raise ArgumentError(
                f"@job goes on a function, not on {target!r}; options are given by their names, "
                f"as in @job(queue={target!r}). Otherwise {_AS_A_CLASS}"
            )
        if isinstance(target, _NO_FUNCTIONS) or not hasattr(target, "__qualname__"):
            raise ArgumentError(f"@job goes on a function, not on {target!r}; {_AS_A_CLASS}")
        own = _options_of(target, DEFAULTS, options)
        settings = _settings(target, own, retry_in, on_exhausted, timeout)
        definition = _define(target, target, target, inspect.signature(target), name, settings)
        return FunctionJob(target, Call(definition))

    return decorate if function is None else decorate(function)


_NO_FUNCTIONS = (type, staticmethod, classmethod, MethodType)
_AS_A_CLASS = "write a function in the module itself, or a class that inherits Job, with perform"


def _refuse_hidden(code: Callable[..., Any], name: str | None) -> None:
    """Refuse code that a worker would not find by importing its module.

    Raises:
        ArgumentError: it is a method, or it is made inside a function and has no *name*. With one
            it may be made there, by a function that the module itself calls.
    """
    path = code.__qualname__
    owner, _, own = path.rpartition(".")
    if owner and not owner.endswith("<locals>") and not isinstance(code, type):
        raise ArgumentError(
            f"{path} is a method, and a worker would have no object to call it on: {_AS_A_CLASS}"
        )
    if name is None and "<" in path:
        what = "is a lambda" if own == "<lambda>" else f"is defined inside {owner[:-9]}()"
        raise ArgumentError(
            f"{path} {what}, so a worker that imports {module_of(code)} would not know it: "
            f"{_AS_A_CLASS}. If it is a decorator's, use functools.wraps there; if the module "
            "makes it whenever it is imported, give it a name=..."
        )


@dataclass(frozen=True, slots=True)
class _Settings:
    """Everything that a decorator or a class statement says, but the name."""

    options: Mapping[str, Any] = field(default_factory=lambda: DEFAULTS)
    retry_in: RetryIn | None = None
    on_exhausted: OnExhausted | None = None
    timeout: float | timedelta | None = None


def _settings(
    code: Callable[..., Any],
    options: Mapping[str, Any],
    retry_in: RetryIn | None,
    on_exhausted: OnExhausted | None,
    timeout: float | timedelta | None,
) -> _Settings:
    for name, function in (("retry_in", retry_in), ("on_exhausted", on_exhausted)):
        if function is not None:
            refuse_lazy(f"{code.__qualname__}: {name}", function)
    return _Settings(options, retry_in, on_exhausted, timeout)


def _options_of(
    code: Callable[..., Any], base: Mapping[str, Any], given: Mapping[str, Any]
) -> Mapping[str, Any]:
    try:
        return merged(base, given)
    except ArgumentError as error:
        raise ArgumentError(f"{code.__qualname__}: {error}") from None


def _define(
    code: Callable[..., Any],
    body: Callable[..., Any],
    function: Callable[..., Any],
    signature: inspect.Signature,
    name: str | None,
    settings: _Settings,
) -> Definition:
    """Register a job.

    Args:
        code: the function or class that stands for it.
        body: the function or method that does the work.
        function: what a worker calls.
    """
    origin = origin_of(code)
    what = code.__qualname__
    if name is not None and (not isinstance(name, str) or not name):
        raise ArgumentError(f"{what}: name must be a non-empty string, not {name!r}")
    if is_generator_function(body):
        raise ArgumentError(f"{what} is a generator: calling it would run none of its code")
    _refuse_hidden(code, name)
    definition = Definition(
        name=name or origin,
        function=function,
        body=body,
        options=settings.options,
        retry_in=settings.retry_in,
        on_exhausted=settings.on_exhausted,
        timeout=_seconds(what, settings.timeout),
        signature=signature,
        origin=origin,
    )
    register(definition)
    return definition


def _seconds(what: str, timeout: float | timedelta | None) -> float | None:
    if timeout is None:
        return None
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    return float(check_seconds(f"{what}: timeout", seconds))


_IN_BODY = (*OPTIONS, "name")
_FUNCTIONS = ("retry_in", "on_exhausted")


def _refuse_in_body(cls: type[Job]) -> None:
    """Refuse options that are written as attributes of the class, where they have no effect.

    A method or property may be called like an option that holds no function.

    Raises:
        ArgumentError: names the first, and where it goes.
    """
    for name in _IN_BODY:
        value = vars(cls).get(name)
        if value is None or (
            name not in _FUNCTIONS and (callable(value) or hasattr(value, "__get__"))
        ):
            continue
        raise ArgumentError(
            f"{cls.__qualname__}: the option {name!r} has no effect in the body of the class; it "
            f"goes into the class statement: class {cls.__name__}(Job, {name}=...)"
        )


def _signature_of(cls: type[Job], perform: Any) -> inspect.Signature:
    """The signature of a call of *perform*, without the instance.

    Raises:
        ArgumentError: it does not take one.
    """
    if inspect.isfunction(perform) and inspect.isfunction(inspect.getattr_static(cls, "perform")):
        with suppress(ValueError):  # it takes nothing at all
            return inspect.signature(MethodType(perform, cls))
    raise ArgumentError(f"{cls.__qualname__}.perform must be a method, with self")


def _refuse_arguments(cls: type[Job]) -> None:
    """Refuse a class of which no instance can be made without arguments.

    Raises:
        ArgumentError: its ``__init__`` requires some.
    """
    try:
        signature = inspect.signature(cls)
    except ValueError:
        return  # it is written in C
    try:
        signature.bind()
    except TypeError as error:
        raise ArgumentError(
            f"{cls.__qualname__}: every execution makes an instance without arguments, but its "
            f"__init__ wants some ({error}); what a call is about goes to perform"
        ) from None


class Job:
    """A job as a class: subclass it and write ``perform``. Options go into the class statement.

    Every execution makes a new instance, without arguments. Subclasses of a subclass inherit its
    options. A subclass without ``perform`` is no job, but a place for options.

    Raises:
        ArgumentError: an option holds what it may not hold, or the name is taken.

    Example:
        >>> class Resize(Job, queue="images", retry=5):
        ...     def perform(self, path: str, width: int) -> None: ...
        >>> Resize.perform_async("cat.png", 640)  # doctest: +SKIP
        '1befef82961e0772dce5ae4d'
    """

    _settings: ClassVar[_Settings] = _Settings()
    _pushable: ClassVar[Pushable[..., Any] | None] = None

    perform_async = AsyncMethod()
    perform_in = InMethod()
    perform_at = AtMethod()
    perform_bulk = BulkMethod()
    perform_inline = InlineMethod()
    set = SetMethod()

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        queue: str | None = None,
        retry: bool | int | None = None,
        dead: bool | None = None,
        backtrace: bool | int | None = None,
        retry_queue: str | None = None,
        retry_for: float | timedelta | None = None,
        retry_in: RetryIn | None = None,
        on_exhausted: OnExhausted | None = None,
        timeout: float | timedelta | None = None,
        tags: Sequence[str] | None = None,
        extra: Mapping[str, Any] | None = None,
        **unknown: Never,
    ) -> None:
        super().__init_subclass__()
        _refuse_in_body(cls)
        options = {
            "retry": retry,
            "queue": queue,
            "dead": dead,
            "backtrace": backtrace,
            "retry_queue": retry_queue,
            "retry_for": retry_for,
            "tags": tags,
            "extra": extra,
            **unknown,
        }
        base = cls._settings
        cls._settings = _settings(
            cls,
            _options_of(cls, base.options, options),
            retry_in or base.retry_in,
            on_exhausted or base.on_exhausted,
            base.timeout if timeout is None else timeout,
        )
        perform = getattr(cls, "perform", None)
        if perform is None:
            return
        signature = _signature_of(cls, perform)
        _refuse_arguments(cls)

        made: Callable[[], Any] = cls

        def run(*args: Any, **kwargs: Any) -> Any:
            return made().perform(*args, **kwargs)

        cls._pushable = Pushable(Call(_define(cls, perform, run, signature, name, cls._settings)))
