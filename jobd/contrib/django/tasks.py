"""A backend for ``django.tasks``: each task is a job of jobd, under its own name.

Needs Django 6.0 or newer::

    TASKS = {"default": {"BACKEND": "jobd.contrib.django.tasks.JobdBackend", "QUEUES": []}}

Workers run only tasks whose modules they have imported (``tasks`` of each app); nothing is imported
by a name that comes from Redis.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from django.core.checks import CheckMessage
from django.tasks.backends.base import BaseTaskBackend
from django.tasks.backends.dummy import DummyBackend
from django.tasks.backends.immediate import ImmediateBackend
from django.tasks.base import DEFAULT_TASK_PRIORITY, Task, TaskResult
from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist
from django.tasks.signals import task_enqueued
from django.utils import timezone
from django.utils.json import normalize_json

from jobd.contrib.django.apps import problems_as_checks
from jobd.contrib.django.commit import now, on_commit
from jobd.contrib.django.task_jobs import Tasks
from jobd.contrib.django.task_options import task_options_of
from jobd.contrib.django.task_record import Called, Record
from jobd.contrib.django.task_results import result_of
from jobd.errors import ArgumentError
from jobd.jobs.membership import membership
from jobd.wire.arguments import check_arguments
from jobd.wire.json_value import Array, JsonValue, Object

P = ParamSpec("P")
R = TypeVar("R")


if TYPE_CHECKING:
    _Task = Task[..., object]
else:
    _Task = Task  # Django's own class takes no parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class JobdTask(_Task):
    """A task with options of jobd: ``@task(retry=5)``, from Django 6.1 on.

    Attributes:
        retry: as for a job; None for that of the backend.
        timeout: seconds that an execution may take.
    """

    retry: bool | int | None = None
    timeout: float | None = None


class JobdBackend(BaseTaskBackend):
    """Pushes tasks with jobd, and reads their results.

    Options (``OPTIONS``):

    * ``RESULT_TTL``: seconds that results are kept after the end; default a day.
    * ``RETRY``: as for jobs; default 25.
    * ``ON_COMMIT``: True or False; default: as ``JOBD`` says for all pushes.
    * ``PRIORITY_QUEUES``: ``{"urgent": (50, 100)}``: tasks with such a priority are pushed to that
      queue, and other priorities are refused. Without it, all are.
    """

    task_class = JobdTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True

    def __init__(self, alias: str, params: dict[str, object]) -> None:
        super().__init__(alias, params)
        self._settings, self._problems = task_options_of(alias, self.options)
        self.supports_priority = bool(self._settings.priority_queues)
        self._tasks = Tasks.of_default()
        named = cast("Iterable[str]", params.get("QUEUES", ()))
        self._tasks.may_go_to([*named, *self._settings.priority_queues])

    def check(self, **_: object) -> list[CheckMessage]:
        """The system check of the options."""
        return problems_as_checks(self._problems)

    def validate_task(self, task: Task[..., Any]) -> None:
        """Refuse a task that cannot be run; register one that can as a job."""
        super().validate_task(task)
        settings = self._settings
        if task.priority != DEFAULT_TASK_PRIORITY and settings.queue_for(task.priority) is None:
            raise InvalidTask(f"priority {task.priority} has no queue in PRIORITY_QUEUES")
        retry = getattr(task, "retry", None)
        retry = settings.retry if retry is None else retry
        ttl = settings.result_ttl
        try:
            self._tasks.register(
                task, type(self), retry=retry, ttl=ttl, timeout=getattr(task, "timeout", None)
            )
        except ArgumentError as error:
            raise InvalidTask(str(error)) from error

    def enqueue(
        self, task: Task[P, R], args: Sequence[object], kwargs: Mapping[str, object]
    ) -> TaskResult[P, R]:
        """Push the task.

        Raises:
            TypeError: an argument is not JSON, or does not fit the function.
            InvalidTask: client middleware of jobd has stopped the push.
        """
        self.validate_task(task)
        given, named = _normalized(args, kwargs)
        called = Called(
            path=task.module_path,
            queue=task.queue_name,
            priority=task.priority,
            takes_context=task.takes_context,
            run_after=None if task.run_after is None else _aware(task.run_after).timestamp(),
            args=given,
            kwargs=named,
            enqueued_at=time.time(),
        )
        queue = self._settings.queue_for(task.priority) or task.queue_name
        job = self._tasks.job(task.module_path).set(queue=queue)
        try:
            with self._when():
                if called.run_after is None:
                    jid = job.perform_async(*given, **named)
                else:
                    jid = job.perform_at(called.run_after, *given, **named)
                if jid is None:
                    raise InvalidTask(f"client middleware has stopped the push of {called.path}")
                self._after_push(str(jid), called)
        except ArgumentError as error:
            raise TypeError(str(error)) from error
        record = Record(called, "queued", None, [], [], False, b"")
        result = result_of(self.alias, str(jid), record, task)
        task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> TaskResult[..., Any]:
        """What is known of a task.

        Raises:
            TaskResultDoesNotExist: nothing is kept for this id, or its task is not known here.
        """
        record = self._tasks.records.read(str(result_id))
        task = None if record is None else self._task(record.called)
        if record is None or task is None:
            raise TaskResultDoesNotExist(result_id)
        return result_of(self.alias, str(result_id), record, task)

    def _when(self) -> AbstractContextManager[None]:
        wanted = self._settings.on_commit
        return nullcontext() if wanted is None else on_commit() if wanted else now()

    def _after_push(self, jid: str, called: Called) -> None:
        """Store the call when the push has been made."""
        # What is in the block of a batch is pushed with it, and has no result before.
        pushed = membership.enclosing is None

        def store() -> None:
            self._tasks.records.enqueued(jid, called, pushed=pushed)

        if (held_by := self._tasks.held_by()) is None:
            store()
        else:
            held_by.on_commit(store)

    def _task(self, called: Called) -> Task[..., object] | None:
        function = self._tasks.function(called.path)
        if function is None:
            return None
        at = called.run_after
        values = {
            "func": function,
            "priority": called.priority,
            "backend": self.alias,
            "queue_name": called.queue,
            "run_after": None if at is None else datetime.fromtimestamp(at, UTC),
            "takes_context": called.takes_context,
        }
        # Made without __init__: what was valid when it was enqueued may not be so today.
        task = object.__new__(JobdTask)
        for field in fields(JobdTask):
            object.__setattr__(task, field.name, values.get(field.name))
        return task


def _normalized(
    args: Sequence[object], kwargs: Mapping[str, object]
) -> tuple[list[JsonValue], dict[str, JsonValue]]:
    return [*map(normalize_json, args)], {name: normalize_json(kwargs[name]) for name in kwargs}


def _aware(at: datetime) -> datetime:
    return at if timezone.is_aware(at) else timezone.make_aware(at)


class _Checked:
    """Refuses what a push refuses."""

    task_class: type[Task[..., Any]] = JobdTask

    def enqueue(self, task: Task[P, R], args: Array, kwargs: Object) -> TaskResult[P, R]:
        given, named = _normalized(args, kwargs)
        try:
            check_arguments(given, named, None)
        except ArgumentError as error:
            raise TypeError(f"{task.module_path}: {error}") from error
        # The types of Django's base class lack it, as it is abstract there.
        found: TaskResult[P, R] = super().enqueue(task, args, kwargs)  # type: ignore[misc]
        return found


class InlineBackend(_Checked, ImmediateBackend):
    """For tests: runs each task where it is enqueued, and refuses arguments that jobd refuses."""


class FakeBackend(_Checked, DummyBackend):
    """For tests: keeps what is enqueued in ``results``, and refuses arguments that jobd refuses."""
