"""The implementation of ``@job``, and what it shares with class jobs.

Calls are checked against the signature of the function by mypy and pyright, and again when they are
pushed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from types import MethodType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from jobd.errors import ArgumentError
from jobd.jobs.bound_job import Call, Owner
from jobd.jobs.pushable import Pushable
from jobd.jobs.registry import Definition, UniqueBy, module_of, origin_of
from jobd.jobs.signatures import check_unique_by
from jobd.jobs.unrun import is_coroutine_function, is_generator_function, refuse_lazy
from jobd.wire.options import OPTIONS, check_seconds, merged
from jobd.wire.payload import Payload

if TYPE_CHECKING:
    from jobd.schedules.schedule import Schedule

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Verdict(Enum):
    """What ``retry_in`` may return instead of seconds."""

    DISCARD = "discard"
    KILL = "kill"

    def __repr__(self) -> str:
        return self.name


DISCARD = Verdict.DISCARD
"""Drop the job: no retry, and not into the dead set. Death handlers run."""

KILL = Verdict.KILL
"""No more retries: the job is treated as if its retries were exhausted."""

_NEVER_PERIODIC = frozenset(OPTIONS)

# The exception is Any, to accept functions that take an Exception or a BaseException.
RetryIn = Callable[[int, Any, Payload], float | Verdict | None]
OnExhausted = Callable[[Payload, Any], object]
OnCancel = Callable[[Payload], object]


class FunctionJob(Pushable[P, R_co]):
    """The result of ``@job``. Calling it calls the function."""

    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., object]

    def __init__(self, function: Callable[P, R_co], call: Call) -> None:
        super().__init__(call)
        self._function = function
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        return self._function(*args, **kwargs)

    @property
    def name(self) -> str:
        """Class name in the payload."""
        return self._call.definition.name

    def __repr__(self) -> str:
        return f"<job {self.name}>"


def function_job(
    owner: Owner,
    target: Callable[..., object],
    name: str | None,
    options: Mapping[str, object],
    retry_in: RetryIn | None,
    on_exhausted: OnExhausted | None,
    timeout: float | timedelta | None,
    unique_by: UniqueBy,
    on_cancel: OnCancel | None,
    cancellable: bool | None,
) -> FunctionJob[..., object]:
    """Turn a function into a job; see :meth:`jobd.App.job`."""
    if isinstance(target, str):
        raise ArgumentError(
            f"@job decorates a function, not {target!r}; options are keyword arguments, as in "
            f"@job(queue={target!r}). Otherwise {_AS_A_CLASS}"
        )
    if isinstance(target, _NO_FUNCTIONS) or not hasattr(target, "__qualname__"):
        raise ArgumentError(f"@job decorates a function, not {target!r}; {_AS_A_CLASS}")
    options = dict(options)
    schedules = schedules_of(target, options)
    own = options_of(target, {}, options)
    settings = settings_of(
        target, own, retry_in, on_exhausted, timeout, unique_by, on_cancel, cancellable, schedules
    )
    definition = define(owner, target, target, target, inspect.signature(target), name, settings)
    return FunctionJob(target, Call(owner, definition))


_NO_FUNCTIONS = (type, staticmethod, classmethod, MethodType)
_AS_A_CLASS = "write a module-level function, or a subclass of Job with perform"


def _refuse_hidden(code: Callable[..., object], name: str | None) -> None:
    """Refuse code that a worker would not find by importing its module.

    Raises:
        ArgumentError: it is a method, or it is defined inside a function and has no *name*. With a
            name it is allowed, for functions that the module calls at its import.
    """
    path = code.__qualname__
    owner, _, own = path.rpartition(".")
    if owner and not owner.endswith(">") and not isinstance(code, type):
        raise ArgumentError(
            f"{path} is a method, and a worker has no object to call it on: {_AS_A_CLASS}"
        )
    if name is None and "<" in path:
        what = "is a lambda" if own == "<lambda>" else f"is defined inside {owner[:-9]}()"
        raise ArgumentError(
            f"{path} {what}, so a worker that imports {module_of(code)} would not find it: "
            f"{_AS_A_CLASS}. If a decorator returns it, use functools.wraps there; if the module "
            "defines it whenever it is imported, give it a name=..."
        )


@dataclass(frozen=True, slots=True)
class Settings:
    """The arguments of a decorator or class statement, except the name."""

    options: Mapping[str, object] = field(default_factory=dict)
    retry_in: RetryIn | None = None
    on_exhausted: OnExhausted | None = None
    timeout: float | timedelta | None = None
    unique_by: UniqueBy = None
    on_cancel: OnCancel | None = None
    cancellable: bool | None = None
    schedules: tuple[Schedule, ...] = ()


def settings_of(
    code: Callable[..., object],
    options: Mapping[str, object],
    retry_in: RetryIn | None,
    on_exhausted: OnExhausted | None,
    timeout: float | timedelta | None,
    unique_by: UniqueBy,
    on_cancel: OnCancel | None,
    cancellable: bool | None,
    schedules: tuple[Schedule, ...] = (),
) -> Settings:
    functions = {"retry_in": retry_in, "on_exhausted": on_exhausted, "on_cancel": on_cancel}
    for name, function in functions.items():
        if function is not None:
            refuse_lazy(f"{code.__qualname__}: {name}", function)
    if cancellable is not None and type(cancellable) is not bool:
        raise ArgumentError(
            f"{code.__qualname__}: cancellable must be True or False, not {cancellable!r}"
        )
    return Settings(
        options, retry_in, on_exhausted, timeout, unique_by, on_cancel, cancellable, schedules
    )


def options_of(
    code: Callable[..., object], base: Mapping[str, object], given: Mapping[str, object]
) -> Mapping[str, object]:
    try:
        return merged(base, given)
    except ArgumentError as error:
        raise ArgumentError(f"{code.__qualname__}: {error}") from None


def define(
    owner: Owner,
    code: Callable[..., object],
    body: Callable[..., object],
    function: Callable[..., object],
    signature: inspect.Signature,
    name: str | None,
    settings: Settings,
) -> Definition:
    """Register a job.

    Args:
        owner: the application that it belongs to.
        code: the function or class that defines it.
        body: the function or method that does the work.
        function: the callable that a worker calls.
    """
    origin = origin_of(code)
    what = code.__qualname__
    if name is not None and (not isinstance(name, str) or not name):
        raise ArgumentError(f"{what}: name must be a non-empty string, not {name!r}")
    if is_generator_function(body):
        raise ArgumentError(f"{what} is a generator: calling it would run none of its code")
    _refuse_hidden(code, name)
    if settings.schedules:
        _check_schedules(what, settings.schedules, name or origin, signature)
    definition = Definition(
        name=name or origin,
        function=function,
        body=body,
        options={**owner.default_options, **settings.options},
        retry_in=settings.retry_in,
        on_exhausted=settings.on_exhausted,
        timeout=_seconds(what, settings.timeout),
        unique_by=check_unique_by(what, settings.unique_by, signature),
        signature=signature,
        origin=origin,
        on_cancel=settings.on_cancel,
        cancellable=settings.cancellable is not False,
        is_async=is_coroutine_function(body),
        schedules=settings.schedules,
    )
    owner.registry.register(definition)
    return definition


def schedules_of(code: Callable[..., object], options: dict[str, object]) -> tuple[Schedule, ...]:
    """The schedules that *options* ask for; takes these out of them."""
    if options.keys() <= _NEVER_PERIODIC:
        return ()
    from jobd.schedules.schedule import taken  # few jobs are periodic

    return taken(code.__qualname__, options)


def _check_schedules(
    what: str, schedules: tuple[Schedule, ...], job: str, signature: inspect.Signature
) -> None:
    from jobd.schedules.schedule import names

    for one in schedules:
        _check_call(what, one, signature)
    called = names(job, schedules)
    if double := [one for one in called if called.count(one) > 1]:
        raise ArgumentError(f"{what}: two schedules are called {double[0]!r}; give each a name=...")


def _check_call(what: str, schedule: Schedule, signature: inspect.Signature) -> None:
    try:
        signature.bind(*schedule.args, **schedule.kwargs)
    except TypeError as error:
        raise ArgumentError(
            f"{what}: its schedule {schedule.line} calls it with other arguments than it takes: "
            f"{error}; its signature is {signature}. Give them as Schedule(..., args=[...])"
        ) from None


def _seconds(what: str, timeout: float | timedelta | None) -> float | None:
    if timeout is None:
        return None
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    return float(check_seconds(f"{what}: timeout", seconds))
