"""Results of ``django.tasks``, made of what is stored of a task."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.tasks.base import Task, TaskError, TaskResult, TaskResultStatus
from django.utils import timezone

from jobd.contrib.django.task_record import Failure, Record
from jobd.wire import results

P = ParamSpec("P")
R = TypeVar("R")

_STATUS = {
    "done": TaskResultStatus.SUCCESSFUL,
    "failed": TaskResultStatus.FAILED,
    "expired": TaskResultStatus.FAILED,
    "cancelled": TaskResultStatus.FAILED,
}


def result_of(alias: str, jid: str, record: Record, task: Task[P, R]) -> TaskResult[P, R]:
    """A record as Django has it."""
    waits = TaskResultStatus.RUNNING if record.begun else TaskResultStatus.READY
    status = _STATUS.get(record.state, waits)
    attempts = record.attempts
    result = TaskResult(
        task=task,
        id=jid,
        status=status,
        enqueued_at=_time(record.called.enqueued_at),
        started_at=_time(attempts[0].at) if attempts else None,
        last_attempted_at=_time(attempts[-1].at) if attempts else None,
        finished_at=_time(record.ended_at) if status in _STATUS.values() else None,
        args=record.called.args,
        kwargs=record.called.kwargs,
        backend=alias,
        errors=_errors(record),
        worker_ids=[each.worker for each in attempts],
    )
    if status is TaskResultStatus.SUCCESSFUL:
        object.__setattr__(result, "_return_value", results.read(record.detail).value)
    return result


def _errors(record: Record) -> list[TaskError]:
    errors = [*record.errors]
    if record.state in ("expired", "cancelled"):
        errors.append(Failure(f"jobd.errors.Job{record.state.capitalize()}Error", ""))
    return [TaskError(exception_class_path=each.path, traceback=each.traceback) for each in errors]


def _time(at: float | None) -> datetime | None:
    try:
        found = None if at is None else datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):  # nobody of ours has written it
        found = None
    if found is None:
        return None
    return found if settings.USE_TZ else timezone.make_naive(found)
