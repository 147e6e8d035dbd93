"""Access to the current job from inside it."""

from __future__ import annotations

import threading
from contextvars import ContextVar
from typing import Any

from jobd.errors import JobdError
from jobd.jobs.registry import Definition
from jobd.wire import payload

stopping = threading.Event()
"""Set when the worker process begins to stop."""


class CurrentJob:
    """The job that is running. Created for every execution, so it must be cheap.

    Attributes:
        jid: the job's id.
        queue: the queue it was fetched from.
        definition: the registered job; None if its class is unknown in this process.
        raw: the payload's bytes as they are in Redis.
    """

    __slots__ = ("_payload", "definition", "jid", "name", "queue", "raw")

    def __init__(
        self, work: payload.Work, raw: bytes, queue: str, definition: Definition | None
    ) -> None:
        self.jid = work.jid
        self.name = work.class_
        self.queue = queue
        self.raw = raw
        self.definition = definition
        self._payload: payload.Payload | None = None

    @property
    def payload(self) -> dict[str, Any]:
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
    def stopping(self) -> bool:
        """Whether the worker is stopping: a long job should finish or save its progress."""
        return stopping.is_set()

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


def set_current(job: CurrentJob) -> None:
    """Set the current job, in the context created for its execution."""
    _current.set(job)
