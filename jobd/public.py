"""The public names of jobd. Imported when the first of them is accessed, since this loads the Redis
client."""

from jobd.errors import (
    ArgumentError,
    DuplicateJobError,
    JobCancelledError,
    JobdError,
    JobExpiredError,
    JobFailedError,
    JobNotFoundError,
    JobTimeout,
    PayloadError,
    RefusedError,
    ResultError,
    ResultNotKeptError,
    ResultTimeoutError,
    Retry,
    Shutdown,
    Snooze,
    UnavailableError,
    UnknownJobError,
)
from jobd.features.results.record import ResultInfo
from jobd.features.results.result import Result
from jobd.jobs.app import App, default
from jobd.jobs.client import Client
from jobd.jobs.context import CurrentJob, current_job
from jobd.jobs.decorators import DISCARD, KILL, FunctionJob, Verdict
from jobd.jobs.job_class import Job
from jobd.jobs.middleware import Chain
from jobd.jobs.propagation import carry, trace_context

client_middleware = default.client_middleware
configure = default.configure
death_handlers = default.death_handlers
error_handlers = default.error_handlers
job = default.job
on = default.on
server_middleware = default.server_middleware

__all__ = [
    "DISCARD",
    "KILL",
    "App",
    "ArgumentError",
    "Chain",
    "Client",
    "CurrentJob",
    "DuplicateJobError",
    "FunctionJob",
    "Job",
    "JobCancelledError",
    "JobExpiredError",
    "JobFailedError",
    "JobNotFoundError",
    "JobTimeout",
    "JobdError",
    "PayloadError",
    "RefusedError",
    "Result",
    "ResultError",
    "ResultInfo",
    "ResultNotKeptError",
    "ResultTimeoutError",
    "Retry",
    "Shutdown",
    "Snooze",
    "UnavailableError",
    "UnknownJobError",
    "Verdict",
    "carry",
    "client_middleware",
    "configure",
    "current_job",
    "death_handlers",
    "error_handlers",
    "job",
    "on",
    "server_middleware",
    "trace_context",
]
