"""``@job`` and ``Job``: how an application says what a job is, and calls it.

The types do the rest of the work: a call is checked against the signature of the function by
mypy and pyright, and once more when it is pushed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, Protocol, TypeVar, cast, overload

from jobd.call import Call, merged
from jobd.client import DEFAULTS
from jobd.errors import ArgumentError
from jobd.registry import Definition, origin_of, register
from jobd.when import When

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
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


class Pushable(Generic[P, R_co]):
    """A job and the options for its next calls."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def set(
        self,
        *,
        queue: str | None = None,
        retry: bool | int | None = None,
        dead: bool | None = None,
        backtrace: bool | int | None = None,
        retry_queue: str | None = None,
        retry_for: float | timedelta | None = None,
        tags: Sequence[str] | None = None,
        **extra: Any,
    ) -> Pushable[P, R_co]:
        """The same job with other options; the job itself does not change.

        Raises:
            ArgumentError: an option holds what it may not hold.
        """
        return Pushable(
            self._call.with_options(
                {
                    "retry": retry,
                    "queue": queue,
                    "dead": dead,
                    "backtrace": backtrace,
                    "retry_queue": retry_queue,
                    "retry_for": retry_for,
                    "tags": tags,
                    **extra,
                }
            )
        )

    def perform_async(self, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Push a call.

        Returns:
            The job's id; None if client middleware stopped the push.

        Raises:
            ArgumentError: the arguments do not fit the signature, or JSON cannot carry them.
            UnavailableError: Redis did not take it.
        """
        return self._call.push(args, kwargs)

    def perform_in(
        self, interval: float | timedelta, /, *args: P.args, **kwargs: P.kwargs
    ) -> str | None:
        """Push a call that is due in *interval* seconds; see :meth:`perform_at`."""
        return self._call.push_at(interval, args, kwargs)

    def perform_at(self, when: When, /, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Push a call that is due at *when*; at once, if that has passed.

        Args:
            when: an aware datetime; a timedelta from now; or a number of seconds, from now below
                1,000,000,000 and since 1970 from there on.

        Raises:
            ArgumentError: also for a datetime without a time zone.
        """
        return self._call.push_at(when, args, kwargs)

    def perform_bulk(
        self,
        calls: Iterable[Sequence[Any]],
        *,
        at: When | Sequence[When] | None = None,
        spread: float | None = None,
    ) -> list[str | None]:
        """Push many calls in few round trips.

        Args:
            calls: the positional arguments of each.
            at: when all of them are due, or a time for each.
            spread: seconds (at least 5) over which they become due, at random.

        Returns:
            One entry a call, as of :meth:`perform_async`.
        """
        return self._call.push_bulk(calls, at, spread)

    @overload
    def perform_inline(
        self: Pushable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    def perform_inline(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def perform_inline(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run a call here and now, through middleware and JSON as a worker would.

        Returns:
            What the job returned; None if middleware stopped it.
        """
        return self._call.run(args, kwargs)


class FunctionJob(Pushable[P, R_co]):
    """What ``@job`` makes of a function. Called directly, it is still that function."""

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
    tags: Sequence[str] | None = None,
    **extra: Any,
) -> Callable[[Callable[P, R]], FunctionJob[P, R]]: ...
def job(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    retry_in: RetryIn | None = None,
    on_exhausted: OnExhausted | None = None,
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
        tags: strings that dashboards show and filter by.
        extra: any further key travels in the payload.

    Raises:
        ArgumentError: an option holds what it may not hold, or the name is taken.

    Example:
        >>> @job(queue="mail", retry=5)
        ... def greet(user_id: int, *, loud: bool = False) -> None: ...
        >>> greet.perform_async(42, loud=True)  # doctest: +SKIP
        '1befef82961e0772dce5ae4d'
    """

    def decorate(target: Callable[..., Any]) -> FunctionJob[..., Any]:
        settings = _Settings(_options_of(target, DEFAULTS, options), retry_in, on_exhausted)
        definition = _define(target, target, inspect.signature(target), name, settings)
        return FunctionJob(target, Call(definition))

    return decorate if function is None else decorate(function)


@dataclass(frozen=True, slots=True)
class _Settings:
    """Everything that a decorator or a class statement says, but the name."""

    options: Mapping[str, Any] = field(default_factory=lambda: DEFAULTS)
    retry_in: RetryIn | None = None
    on_exhausted: OnExhausted | None = None


def _options_of(
    code: Callable[..., Any], base: Mapping[str, Any], given: Mapping[str, Any]
) -> Mapping[str, Any]:
    try:
        return merged(base, given)
    except ArgumentError as error:
        raise ArgumentError(f"{code.__qualname__}: {error}") from None


def _define(
    code: Callable[..., Any],
    function: Callable[..., Any],
    signature: inspect.Signature,
    name: str | None,
    settings: _Settings,
) -> Definition:
    """Register the job that *function* runs and *code*, the function or class, stands for."""
    origin = origin_of(code)
    what = code.__qualname__
    if name is not None and (not isinstance(name, str) or not name):
        raise ArgumentError(f"{what}: name must be a non-empty string, not {name!r}")
    for key in ("retry_in", "on_exhausted"):
        handler = getattr(settings, key)
        if handler is not None and not callable(handler):
            raise ArgumentError(f"{what}: {key} must be a function, not {handler!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ArgumentError(f"{what} is a generator: calling it would run none of its code")
    definition = Definition(
        name=name or origin,
        function=function,
        options=settings.options,
        retry_in=settings.retry_in,
        on_exhausted=settings.on_exhausted,
        is_async=inspect.iscoroutinefunction(function),
        signature=signature,
        origin=origin,
    )
    register(definition)
    return definition


class Performs(Protocol[P, R_co]):
    """Anything with a ``perform`` method."""

    def perform(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class SetOptions(Protocol[P, R_co]):
    """The type of ``set`` on a :class:`Job`; see :meth:`Pushable.set`."""

    def __call__(
        self,
        *,
        queue: str | None = None,
        retry: bool | int | None = None,
        dead: bool | None = None,
        backtrace: bool | int | None = None,
        retry_queue: str | None = None,
        retry_for: float | timedelta | None = None,
        tags: Sequence[str] | None = None,
        **extra: Any,
    ) -> Pushable[P, R_co]: ...


class Bulk(Protocol):
    """The type of ``perform_bulk`` on a :class:`Job`; see :meth:`Pushable.perform_bulk`."""

    def __call__(
        self,
        calls: Iterable[Sequence[Any]],
        *,
        at: When | Sequence[When] | None = None,
        spread: float | None = None,
    ) -> list[str | None]: ...


# The class methods of Job take their types from the subclass's perform. A class method cannot
# say that, but a descriptor can: it is given the class, and that class performs P.


def _pushable(owner: type[Any]) -> Pushable[..., Any]:
    found: Pushable[..., Any] | None = owner._pushable
    if found is None:
        raise ArgumentError(f"{owner.__qualname__} has no perform method, so it cannot be pushed")
    return found


class _Async:
    def __get__(self, instance: object, owner: type[Performs[P, Any]]) -> Callable[P, str | None]:
        return _pushable(owner).perform_async


class _In:
    def __get__(
        self, instance: object, owner: type[Performs[P, Any]]
    ) -> Callable[Concatenate[float | timedelta, P], str | None]:
        return _pushable(owner).perform_in


class _At:
    def __get__(
        self, instance: object, owner: type[Performs[P, Any]]
    ) -> Callable[Concatenate[When, P], str | None]:
        return _pushable(owner).perform_at


class _Bulk:
    def __get__(self, instance: object, owner: type[Performs[..., Any]]) -> Bulk:
        return _pushable(owner).perform_bulk


class _Inline:
    @overload
    def __get__(
        self, instance: object, owner: type[Performs[P, Coroutine[Any, Any, T]]]
    ) -> Callable[P, T]: ...
    @overload
    def __get__(self, instance: object, owner: type[Performs[P, R]]) -> Callable[P, R]: ...
    def __get__(self, instance: object, owner: type[Performs[..., Any]]) -> Any:
        return _pushable(owner).perform_inline


class _Set:
    def __get__(self, instance: object, owner: type[Performs[P, R]]) -> SetOptions[P, R]:
        return cast("SetOptions[P, R]", _pushable(owner).set)


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

    perform_async = _Async()
    perform_in = _In()
    perform_at = _At()
    perform_bulk = _Bulk()
    perform_inline = _Inline()
    set = _Set()

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
        tags: Sequence[str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init_subclass__()
        options = {
            "retry": retry,
            "queue": queue,
            "dead": dead,
            "backtrace": backtrace,
            "retry_queue": retry_queue,
            "retry_for": retry_for,
            "tags": tags,
            **extra,
        }
        base = cls._settings
        cls._settings = _Settings(
            _options_of(cls, base.options, options),
            retry_in or base.retry_in,
            on_exhausted or base.on_exhausted,
        )
        perform = getattr(cls, "perform", None)
        if perform is None:
            return
        if not inspect.isfunction(perform):
            raise ArgumentError(f"{cls.__qualname__}.perform must be a method, with self")

        made: Callable[[], Any] = cls

        def run(*args: Any, **kwargs: Any) -> Any:
            return made().perform(*args, **kwargs)

        own = inspect.signature(perform)
        signature = own.replace(parameters=list(own.parameters.values())[1:])
        cls._pushable = Pushable(Call(_define(cls, run, signature, name, cls._settings)))
