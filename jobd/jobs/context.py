"""Access to the current job from inside it."""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable
from contextvars import ContextVar

from jobd.ambient import clock
from jobd.errors import JobdError
from jobd.jobs.cancellation import Cancellation
from jobd.jobs.registry import Definition
from jobd.wire import payload
from jobd.wire.progress import Progress, amount, note_of

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
"""Fields of the payload, where instrumentation of Ruby writes them, too."""

_TRACED = f'"{TRACEPARENT}"'.encode()

stopping = threading.Event()
"""Set when the worker process begins to stop."""

Report = tuple[float, float | None, str, float]
"""What a job has reported: done, total, note, and when (seconds since 1970)."""

on_progress: Callable[[CurrentJob], None] | None = None
"""Called after each report of a job; set by the worker process."""


_making = threading.Lock()


class Additions:
    """What a job has added to its workflow: counted once for all contexts in which its code runs,
    those of its tasks and threads.

    Attributes:
        lock: held while one is made, so that they arrive in the order in which they are counted.
        count: of those made.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.count = 0


class CurrentJob:
    """The job that is running. Created for every execution, so it must be cheap.

    Attributes:
        jid: the job's id.
        queue: the queue it was fetched from.
        definition: the registered job; None if its class is unknown in this process.
        raw: the payload's bytes as they are in Redis.
        cancellation: the request to cancel it, and its shields; None as long as there is neither.
    """

    # Not set before they are needed, as most jobs never do: _additions, _first, _report, _traced.
    __slots__ = (
        *("_additions", "_first", "_payload", "_report", "_traced", "cancellation"),
        *("definition", "jid", "name", "queue", "raw"),
    )

    def __init__(
        self, work: payload.Work, raw: bytes, queue: str, definition: Definition | None
    ) -> None:
        self.jid = work.jid
        self.name = work.class_
        self.queue = queue
        self.raw = raw
        self.definition = definition
        self.cancellation: Cancellation | None = None
        self._payload: payload.Payload | None = None

    @property
    def payload(self) -> payload.Payload:
        """All fields of the payload. Changes to them have no effect in Redis."""
        if self._payload is None:
            self._payload = payload.decode(self.raw)
        return self._payload

    @property
    def attempt(self) -> int:
        """1 for the first execution, 2 for the first retry, and so on."""
        count = self.payload.get("retry_count")
        return count + 2 if type(count) is int else 1

    @property
    def tick(self) -> datetime.datetime | None:
        """The moment of its schedule for which a periodic job was pushed, in UTC; None for others.
        All attempts have the same one."""
        field = self.payload.get("jobd")
        tick = field.get("tick") if type(field) is dict else None
        if not isinstance(tick, int | float):
            return None
        return datetime.datetime.fromtimestamp(tick, datetime.UTC)

    @property
    def bid(self) -> str | None:
        """The id of the :class:`jobd.Batch` that it is a member or a callback of; None for others.
        A callback inside another batch has the id of its own one."""
        field = self.payload.get("jobd")
        for kind in ("callback", "batch"):
            value = field.get(kind) if type(field) is dict else None
            if type(value) is list and value and type(value[0]) is str:
                return value[0]
        return None

    @property
    def traced(self) -> bool:
        """Whether it may have a trace. The payload is not decoded for that, and looked at once."""
        try:
            return self._traced
        except AttributeError:
            self._traced: bool = _TRACED in self.raw
            return self._traced

    @property
    def traceparent(self) -> str | None:
        """The trace to which the push belonged, in the format of W3C Trace Context; None without.
        The jobs that this one pushes continue it."""
        return self._text(TRACEPARENT)

    @property
    def tracestate(self) -> str | None:
        """What the vendors of tracing systems have added to it."""
        return self._text(TRACESTATE)

    def _text(self, field: str) -> str | None:
        value = self.payload.get(field)
        return value if type(value) is str and value else None

    @property
    def additions(self) -> Additions:
        with _making:
            if not hasattr(self, "_additions"):
                self._additions = Additions()
            return self._additions

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Report how far the job has come, for the dashboard and the data API.

        Call it as often as you like: the newest report counts, and is written to Redis at most
        twice a second, by another thread. It says nothing about a next attempt, which starts
        without any. If Redis cannot be reached, nothing happens here.

        Args:
            done: how much is done, in any unit: rows, bytes, percent.
            total: how much there is to do, in the same unit, if that is known.
            note: what it is doing; at most 200 characters are kept.

        Raises:
            ArgumentError: a number is negative or not finite, or something else is of another type.

        Example:
            >>> for number, row in enumerate(rows):  # doctest: +SKIP
            ...     load(row)
            ...     current_job().progress(number + 1, len(rows))
        """
        now = clock.now()
        done = amount("done", done)
        if total is not None:
            total = amount("total", total)
        self._report: Report = (done, total, note_of(note), now)
        if not hasattr(self, "_first"):
            self._first = (done, now)
        if on_progress is not None:
            on_progress(self)

    @property
    def reported(self) -> Progress | None:
        """What it has reported last; None if it has not."""
        report: Report | None = getattr(self, "_report", None)
        if report is None:
            return None
        done, total, note, at = report
        first_done, first_at = getattr(self, "_first", (done, at))
        return Progress(self.jid, self.attempt, done, at, total, note, first_done, first_at)

    @property
    def stopping(self) -> bool:
        """Whether the worker is stopping: a long job should finish or save its progress."""
        return stopping.is_set()

    @property
    def cancelled(self) -> bool:
        """Whether somebody has cancelled this job. A job that is not ``cancellable`` learns it only
        here; in others :class:`~jobd.JobCancelled` is raised as well."""
        return self.cancellation is not None and self.cancellation.requested

    def __repr__(self) -> str:
        return f"<job {self.name} {self.jid} from {self.queue}>"


_current: ContextVar[CurrentJob] = ContextVar("jobd_current_job")


def current_job() -> CurrentJob:
    """The job that this thread or task is running.

    Raises:
        JobdError: it is not running a job.
    """
    try:
        return _current.get()
    except LookupError:
        raise JobdError(
            "current_job() was called outside a job: it works only in code run by a worker or "
            "perform_inline"
        ) from None


def running_job() -> CurrentJob | None:
    """The job that this thread or task is running, or None."""
    return _current.get(None)


def log_fields(job: CurrentJob | None) -> dict[str, str]:
    """What log lines about a job say of it; nothing where there is none."""
    return {} if job is None else {"class": job.name, "jid": job.jid, "queue": job.queue}


def set_current(job: CurrentJob) -> None:
    """Set the current job, in the context created for its execution."""
    _current.set(job)
