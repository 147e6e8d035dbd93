"""The exceptions that jobd raises, and the exit codes of its processes.

A message says what is wrong, where, and how to fix it; the command line prints that message and
exits with the exception's ``exit_code``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of ``jobd`` (the names follow sysexits.h; docs/exit-codes.md explains each)."""

    OK = 0
    """Stopped on request; every unfinished job is back in Redis. `jobd start`: all workers are
    ready."""
    USAGE = 64
    """The command line is wrong."""
    NO_APPLICATION = 66
    """The application's module cannot be imported, its import did not end within
    `boot_timeout`, it starts threads although it is
    [preloaded](deployment.md#less-memory-preload), or it patches the standard library with
    [gevent or eventlet](deployment.md#gevent-and-eventlet)."""
    UNAVAILABLE = 69
    """Redis could not be reached within `start_timeout`, or refused the password. `jobd web`:
    another program listens on its address."""
    SOFTWARE = 70
    """A worker or the daemon died during the start because of an internal error; or there was
    a crash loop and `exit_on_crash_loop` is set. See the log."""
    OS_ERROR = 71
    """Detaching failed, or a worker cannot start all its threads."""
    CANNOT_CREATE = 73
    """The daemon is already running (`jobd check` reports that, too), the pidfile is not a
    pidfile, or it, its lock, the control socket or the log cannot be created. `jobd check`: it
    could not listen on the address of `health`; the daemon itself would run."""
    JOBS_LEFT = 75
    """Stopped, but jobs may be left in flight, mostly because Redis was down: workers could
    not return or acknowledge their jobs, or a claim was not answered. The next start, or
    another host's keeper, recovers them. Workers that held no jobs when Redis went down exit
    with 0."""
    NO_PERMISSION = 77
    """The `user` setting names a user that only root can become, or root cannot become it or
    create its directories."""
    CONFIG = 78
    """A setting is wrong, including a `user` or `group` that does not exist; or root refused a
    [configuration that another user can
    write](deployment.md#what-root-does-before-it-becomes-the-user)."""
    INTERRUPTED = 130
    """A third Ctrl-C: everything was killed, and the next start recovers the jobs. `jobd
    start`: it was interrupted, or the daemon was stopped before it was ready."""


class JobdError(Exception):
    """Base class of all errors of jobd."""

    exit_code: Exit = Exit.SOFTWARE


class ConfigError(JobdError):
    """A setting is missing, invalid or contradicts another."""

    exit_code = Exit.CONFIG


class ApplicationError(JobdError):
    """The application's module cannot be imported."""

    exit_code = Exit.NO_APPLICATION


class PidfileError(JobdError):
    """The pidfile is locked by a running daemon, is not a pidfile, or cannot be created."""

    exit_code = Exit.CANNOT_CREATE


class UnavailableError(JobdError):
    """Redis, or another service that jobd needs to start, does not respond."""

    exit_code = Exit.UNAVAILABLE


class RefusedError(UnavailableError):
    """Redis refuses a command: it is full, read-only, or the user lacks the permission."""


class ThreadsError(JobdError):
    """A worker cannot start the threads that it needs."""

    exit_code = Exit.OS_ERROR


class ArgumentError(JobdError, ValueError):
    """A push was refused: the arguments or options of the job are invalid."""

    exit_code = Exit.USAGE


class PayloadError(JobdError, ValueError):
    """Bytes from Redis are not a job's payload."""


class ConflictError(JobdError):
    """The request conflicts with a concurrent change; nothing was changed."""


class DuplicateJobError(JobdError):
    """A unique job was not pushed, because another one like it is there already.

    Args:
        holders: the ids of the jobs that are there.
        pushed: of a bulk push: what it would have returned; the others have been pushed.

    Attributes:
        jid: the id of the first of them.
        jids: all of them.
    """

    def __init__(self, holders: Sequence[str], pushed: Sequence[str | None] = ()) -> None:
        self.jids, self.pushed = tuple(holders), tuple(pushed)
        self.jid = self.jids[0]
        more = f", and {len(self.jids) - 1:,} more" if len(self.jids) > 1 else ""
        super().__init__(f"a job like it is there already: {self.jid}{more}")


