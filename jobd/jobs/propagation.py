"""Context propagation: what travels from a push to its job, the job's retries, and the jobs that it
pushes.

Three things do: the values of context variables named by :func:`carry`; a W3C trace context, at the
top level of the payload; and, where either of them is used or ``lineage`` is on, the ids of the
parent and of the root. Context variables belong to the process, so this does, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextvars import ContextVar, Token, copy_context
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from jobd.errors import ArgumentError, PayloadError
from jobd.jobs.context import TRACEPARENT, TRACESTATE, CurrentJob, running_job
from jobd.wire import attachments
from jobd.wire.arguments import refuse_foreign
from jobd.wire.payload import Payload, to_json

MOST_CARRIED = 1024
"""Bytes of JSON of the values that travel with one job."""

MOST_STATE = 512
"""Characters of a tracestate; W3C requires that so many are passed on."""

MOST_JID = 100
"""Characters of an id that is noted as that of a parent or root."""

_IDS = r"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_TRACEPARENT = re.compile(rf"00{_IDS}|(?!00|ff)[0-9a-f]{{2}}{_IDS}(?:-[!-~]{{0,200}})?")


Variable = ContextVar[Any]


class _Trace(NamedTuple):
    parent: str
    state: str | None


def _trace_of(traceparent: str | None, tracestate: str | None) -> _Trace | None:
    """None if *traceparent* is not in the format of W3C, whose rule that is."""
    if not traceparent or not _TRACEPARENT.fullmatch(traceparent):
        return None
    fits = tracestate and len(tracestate) <= MOST_STATE
    return _Trace(traceparent, tracestate if fits else None)


_trace: ContextVar[_Trace | None] = ContextVar("jobd_trace_context", default=None)


class Carried(Protocol):
    """A value that travels and is not in a context variable, such as the language of a framework.

    Attributes:
        name: of the value in the payload.
    """

    name: str

    def current(self) -> object:
        """The value at a push, as JSON; None if there is nothing to carry."""

    def restore(self, value: object) -> None:
        """Set it again, in the context of the job that starts; *value* may be anything that is
        JSON."""


class Propagation:
    """What travels in this process.

    Attributes:
        active: whether pushes must look at all: something is used, or jobs run here, whose trace
            the jobs that they push continue.
        used: whether something travels from here: variables, a trace, or the parent.
        lineage: whether parent and root are recorded, whatever else travels.
    """

    __slots__ = ("_others", "_unknown", "_variables", "active", "lineage", "used")

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Let nothing travel, as in a new process."""
        self.active = False
        self.used = False
        self.lineage = False
        self._variables: dict[str, Variable] = {}
        self._others: dict[str, Carried] = {}
        self._unknown: set[str] = set()

    def carry(self, variables: tuple[Variable, ...]) -> None:
        """See :func:`carry`."""
        for variable in variables:
            if not isinstance(variable, ContextVar):
                raise ArgumentError(f"carry takes contextvars.ContextVar objects, not {variable!r}")
            refuse_foreign("the name of a context variable", variable.name)
            taken = variable.name in self._others
            if taken or self._variables.setdefault(variable.name, variable) is not variable:
                raise ArgumentError(
                    f"two context variables called {variable.name!r} are to be carried; a payload "
                    "has them by their names, so give them different ones"
                )
        self.active = self.used = True

    def carry_also(self, other: Carried) -> None:
        """Let a value travel that is not in a context variable. One of the same name is
        replaced."""
        if other.name in self._variables:
            raise ArgumentError(f"a context variable called {other.name!r} is carried already")
        self._others[other.name] = other
        self.active = self.used = True

    def follow(self, *, lineage: bool = False) -> None:
        """Jobs run in this process: what they push continues their traces."""
        self.active = True
        self.lineage = self.lineage or lineage
        self.used = self.used or lineage

    def inject(self, made: Payload) -> None:
        """Write what travels into the payload of a push; nothing that it has already is replaced.

        Raises:
            ArgumentError: JSON cannot carry a value, or the values are too large.
        """
        job = running_job()
        if not self.used and (job is None or not job.traced):
            return
        traced = TRACEPARENT in made or self._continue_trace(made, job)
        changes: dict[str, object] = {}
        if (self._variables or self._others) and (values := self._values(made["class"])):
            changes["context"] = values
        if job is not None and (traced or self.lineage or self._variables):
            changes.update(_lineage(job))
        if not changes:
            return
        there = made.get(attachments.FIELD) or {}
        if missing := {key: value for key, value in changes.items() if key not in there}:
            attachments.add(made, **missing)

    @staticmethod
    def _continue_trace(made: Payload, job: CurrentJob | None) -> bool:
        """Add the trace of this context, or else of the running *job*; returns whether there is
        one."""
        trace = _trace.get()
        if trace is None and job is not None and job.traced:
            trace = _trace_of(job.traceparent, job.tracestate)
        if trace is None:
            return False
        made[TRACEPARENT] = trace.parent
        if trace.state is not None:
            made[TRACESTATE] = trace.state
        return True

    def _values(self, job: str) -> dict[str, object]:
        values: dict[str, object] = {}
        if self._variables:
            context = copy_context()
            values = {name: context[one] for name, one in self._variables.items() if one in context}
        for name, other in self._others.items():
            if (value := other.current()) is not None:
                values[name] = value
        if not values:
            return values
        for name, value in values.items():
            try:
                refuse_foreign(f"the carried context variable {name}", value)
            except ArgumentError as error:
                raise ArgumentError(f"{job}: {error}") from None
        if (size := len(to_json(values))) > MOST_CARRIED:
            sizes = {name: len(to_json(value)) for name, value in values.items()}
            largest = max(values, key=lambda name: sizes[name])
            raise ArgumentError(
                f"{job}: the carried context variables take {size:,} bytes of JSON, but at most "
                f"{MOST_CARRIED:,} travel with a job; the largest, {largest}, takes "
                f"{sizes[largest]:,}. Carry an id instead"
            )
        return values

    def restore(self, values: Mapping[str, object]) -> list[str]:
        """Set the variables again, in the context of the job that starts.

        Returns:
            Names of variables that are not carried here, each of them once in this process.
        """
        unknown = []
        for name, value in values.items():
            variable = self._variables.get(name)
            other = self._others.get(name)
            if variable is not None:
                variable.set(value)
            elif other is not None:
                other.restore(value)
            elif name not in self._unknown and len(self._unknown) < MOST_JID:
                self._unknown.add(name)
                unknown.append(name)
        return unknown


