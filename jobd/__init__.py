"""jobd: background jobs for Python, in the data format of Sidekiq.

These are the names that applications use; everything else is the daemon.
"""

from jobd.client import Client, configure
from jobd.context import CurrentJob, current_job
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
from jobd.hooks import death_handlers, error_handlers, on
from jobd.job import DISCARD, KILL, FunctionJob, Job, job
from jobd.middleware import Chain, client_middleware, server_middleware

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
    "client_middleware",
    "configure",
    "current_job",
    "death_handlers",
    "error_handlers",
    "job",
    "on",
    "server_middleware",
]
