"""The names that applications use. Importing this file imports what they need, so it is done when
one of them is asked for."""

from jobd.errors import (
    ArgumentError,
    JobdError,
    JobTimeout,
    PayloadError,
    RefusedError,
    Shutdown,
    UnavailableError,
    UnknownJobError,
)
from jobd.jobs.client import Client, configure
from jobd.jobs.context import CurrentJob, current_job
from jobd.jobs.decorators import DISCARD, KILL, FunctionJob, Job, Verdict, job
from jobd.jobs.hooks import death_handlers, error_handlers, on
from jobd.jobs.middleware import Chain, client_middleware, server_middleware

__all__ = [
    "DISCARD",
    "KILL",
    "ArgumentError",
    "Chain",
    "Client",
    "CurrentJob",
    "FunctionJob",
    "Job",
    "JobTimeout",
    "JobdError",
    "PayloadError",
    "RefusedError",
    "Shutdown",
    "UnavailableError",
    "UnknownJobError",
    "Verdict",
    "client_middleware",
    "configure",
    "current_job",
    "death_handlers",
    "error_handlers",
    "job",
    "on",
    "server_middleware",
]
