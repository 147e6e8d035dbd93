"""The exceptions that jobd raises, and the exit codes of its processes.

A message says what is wrong, where, and how to fix it; the command line prints that message and
exits with the exception's ``exit_code``.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of ``jobd`` (the names follow sysexits.h; docs/exit-codes.md explains each)."""

    OK = 0
    USAGE = 64
    NO_APPLICATION = 66
    UNAVAILABLE = 69
    SOFTWARE = 70
    OS_ERROR = 71
    CANNOT_CREATE = 73
    JOBS_LEFT = 75
    NO_PERMISSION = 77
    CONFIG = 78
    INTERRUPTED = 130


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


class Shutdown(BaseException):
    """Raised inside a job that is still running at the stop deadline.

    By then the job has been returned to its queue and will run again. Not an ``Exception``, so that
    ``except Exception`` in a job does not swallow it; ``finally`` blocks run as usual.
    """
