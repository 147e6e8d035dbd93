"""Every exception that jobd raises on purpose, and the exit codes of its processes.

A message always says what was wrong, where, and what to do about it; the command line prints
exactly that message and leaves with the exception's ``exit_code``.
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
    """Base of all errors below: ``except JobdError`` catches every one."""

    exit_code: Exit = Exit.SOFTWARE


class ConfigError(JobdError):
    """A setting is missing, malformed or contradicts another."""

    exit_code = Exit.CONFIG


class ApplicationError(JobdError):
    """The application's module cannot be imported."""

    exit_code = Exit.NO_APPLICATION


class PidfileError(JobdError):
    """The pidfile is locked by a running daemon, is not a pidfile, or cannot be created."""

    exit_code = Exit.CANNOT_CREATE


class UnavailableError(JobdError):
    """Redis, or another service that jobd needs at start, does not answer."""

    exit_code = Exit.UNAVAILABLE


class RefusedError(UnavailableError):
    """Redis answers, and refuses: it is full, read-only, or the user has no permission."""


class ThreadsError(JobdError):
    """A worker cannot start the threads that it needs."""

    exit_code = Exit.OS_ERROR


class ArgumentError(JobdError, ValueError):
    """A push was refused: the arguments or options of the job are not acceptable."""

    exit_code = Exit.USAGE


class PayloadError(JobdError, ValueError):
    """Bytes from Redis are not the payload of a job."""


class ConflictError(JobdError):
    """What somebody wants does not go with what others have done meanwhile; nothing was changed."""


class UnknownJobError(JobdError, LookupError):
    """No job with this name is registered in this process."""


class NotRunError(JobdError, TypeError):
    """What a function of the application returned is still to be run: it has done nothing yet."""


class JobTimeout(BaseException):
    """Raised inside a job that has run longer than its ``timeout``; it counts as a failure.

    It is no ``Exception``, so that ``except Exception`` in a job does not swallow it.
    """

    def __init__(self, text: str = "the job took longer than its timeout") -> None:
        super().__init__(text)


class Shutdown(BaseException):
    """Raised inside a job that is still running at the stop deadline.

    The job has been given back to Redis by then and will run again. It is no ``Exception``, so
    that ``except Exception`` in a job does not swallow it; ``finally`` blocks run as usual.
    """
