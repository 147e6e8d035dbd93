"""The jobs behind tasks of ``django.tasks``: one for each, which workers find by its path."""

from __future__ import annotations

import functools
import inspect
import os
import socket
import threading
from collections.abc import Callable, Iterable
from traceback import format_exception
from typing import Any

from asgiref.sync import sync_to_async
from django.apps import apps
from django.dispatch import Signal
from django.tasks.base import Task, TaskContext, TaskResult
from django.tasks.signals import task_finished, task_started
from django.utils.json import normalize_json

from jobd.contrib.django.commit import held_by
from jobd.contrib.django.task_record import Called, Failure, Record, Records
from jobd.contrib.django.task_results import result_of
from jobd.errors import JobCancelled, Retry, Shutdown, Snooze
from jobd.jobs.app import App, default
from jobd.jobs.context import current_job
from jobd.jobs.decorators import FunctionJob
from jobd.wire.payload import Payload

_NO_FAILURE = (Shutdown, Snooze, JobCancelled)


class Tasks:
    """All tasks of the process that jobd runs. A backend is made for each thread; this is shared.

    Args:
        app: where they are jobs.
    """

    _shared: Tasks | None = None
    _lock = threading.Lock()

    def __init__(self, app: App) -> None:
        self._app = app
        self._jobs: dict[str, tuple[FunctionJob[..., object], Callable[..., object], object]] = {}

    @classmethod
    def of_default(cls) -> Tasks:
        """That of the application in the settings."""
        with cls._lock:
            if cls._shared is None:
                config = apps.app_configs.get("jobd")
                cls._shared = cls(getattr(config, "app", default))
            return cls._shared

    @property
    def records(self) -> Records:
        return Records(self._app.client)

    def job(self, path: str) -> FunctionJob[..., object]:
        return self._jobs[path][0]

    def function(self, path: str) -> Callable[..., object] | None:
        found = self._jobs.get(path)
        return None if found is None else found[1]

    def may_go_to(self, queues: Iterable[str]) -> None:
        """Tasks can go to these queues, besides their own."""
        self._app.registry.destinations.update(queues)

    def held_by(self) -> Any:
        """The connection for whose commit a push waits now; None if it is made at once."""
        return held_by(self._app.client.around)

    def register(
        self,
        task: Task[..., object],
        sender: type,
        *,
        retry: bool | int,
        ttl: float,
        timeout: float | None,
    ) -> None:
        """Make a job of a task, unless that has been done.

        Raises:
            ArgumentError: an option has an invalid value, or a job has the same name.
        """
        path = task.module_path
        marks = (task.func, retry, ttl, timeout, task.takes_context)
        with self._lock:
            known = self._jobs.get(path)
            if known is not None and known[2] == marks:
                return
            run = _Run(self, task, sender)
            code = run.asynchronous() if inspect.iscoroutinefunction(task.func) else run.plain()
            job = self._app.job(
                name=path,
                retry=retry,
                keep_result=ttl,
                timeout=timeout,
                on_exhausted=run.exhausted,
                queue=task.queue_name,
            )(code)
            self._jobs[path] = (job, task.func, marks)


class _Run:
    """The execution of one task in a worker.

    Args:
        sender: the class of the backend, for signals.
    """

    def __init__(self, tasks: Tasks, task: Task[..., Any], sender: type) -> None:
        self._tasks = tasks
        self._task = task
        self._sender = sender

    def plain(self) -> Callable[..., object]:
        """The function of the job."""

        @functools.wraps(self._task.func)
        def run(*args: object, **kwargs: object) -> object:
            record, given = self._begin(args, kwargs)
            try:
                value = normalize_json(self._task.func(*given, *args, **kwargs))
            except BaseException as error:
                self._failed(record, error)
                raise
            self._succeeded(record, value)
            return value

        return self._with_signature(run)

    def asynchronous(self) -> Callable[..., object]:
        """The same for a coroutine function; Redis is asked in a thread."""

        @functools.wraps(self._task.func)
        async def run(*args: object, **kwargs: object) -> object:
            record, given = await sync_to_async(self._begin)(args, kwargs)
            try:
                value = normalize_json(await self._task.func(*given, *args, **kwargs))
            except BaseException as error:
                await sync_to_async(self._failed)(record, error)
                raise
            await sync_to_async(self._succeeded)(record, value)
            return value

        return self._with_signature(run)

    def exhausted(self, payload: Payload, _error: BaseException) -> None:
        """The last attempt has failed: now the task has."""
        record = self._tasks.records.read(str(payload.get("jid")))
        if record is not None:
            record.state, record.begun = "failed", False
            self._send(task_finished, str(payload.get("jid")), record)

    def _with_signature(self, run: Callable[..., object]) -> Callable[..., object]:
        signature = inspect.signature(self._task.func)
        if self._task.takes_context:  # the first parameter, which no push gives
            rest = list(signature.parameters.values())[1:]
            signature = signature.replace(parameters=rest)
        vars(run)["__signature__"] = signature
        return run

    def _begin(
        self, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[Record, tuple[object, ...]]:
        job = current_job()
        task = self._task
        pushed = job.payload.get("enqueued_at") or job.payload.get("created_at") or 0.0
        called = Called(
            path=task.module_path,
            queue=job.queue,
            priority=task.priority,
            takes_context=task.takes_context,
            run_after=None,
            args=list(args),
            kwargs=kwargs,
            enqueued_at=float(pushed),
        )
        record = self._tasks.records.begin(job.jid, called, worker_id())
        result = self._send(task_started, job.jid, record)
        return record, (TaskContext(task_result=result),) if task.takes_context else ()

    def _failed(self, record: Record, error: BaseException) -> None:
        if not isinstance(error, _NO_FAILURE):
            shown = error.__cause__ or error if isinstance(error, Retry) else error
            kind = type(shown)
            path = f"{kind.__module__}.{kind.__qualname__}"
            record.errors.append(Failure(path, "".join(format_exception(shown))[-20_000:]))
        self._tasks.records.end(current_job().jid, record.errors)

    def _succeeded(self, record: Record, value: object) -> None:
        jid = current_job().jid
        self._tasks.records.end(jid, [])
        record.state, record.begun = "done", False
        self._send(task_finished, jid, record, value)

    def _send(
        self, signal: Signal, jid: str, record: Record, value: object = None
    ) -> TaskResult[..., object]:
        result = result_of(self._task.backend, jid, record, self._task)
        if record.state == "done":
            object.__setattr__(result, "_return_value", value)
        signal.send(sender=self._sender, task_result=result)
        return result


def worker_id() -> str:
    """The process and the thread that run a task."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.current_thread().name}"
