"""The asyncio thread: runs the awaitables that jobs return, as ``async def`` jobs do.

There is one event loop per worker, started by the first such job. The job thread waits for the
coroutine, so concurrency, middleware, retries and shutdown are the same for both kinds of job.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import types
from collections import deque
from collections.abc import Awaitable

from jobd.errors import JobdError, JobTimeout
from jobd.jobs.cancellation import Cancellation
from jobd.jobs.unrun import awaited
from jobd.runtime.process import forks


class Coroutines:
    """Runs awaitables on its own thread, for callers on others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self._thread = 0
        self._runs: dict[int, _Run] = {}
        forks.on_copy(self._copied)

    def run(self, awaitable: Awaitable[object], seconds: float | None = None) -> object:
        """Run *awaitable* to its end in the caller's context; context variables that it sets are
        visible to the caller afterwards.

        Args:
            seconds: its time limit.

        Raises:
            JobTimeout: it took longer, and was cancelled.
            asyncio.CancelledError: it was cancelled, perhaps by :meth:`cancel_all`.
        """
        run = _Run(awaitable, seconds)
        del awaitable
        loop = self._running_loop()
        ident = threading.get_ident()
        self._runs[ident] = run
        try:
            loop.call_soon_threadsafe(run.start, loop)
            run.ended.wait()
        finally:
            del self._runs[ident]
        for variable, value in run.context.items():
            variable.set(value)
        error, run.error = run.error, None
        if error is None:
            return run.value
        try:
            raise error
        finally:
            # The traceback refers to this frame, which would keep the job's objects alive.
            del error, run

    def cancel_all(self) -> None:
        """Cancel every coroutine: the worker's deadline has passed."""
        self._stopping = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(_cancel_tasks)

    def cancel(self, ident: int, cancellation: Cancellation) -> bool:
        """Cancel the coroutine for which a thread waits; returns whether it waits for one."""
        run, loop = self._runs.get(ident), self._loop
        if run is None or loop is None:
            return False
        loop.call_soon_threadsafe(cancellation.deliver, run.cancel, _nothing)
        return True

    def stacks(self) -> list[str]:
        """Where each running coroutine is, for a thread dump."""
        if self._loop is None:
            return []
        return [
            f"{task.get_name()}: {frame.f_code.co_filename}:{frame.f_lineno}"
            for task in asyncio.all_tasks(self._loop)
            if (frame := _innermost(task.get_coro()))
        ]

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            with self._lock:
                if self._loop is None:
                    loop = asyncio.new_event_loop()
                    try:
                        threading.Thread(
                            target=self._run, args=(loop,), name="asyncio", daemon=True
                        ).start()
                    except BaseException:
                        loop.close()
                        raise
                    self._loop = loop
        return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the loop until the worker stops, even if a job stops the loop or a task of it calls
        ``sys.exit``."""
        self._thread = threading.get_ident()
        while not self._stopping:
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                forks.end(error)  # in the worker itself, the task's result has it, too

    def _copied(self) -> None:
        """Called in a forked process. If a coroutine has forked it, that one may finish its step,
        but the others may not run here: they continue in the worker."""
        loop = self._loop
        if loop is not None and threading.get_ident() == self._thread:
            task = asyncio.current_task(loop)
            # Private to the standard library's loops; there is no public way to clear it.
            getattr(loop, "_ready", deque()).clear()
            loop.call_soon(_end_copy, task)


class _Run:
    """One running awaitable. Its result bypasses the task, so that no exception is kept alive by
    an object to which its own traceback refers."""

    def __init__(self, awaitable: Awaitable[object], seconds: float | None) -> None:
        self.ended = threading.Event()
        self.context = contextvars.copy_context()
        self.value: object = None
        self.error: BaseException | None = None
        self._awaitable: Awaitable[object] | None = awaitable
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None  # the loop itself has only weak references

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._task = loop.create_task(self._drive(), context=self.context)
        except BaseException as error:  # noqa: BLE001 - of the application's task factory
            self.error = error
            self.ended.set()

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _drive(self) -> None:
        try:
            result, self._awaitable = awaited(self._awaitable), None
            if self._seconds is not None:
                result = _limited(result, self._seconds)
            self.value = await result
            forks.end()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the job
            forks.end(error)
            self.error = error
        finally:
            self._task = None
            self.ended.set()


async def _limited(result: Awaitable[object], seconds: float) -> object:
    try:
        async with asyncio.timeout(seconds) as limit:
            return await result
    except TimeoutError as error:
        if limit.expired():
            raise JobTimeout from error
        raise


def _innermost(coroutine: object) -> types.FrameType | None:
    """The frame of the innermost coroutine that *coroutine* awaits."""
    while hasattr(inner := getattr(coroutine, "cr_await", None), "cr_frame"):
        coroutine = inner
    frame: types.FrameType | None = getattr(coroutine, "cr_frame", None)
    return frame


def _end_copy(task: asyncio.Task[object] | None) -> None:
    if task is not None and not task.done():
        forks.end(JobdError("a process forked by an async job cannot await in the worker's loop"))
    forks.end(task.exception() if task is not None and not task.cancelled() else None)


def _nothing() -> None:
    pass


def _cancel_tasks() -> None:
    for task in asyncio.all_tasks():
        task.cancel()
