"""The worker's event loop, in a thread of its own; started when the first coroutine runs.

It ends with the worker, whatever a job does to it: a job may stop it, or a task of a job may call
``sys.exit``, and it runs on. Tasks that the code of a job starts belong to that job: the loop keeps
them alive, counts those that outlive their job, and ends them at the stop.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from types import FrameType
from typing import Any

from jobd.errors import ConfigError, JobdError
from jobd.jobs import context
from jobd.jobs.context import CurrentJob
from jobd.runtime.log import log
from jobd.runtime.process import forks

Loop = asyncio.AbstractEventLoop
Task = asyncio.Task[object]


def maker(kind: str) -> Callable[[], Loop]:
    """The function that creates a loop of that *kind*; ``auto`` is uvloop where it is installed.

    Raises:
        ConfigError: uvloop is wanted, and not installed.
    """
    if kind == "asyncio":
        return asyncio.new_event_loop
    try:
        from uvloop import new_event_loop
    except ImportError as error:
        if kind == "auto":
            return asyncio.new_event_loop
        raise ConfigError(
            f'loop = "uvloop", but uvloop cannot be imported ({error}): install it (the extra '
            'speed), or set loop = "auto"'
        ) from None
    made: Callable[[], Loop] = new_event_loop
    return made


NAME = "asyncio"
"""Name of its thread."""


class EventLoop:
    """The event loop of one worker, and the tasks that its jobs have started.

    Args:
        kind: the setting ``loop``: auto, asyncio or uvloop.
    """

    def __init__(self, kind: str = "auto") -> None:
        self._kind = kind
        self._lock = threading.Lock()
        self._loop: Loop | None = None
        self._thread: threading.Thread | None = None
        self._closing = False
        self._started: dict[CurrentJob, set[Task]] = {}
        self._left: dict[Task, CurrentJob] = {}
        self._log = log.get("jobd.loop")
        forks.on_copy(self._copied)

    @property
    def running(self) -> Loop | None:
        """The loop, once it has been started."""
        return self._loop

    @property
    def ident(self) -> int:
        """The ident of its thread; 0 before it has been started."""
        return (self._thread and self._thread.ident) or 0

    def get(self) -> Loop:
        """The loop, which is started if necessary.

        Raises:
            RuntimeError: its thread cannot be started.
        """
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    self._loop = self._start()
        return self._loop

    def _start(self) -> Loop:
        loop = maker(self._kind)()
        try:
            factory: Any = self._task  # keyword arguments differ between versions of Python
            loop.set_task_factory(factory)
            thread = threading.Thread(target=self._run, args=(loop,), name=NAME, daemon=True)
            self._thread = thread
            thread.start()
        except BaseException:
            loop.close()
            raise
        return loop

    def _run(self, loop: Loop) -> None:
        while not self._closing:
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                forks.end(error)  # in the worker itself, the task's result has it, too

    # -- the tasks of jobs -----------------------------------------------------------------------

    def _task(self, loop: Loop, coroutine: Coroutine[object, None, object], **options: Any) -> Task:
        """The loop's task factory: notes which job has started a task."""
        task: Task = asyncio.Task(coroutine, loop=loop, **options)
        job = context.running_job()
        if job is not None and not task.done():
            self._started.setdefault(job, set()).add(task)
            task.add_done_callback(partial(self._done, job))
        return task

    def _done(self, job: CurrentJob, task: Task) -> None:
        self._left.pop(task, None)
        if tasks := self._started.get(job):
            tasks.discard(task)
            if not tasks:
                del self._started[job]

    def ended(self, job: CurrentJob) -> None:
        """*job* has ended: its tasks that still run have been left behind. Called on the loop."""
        if not self._started:
            return
        left = [task for task in self._started.pop(job, ()) if not task.done()]
        if not left:
            return
        for task in left:
            self._left[task] = job
        self._log.warning(
            "tasks_left_behind",
            **context.log_fields(job),
            tasks=len(left),
            first=described(left[0]),
        )

    @property
    def left(self) -> dict[Task, CurrentJob]:
        """Tasks that still run although the job that started them has ended."""
        return self._left.copy()

    def fields_of(self, task: Task) -> dict[str, str]:
        """The job that has started a task, as fields of a log record; none if it is unknown."""
        started = list(self._started.items())
        owners = [job for job, tasks in started if task in tasks]
        job = self._left.get(task) or next(iter(owners), None)
        return context.log_fields(job)

    # -- the end ---------------------------------------------------------------------------------

    def close(self, seconds: float) -> list[str]:
        """End the loop: cancel what still runs on it, and close asynchronous generators.

        Args:
            seconds: how long that may take.

        Returns:
            descriptions of the tasks that have not ended by then.
        """
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return []
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            asyncio.run_coroutine_threadsafe(_end_all(seconds / 2), loop).result(seconds)
        stuck = [described(task) for task in asyncio.all_tasks(loop) if not task.done()]
        self._closing = True
        loop.call_soon_threadsafe(loop.stop)
        thread.join(0.0 if stuck else seconds / 2)
        return stuck

    def _copied(self) -> None:
        """Called in a forked process. If a coroutine has forked it, that one may finish its step,
        but the others may not run here: they continue in the worker."""
        loop = self._loop
        if loop is not None and threading.get_ident() == self.ident:
            task = asyncio.current_task(loop)
            # Private to the standard library's loops; there is no public way to clear it. In
            # others, what would run next is noticed when it begins.
            ready = getattr(loop, "_ready", None)
            if ready is not None:
                ready.clear()
            else:
                sys.setprofile(partial(_end_at_next, task))
            loop.call_soon(_end_copy, task)


def described(task: Task) -> str:
    """The name of a task, its coroutine and its place in the code."""
    coroutine: object = task.get_coro()
    name = getattr(coroutine, "__qualname__", type(coroutine).__qualname__)
    where = "".join(f", {one.f_code.co_filename}:{one.f_lineno}" for one in frames_of(task)[-1:])
    return f"{task.get_name()} ({name}{where})"


def frames_of(task: Task) -> list[FrameType]:
    """Where a task is: the frame of each coroutine that it awaits, the innermost last."""
    frames: list[FrameType] = []
    coroutine: object = task.get_coro()
    while coroutine is not None and len(frames) < _DEEPEST:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is None:
            break
        frames.append(frame)
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return frames


_DEEPEST = 100
"""Most frames of a task's stack."""


async def _end_all(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    current = asyncio.current_task(loop)
    tasks = [task for task in asyncio.all_tasks(loop) if task is not current]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)
    await loop.shutdown_asyncgens()


def _end_at_next(task: Task | None, frame: FrameType, event: str, _argument: object) -> None:
    """A profile function: ends the copy when the loop calls the next function."""
    above = frame.f_back
    if event == "call" and above is not None and above.f_code is EventLoop._run.__code__:
        _end_copy(task)


def _end_copy(task: Task | None) -> None:
    if task is not None and not task.done():
        forks.end(JobdError("a process forked by an async job cannot await in the worker's loop"))
    forks.end(task.exception() if task is not None and not task.cancelled() else None)
