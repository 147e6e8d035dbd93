"""The asyncio thread: runs what jobs return to be awaited, as those that are ``async def`` do.

One event loop per worker, started by the first such job. The job thread waits for the coroutine,
so that concurrency, middleware, retries and shutdown are the same for both kinds of job.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import types
from collections.abc import Awaitable
from typing import Any

from jobd.errors import JobTimeout
from jobd.functions import awaited


class Coroutines:
    """Runs awaitables on its own thread, for callers on others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False

    def run(self, awaitable: Awaitable[Any], seconds: float | None = None) -> Any:
        """Run it to its end, with the context variables of the caller, who finds there afterwards
        what it has set.

        Args:
            seconds: that it may take.

        Raises:
            JobTimeout: it took longer, and was cancelled.
            asyncio.CancelledError: it was cancelled, perhaps by :meth:`cancel_all`.
        """
        run = _Run(awaitable, seconds)
        del awaitable
        loop = self._running_loop()
        loop.call_soon_threadsafe(run.start, loop)
        run.ended.wait()
        for variable, value in run.context.items():
            variable.set(value)
        error, run.error = run.error, None
        if error is None:
            return run.value
        try:
            raise error
        finally:
            # Its traceback has this frame: with them in it, all that the job had would stay.
            del error, run

    def cancel_all(self) -> None:
        """Cancel every coroutine: the worker's deadline has passed."""
        self._stopping = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(_cancel_tasks)

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
                    threading.Thread(
                        target=self._run, args=(loop,), name="asyncio", daemon=True
                    ).start()
                    self._loop = loop
        return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until the worker stops: a job whose tasks leave by ``sys.exit``, or which stops the loop,
        must not end it for the others."""
        while not self._stopping:
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                continue  # it is in the result of that task as well


class _Run:
    """One awaitable on its way: what comes of it goes not through its task, but past it, so that
    no exception is kept by what its own traceback refers to."""

    def __init__(self, awaitable: Awaitable[Any], seconds: float | None) -> None:
        self.ended = threading.Event()
        self.context = contextvars.copy_context()
        self.value: Any = None
        self.error: BaseException | None = None
        self._awaitable: Awaitable[Any] | None = awaitable
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None  # the loop itself has only weak references

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._task = loop.create_task(self._drive(), context=self.context)
        except BaseException as error:  # noqa: BLE001 - of the application's task factory
            self.error = error
            self.ended.set()

    async def _drive(self) -> None:
        try:
            result, self._awaitable = awaited(self._awaitable), None
            if self._seconds is not None:
                result = _limited(result, self._seconds)
            self.value = await result
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the job
            self.error = error
        finally:
            self._task = None
            self.ended.set()


async def _limited(result: Awaitable[Any], seconds: float) -> Any:
    try:
        async with asyncio.timeout(seconds) as limit:
            return await result
    except TimeoutError as error:
        if limit.expired():
            raise JobTimeout from error
        raise


def _innermost(coroutine: Any) -> types.FrameType | None:
    """Where it is: in what it awaits, if that is a coroutine."""
    while hasattr(inner := getattr(coroutine, "cr_await", None), "cr_frame"):
        coroutine = inner
    frame: types.FrameType | None = getattr(coroutine, "cr_frame", None)
    return frame


def _cancel_tasks() -> None:
    for task in asyncio.all_tasks():
        task.cancel()
