"""The public names of jobd. Imported when the first of them is accessed, since this loads the Redis
client."""

from importlib import import_module
from typing import TYPE_CHECKING

from jobd.errors import (
    ArgumentError,
    BatchFinished,
    DuplicateJobError,
    JobCancelled,
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
from jobd.features.cancellation.shield import shield
from jobd.jobs.app import App, default
from jobd.jobs.client import Client
from jobd.jobs.context import CurrentJob, current_job
from jobd.jobs.decorators import DISCARD, KILL, FunctionJob, Verdict
from jobd.jobs.job_class import Job
from jobd.jobs.middleware import Chain
from jobd.jobs.propagation import carry, trace_context

if TYPE_CHECKING:
    from jobd.api.features.batches import Batch
    from jobd.api.features.cancellation import CancelledJobs, acancel, cancel, cancel_many
    from jobd.features.batches.record import BatchStatus
    from jobd.features.results.record import ResultInfo
    from jobd.features.results.result import Result
    from jobd.features.workflows.current import CurrentStep, current_step
    from jobd.features.workflows.results import StepResults
    from jobd.features.workflows.run import WorkflowRun
    from jobd.features.workflows.workflow import Workflow
    from jobd.graphs.inputs import FailedStep
    from jobd.jobs.canvas.parts import Signature, chain, chord, group
    from jobd.schedules.schedule import Schedule

cancel_handlers = default.cancel_handlers
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
    "Batch",
    "BatchFinished",
    "BatchStatus",
    "CancelledJobs",
    "Chain",
    "Client",
    "CurrentJob",
    "CurrentStep",
    "DuplicateJobError",
    "FailedStep",
    "FunctionJob",
    "Job",
    "JobCancelled",
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
    "Schedule",
    "Shutdown",
    "Signature",
    "Snooze",
    "StepResults",
    "UnavailableError",
    "UnknownJobError",
    "Verdict",
    "Workflow",
    "WorkflowRun",
    "acancel",
    "cancel",
    "cancel_handlers",
    "cancel_many",
    "carry",
    "chain",
    "chord",
    "client_middleware",
    "configure",
    "current_job",
    "current_step",
    "death_handlers",
    "error_handlers",
    "group",
    "job",
    "on",
    "server_middleware",
    "shield",
    "trace_context",
]

_LATER = {
    **dict.fromkeys(
        ("CancelledJobs", "acancel", "cancel", "cancel_many"), "jobd.api.features.cancellation"
    ),
    **dict.fromkeys(("CurrentStep", "current_step"), "jobd.features.workflows.current"),
    "FailedStep": "jobd.graphs.inputs",
    "Batch": "jobd.api.features.batches",
    "BatchStatus": "jobd.features.batches.record",
    "Result": "jobd.features.results.result",
    "ResultInfo": "jobd.features.results.record",
    "Schedule": "jobd.schedules.schedule",
    **dict.fromkeys(("Signature", "chain", "chord", "group"), "jobd.jobs.canvas.parts"),
    "StepResults": "jobd.features.workflows.results",
    "Workflow": "jobd.features.workflows.workflow",
    "WorkflowRun": "jobd.features.workflows.run",
}
"""Where names are that are loaded at their first use: most applications only push."""


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module 'jobd.public' has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
