"""Typed methods of jobs, so that mypy and pyright check a push like an ordinary call.

``Pushable`` has the signature of a function. The descriptors give the class methods of
:class:`~jobd.Job` the signature of ``perform``.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Never,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from jobd.errors import ArgumentError, no_attribute
from jobd.jobs.bound_job import Call
from jobd.jobs.times import Times, When
from jobd.jobs.transports import Around
from jobd.wire.attachments import OnConflict, Until

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)


if TYPE_CHECKING:
    from jobd.jobs.canvas.parts import Signature

_PUSHES = (
    *("delay", "apply_async", "send", "send_with_options", "enqueue", "enqueue_in"),
    *("schedule", "defer", "kiq", "perform_later", "push"),
)

_INSTEAD = {
    **dict.fromkeys(_PUSHES, "use perform_async, or perform_in or perform_at to run it later"),
    "apply": "use perform_inline, or call it",
    "retry": "raise Retry(after=SECONDS)",
    "delay_on_commit": "use perform_async, which waits for the commit in Django",
    **dict.fromkeys(("chunks", "map", "starmap"), "use perform_bulk, or a group"),
    **dict.fromkeys(("signature", "subtask"), "use s or si"),
    **dict.fromkeys(("request", "update_state"), "use current_job()"),
}
"""Names of the methods of other tools, and what to use here."""


class CallOptions(TypedDict, total=False):
    """The options that can be set for a call; None means not given."""

    queue: str | None
    retry: bool | int | None
    dead: bool | None
    backtrace: bool | int | None
    retry_queue: str | None
    retry_for: float | timedelta | None
    expires_in: float | timedelta | None
    unique: bool | None
    unique_for: float | timedelta | None
    unique_until: Until | None
    on_conflict: OnConflict | None
    debounce: float | timedelta | None
    max_wait: float | timedelta | None
    keep_result: float | timedelta | None
    stalled_after: float | timedelta | None
    tags: Sequence[str] | None
    extra: Mapping[str, object] | None


class Pushable(Generic[P, R_co]):
    """A job and the options for its next calls."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def set(self, **options: Unpack[CallOptions]) -> Pushable[P, R_co]:
        """The same job with other options; the job itself is unchanged.

        Raises:
            ArgumentError: an option has an invalid value, or cannot be set for a call.
        """
        return Pushable(self._call.with_options(options))

    def through(self, around: Around) -> Pushable[P, R_co]:
        """The same job, whose pushes go through *around*; see :meth:`jobd.Client.through`."""
        return Pushable(self._call.through(around))

    def perform_async(self, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Push a call.

        Returns:
            The job's id; None if client middleware stopped the push, or a unique job like it is
            there already. See :meth:`jobd.Client.push` for its type under a running event loop.

        Raises:
            ArgumentError: the arguments do not fit the signature, or JSON cannot carry them.
            DuplicateJobError: a job like it is there already, and ``on_conflict="raise"``.
            UnavailableError: Redis did not accept the job.
        """
        return self._call.push(args, kwargs)

    async def aperform_async(self, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Push a call from a coroutine, without blocking the event loop; otherwise as
        :meth:`perform_async`. Client middleware may be ``async``."""
        return await self._call.apush(args, kwargs)

    async def aperform_in(
        self, interval: float | timedelta, /, *args: P.args, **kwargs: P.kwargs
    ) -> str | None:
        """:meth:`perform_in` from a coroutine."""
        return await self._call.apush_at(interval, args, kwargs)

    async def aperform_at(self, when: When, /, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """:meth:`perform_at` from a coroutine."""
        return await self._call.apush_at(when, args, kwargs)

    async def aperform_bulk(
        self,
        calls: Iterable[Sequence[object]],
        *,
        at: Times = None,
        spread: float | None = None,
    ) -> list[str | None]:
        """:meth:`perform_bulk` from a coroutine."""
        return await self._call.apush_bulk(calls, at, spread)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Never:
            raise no_attribute(self, name, _INSTEAD.get(name, ""))

    def perform_in(
        self, interval: float | timedelta, /, *args: P.args, **kwargs: P.kwargs
    ) -> str | None:
        """Push a call that is due in *interval* seconds; see :meth:`perform_at`."""
        return self._call.push_at(interval, args, kwargs)

    def perform_at(self, when: When, /, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """Push a call that is due at *when*, or at once if that is in the past.

        Args:
            when: an aware datetime; a timedelta from now; or a number of seconds: from now if it is
                below 1,000,000,000, otherwise since 1970.

        Raises:
            ArgumentError: also for a datetime without a time zone.
        """
        return self._call.push_at(when, args, kwargs)

    def perform_bulk(
        self,
        calls: Iterable[Sequence[object]],
        *,
        at: Times = None,
        spread: float | None = None,
    ) -> list[str | None]:
        """Push many calls in few round trips.

        Args:
            calls: the positional arguments of each call.
            at: the time at which all of them are due, or a time for each.
            spread: seconds (at least 5) over which they are spread at random.

        Returns:
            One entry per call, as for :meth:`perform_async`.
        """
        return self._call.push_bulk(calls, at, spread)

    def s(self, *args: object, **kwargs: object) -> Signature:
        """A call that has not been made, for :func:`chain`, :func:`group` and :func:`chord`. In
        them it takes the result of the step before it as its first argument.

        Example:
            >>> (fetch.s(url) | store.s("pages")).perform_async()  # doctest: +SKIP
        """
        from jobd.jobs.canvas.parts import Signature  # most applications have no workflows

        return Signature(self._call, args, kwargs)

    def si(self, *args: object, **kwargs: object) -> Signature:
        """The same, of one that takes no result: its arguments are these."""
        from jobd.jobs.canvas.parts import Signature

        return Signature(self._call, args, kwargs, immutable=True)

    def unique_holder(self, *args: P.args, **kwargs: P.kwargs) -> str | None:
        """The id of the job that keeps this call out, if it is unique; None if it can be pushed.

        Raises:
            ArgumentError: the job is not unique.
            UnavailableError: Redis does not answer.
        """
        return self._call.unique_holder(args, kwargs)

    @overload
    def perform_inline(
        self: Pushable[P, Coroutine[object, None, T]], *args: P.args, **kwargs: P.kwargs
    ) -> T: ...
    @overload
    def perform_inline(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...
    def perform_inline(self, *args: P.args, **kwargs: P.kwargs) -> object:
        """Run a call immediately in this process, with middleware and JSON as in a worker.

        Returns:
            The job's result; None if middleware stopped it.
        """
        return self._call.run(args, kwargs)


class Performs(Protocol[P, R_co]):
    """Anything with a ``perform`` method."""

    def perform(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class SetOptions(Protocol[P, R_co]):
    """The type of ``set`` on a :class:`Job`; see :meth:`Pushable.set`."""

    def __call__(self, **options: Unpack[CallOptions]) -> Pushable[P, R_co]: ...


class MakesSignature(Protocol):
    """The type of ``s`` and ``si`` on a :class:`Job`; see :meth:`Pushable.s`."""

    def __call__(self, *args: object, **kwargs: object) -> Signature: ...


class Bulk(Protocol):
    """The type of ``perform_bulk`` on a :class:`Job`; see :meth:`Pushable.perform_bulk`."""

    def __call__(
        self,
        calls: Iterable[Sequence[object]],
        *,
        at: Times = None,
        spread: float | None = None,
    ) -> list[str | None]: ...


class AsyncBulk(Protocol):
    """The type of ``aperform_bulk`` on a :class:`Job`; see :meth:`Pushable.perform_bulk`."""

    def __call__(
        self,
        calls: Iterable[Sequence[object]],
        *,
        at: Times = None,
        spread: float | None = None,
    ) -> Coroutine[object, None, list[str | None]]: ...


# The class methods of Job take their types from the perform of the subclass. A classmethod cannot
# express that, but a descriptor can: it receives the class, which performs P.


def _pushable(owner: type[Any]) -> Pushable[..., object]:
    found: Pushable[..., object] | None = owner._pushable
    if found is None:
        raise ArgumentError(f"{owner.__qualname__} has no perform method, so it cannot be pushed")
    return found


class ThroughMethod:
    def __get__(
        self, instance: object, owner: type[Performs[P, R]]
    ) -> Callable[[Around], Pushable[P, R]]:
        return cast("Pushable[P, R]", _pushable(owner)).through


class SignatureMethod:
    def __get__(self, instance: object, owner: type[Performs[..., object]]) -> MakesSignature:
        return _pushable(owner).s


class ImmutableMethod:
    def __get__(self, instance: object, owner: type[Performs[..., object]]) -> MakesSignature:
        return _pushable(owner).si


class AsyncMethod:
    def __get__(
        self, instance: object, owner: type[Performs[P, object]]
    ) -> Callable[P, str | None]:
        return _pushable(owner).perform_async


class HolderMethod:
    def __get__(
        self, instance: object, owner: type[Performs[P, object]]
    ) -> Callable[P, str | None]:
        return _pushable(owner).unique_holder


class InMethod:
    def __get__(
        self, instance: object, owner: type[Performs[P, object]]
    ) -> Callable[Concatenate[float | timedelta, P], str | None]:
        return _pushable(owner).perform_in


class AtMethod:
    def __get__(
        self, instance: object, owner: type[Performs[P, object]]
    ) -> Callable[Concatenate[When, P], str | None]:
        return _pushable(owner).perform_at


class BulkMethod:
    def __get__(self, instance: object, owner: type[Performs[..., object]]) -> Bulk:
        return _pushable(owner).perform_bulk


class AAsyncMethod:
    def __get__(
        self, instance: object, owner: type[Performs[P, object]]
    ) -> Callable[P, Coroutine[object, None, str | None]]:
        return _pushable(owner).aperform_async


class AInMethod:
    def __get__(
        self, instance: object, owner: type[Performs[P, object]]
    ) -> Callable[Concatenate[float | timedelta, P], Coroutine[object, None, str | None]]:
        return _pushable(owner).aperform_in


class AAtMethod:
    def __get__(
        self, instance: object, owner: type[Performs[P, object]]
    ) -> Callable[Concatenate[When, P], Coroutine[object, None, str | None]]:
        return _pushable(owner).aperform_at


class ABulkMethod:
    def __get__(self, instance: object, owner: type[Performs[..., object]]) -> AsyncBulk:
        return _pushable(owner).aperform_bulk


class InlineMethod:
    @overload
    def __get__(
        self, instance: object, owner: type[Performs[P, Coroutine[object, None, T]]]
    ) -> Callable[P, T]: ...
    @overload
    def __get__(self, instance: object, owner: type[Performs[P, R]]) -> Callable[P, R]: ...
    def __get__(self, instance: object, owner: type[Performs[..., object]]) -> object:
        return _pushable(owner).perform_inline


class SetMethod:
    def __get__(self, instance: object, owner: type[Performs[P, R]]) -> SetOptions[P, R]:
        return cast("SetOptions[P, R]", _pushable(owner).set)
