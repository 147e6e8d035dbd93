"""The asyncio thread: runs the jobs that are ``async def``.

One event loop per worker, started by the first such job. The job thread waits for the coroutine,
so that concurrency, middleware, retries and shutdown are the same for both kinds of job.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections import deque
from collections.abc import Coroutine
from typing import Any

from jobd import copies
from jobd.errors import JobdError, JobTimeout, Shutdown


class Coroutines:
    """Runs coroutines on its own thread, for callers on others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self._thread = 0
        copies.on_copy(self._copied)

    def run(self, coroutine: Coroutine[Any, Any, Any], seconds: float | None = None) -> Any:
        """Run it to its end, with the context variables of the caller.

        Args:
            seconds: that it may take.

        Raises:
            JobTimeout: it took longer, and was cancelled.
            Shutdown: it was cancelled because the worker stops.
        """
        if seconds is not None:
            coroutine = _limited(coroutine, seconds)
        future = asyncio.run_coroutine_threadsafe(coroutine, self._running_loop())
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            if self._stopping:
                raise Shutdown from None
            raise

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
            f"{task.get_name()}: {frames[-1].f_code.co_filename}:{frames[-1].f_lineno}"
            for task in asyncio.all_tasks(self._loop)
            if (frames := task.get_stack())
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
        """Until the worker stops: a job that leaves by ``sys.exit``, or stops the loop, must not
        end it for the others."""
        self._thread = threading.get_ident()
        while not self._stopping:
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                copies.end(error)  # else it is in the result of the coroutine as well

    def _copied(self) -> None:
        """A coroutine has forked, perhaps, and this is the copy. It may finish its step, but none
        of the other coroutines may go on in it: they do in the worker."""
        loop = self._loop
        if loop is not None and threading.get_ident() == self._thread:
            task = asyncio.current_task(loop)
            # The standard library's loops have it, and no other way to what is due in this turn.
            getattr(loop, "_ready", deque()).clear()
            loop.call_soon(_end_copy, task)


async def _limited(coroutine: Coroutine[Any, Any, Any], seconds: float) -> Any:
    try:
        async with asyncio.timeout(seconds) as limit:
            return await coroutine
    except TimeoutError as error:
        if limit.expired():
            raise JobTimeout from error
        raise


def _end_copy(task: asyncio.Task[Any] | None) -> None:
    if task is not None and not task.done():
        copies.end(JobdError("what an async job forks cannot await: the loop is the worker's"))
    copies.end(task.exception() if task is not None and not task.cancelled() else None)


def _cancel_tasks() -> None:
    for task in asyncio.all_tasks():
        task.cancel()