class BatchFinished(JobdError):
    """Nothing can be added to a batch any more: it has succeeded, been cancelled or deleted, its
    block was closed by hand, or a part of that could not be sent."""


class ResultError(JobdError):
    """A job has no result to return; its classes say why."""


class JobFailedError(ResultError):
    """The job has failed for good.

    Attributes:
        jid: its id.
        error_class, message, traceback: of the exception that ended it, as text; nothing of the
            worker's code is imported here.
    """

    def __init__(self, jid: str, error_class: str, message: str, traceback: str) -> None:
        self.jid, self.error_class = jid, error_class
        self.message, self.traceback = message, traceback
        super().__init__(f"job {jid} failed with {error_class}: {message}")


class JobCancelledError(ResultError):
    """The job was cancelled or deleted, or another one has taken its place."""


class JobExpiredError(ResultError):
    """The job was not started in time, and dropped."""


class JobNotFoundError(ResultError, LookupError):
    """No result is kept for this id: it is unknown, keeps none, or that was too long ago."""


class ResultNotKeptError(ResultError):
    """The job is done, but what it returned could not be stored; the text says why."""


class ResultTimeoutError(ResultError, TimeoutError):
    """The job has not ended in time; it goes on."""


class UnknownJobError(JobdError, LookupError):
    """No job with this name is registered in this process."""


class NotRunError(JobdError, TypeError):
    """A function returned a coroutine, generator or the like, so that its code was not run."""


class JobTimeout(BaseException):
    """Raised inside a job that has run longer than its ``timeout``; it counts as a failure.

    Not an ``Exception``, so that ``except Exception`` in a job does not swallow it.
    """

    def __init__(self, text: str = "the job took longer than its timeout") -> None:
        super().__init__(text)


class JobCancelled(BaseException):
    """Raised inside a job that somebody has cancelled; it is not retried.

    Not an ``Exception``, so that ``except Exception`` in a job does not swallow it.
    """

    def __init__(self, text: str = "the job was cancelled") -> None:
        super().__init__(text)


class Snooze(BaseException):
    """Raised by a job to be run again later. That is no failure: no retry is used up.

    It is no ``Exception``, so that ``except Exception`` in a job does not swallow it.

    Args:
        delay: seconds (or a timedelta) from now; 0 puts it behind the jobs that wait in its queue.

    Raises:
        ArgumentError: *delay* is no length of time.

    Example:
        >>> Snooze(60).delay
        60.0
    """

    def __init__(self, delay: float | timedelta = 0) -> None:
        self.delay = _delay("Snooze", delay)
        super().__init__(f"again in {self.delay:g} s")


class Retry(BaseException):
    """Raised by a job to fail with a delay of its own until the next attempt.

    It uses up a retry; error handlers are told only if there are none left. ``raise Retry(...) from
    error`` records *error* as the reason. It is no ``Exception``, so that ``except Exception`` in a
    job does not swallow it.

    Args:
        after: seconds (or a timedelta) from now.

    Raises:
        ArgumentError: *after* is no length of time.

    Example:
        >>> Retry(after=60).after
        60.0
    """

    def __init__(self, *, after: float | timedelta) -> None:
        self.after = _delay("Retry", after)
        super().__init__(f"again in {self.after:g} s")


MAX_SECONDS = 1_000_000_000
"""A longer time is a point in time by mistake."""


def _delay(what: str, delay: float | timedelta) -> float:
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if type(seconds) in (int, float) and 0 <= seconds <= MAX_SECONDS:
        return float(seconds)
    raise ArgumentError(
        f"{what} needs a number of seconds from 0 to {MAX_SECONDS:,}, or a timedelta, not {delay!r}"
    )


class Shutdown(BaseException):
    """Raised inside a job that is still running at the stop deadline.

    By then the job has been returned to its queue and will run again. Not an ``Exception``, so that
    ``except Exception`` in a job does not swallow it; ``finally`` blocks run as usual.
    """


def no_attribute(owner: object, name: str, instead: str = "") -> AttributeError:
    """The error for a name that *owner* does not have; *instead* is what to use for it, where it is
    the name of another tool."""
    text = f"{type(owner).__name__!r} object has no attribute {name!r}"
    return AttributeError(f"{text}; {instead}" if instead else text, name=name, obj=owner)
