"""The asyncio thread: runs the jobs that are ``async def``.

One event loop per worker, started by the first such job. The job thread waits for the coroutine,
so that concurrency, middleware, retries and shutdown are the same for both kinds of job.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any

from jobd.errors import JobTimeout, Shutdown


class Coroutines:
    """Runs coroutines on its own thread, for callers on others."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False

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
                    threading.Thread(
                        target=self._run, args=(loop,), name="asyncio", daemon=True
                    ).start()
                    self._loop = loop
        return self._loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until the worker stops: a job that leaves by ``sys.exit``, or stops the loop, must not
        end it for the others."""
        while not self._stopping:
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt):
                continue  # it is in the result of the coroutine as well


async def _limited(coroutine: Coroutine[Any, Any, Any], seconds: float) -> Any:
    try:
        async with asyncio.timeout(seconds) as limit:
            return await coroutine
    except TimeoutError as error:
        if limit.expired():
            raise JobTimeout from error
        raise


def _cancel_tasks() -> None:
    for task in asyncio.all_tasks():
        task.cancel()