propagation = Propagation()
"""That of this process."""


def _lineage(job: CurrentJob) -> dict[str, str]:
    """The parent and the root of a job that *job* pushes."""
    if not 0 < len(job.jid) <= MOST_JID:
        return {}
    try:
        root = attachments.read(job.payload.get(attachments.FIELD)).root
    except (attachments.Unknown, PayloadError):
        root = None
    return {"parent": job.jid, "root": root or job.jid}


def carry(*variables: Variable) -> None:
    """Let the values of context variables travel with jobs.

    What a variable is set to at a push is set again before the job runs, middleware included, in
    each of its attempts, and in the jobs that it pushes. Name the variables where they are defined:
    the processes that push and the workers both need it. A variable that is not set at the push has
    its default in the job. The values must be JSON, as arguments, together up to 1,024 bytes;
    a push with others is refused.

    Raises:
        ArgumentError: another variable of the same name is carried already.

    Example:
        >>> tenant: ContextVar[str] = ContextVar("tenant")
        >>> carry(tenant)
    """
    propagation.carry(variables)


class trace_context:
    """Make pushes belong to a trace, from here to the end of this context, or of a ``with`` block.

    Use it where no instrumentation writes ``traceparent`` into payloads itself: its value is never
    replaced. The job has it as ``current_job().traceparent``, and passes it on.

    Args:
        traceparent: as in the HTTP header of W3C Trace Context. None, or a text that is none, as
            clients may send it, belongs to no trace.
        tracestate: as in the header of that name; left out if it is longer than 512 characters.

    Example:
        >>> with trace_context("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"):
        ...     send_invoice.perform_async(42)  # doctest: +SKIP
    """

    __slots__ = ("_token",)

    def __init__(self, traceparent: str | None, tracestate: str | None = None) -> None:
        propagation.active = propagation.used = True
        self._token: Token[_Trace | None] = _trace.set(_trace_of(traceparent, tracestate))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _trace.reset(self._token)
