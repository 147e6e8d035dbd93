"""Runs awaitables on the worker's event loop for code in other threads, which waits for them.

So run the jobs whose function turns out to return an awaitable, async jobs inside synchronous
middleware, async middleware around synchronous jobs, and async hooks and handlers. Jobs that are
known to be ``async def`` need no thread (``tasks.py``).
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

from jobd.errors import JobdError, JobTimeout
from jobd.jobs import context
from jobd.jobs.cancellation import Cancellation
from jobd.jobs.middleware import AsyncNext, Next
from jobd.jobs.unrun import awaited
from jobd.runtime.process import forks
from jobd.worker.run.loop import EventLoop, Loop

_Answer = tuple[object, BaseException | None]


class Coroutines:
    """Runs awaitables on *loop*, for callers in other threads."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        # The innermost one of each thread that waits.
        self._runs: dict[int, _Run] = {}

    def run(self, awaitable: Awaitable[object], seconds: float | None = None) -> object:
        """Run *awaitable* to its end in the caller's context; context variables that it sets are
        visible to the caller afterwards.

        Args:
            seconds: its time limit.

        Raises:
            JobTimeout: it took longer, and was cancelled.
            asyncio.CancelledError: it was cancelled, perhaps by :meth:`cancel_all`.
        """
        run = _Run(self._loop, awaitable, seconds)
        del awaitable
        with self._starting(run):
            run.ended.wait()
        return run.outcome()

    def around(self, make: Callable[[AsyncNext], Awaitable[object]], call_next: Next) -> object:
        """Run the awaitable that *make* returns as :meth:`run` does. *make* gets a coroutine
        function that calls *call_next* here, in the thread that waits; each sees the context
        variables that the other has set."""
        loop = self._loop.get()
        calls: queue.SimpleQueue[asyncio.Future[_Answer] | None] = queue.SimpleQueue()

        async def call() -> object:
            future: asyncio.Future[_Answer] = loop.create_future()
            calls.put(future)
            value, error = await future
            if error is None:
                return value
            try:
                raise error
            finally:
                del error, future

        run = _Run(self._loop, make(call), on_end=partial(calls.put, None))
        with self._starting(run):
            future = calls.get()
        while future is not None:
            _adopt(run.context)
            answer = _answer(call_next)
            changed = contextvars.copy_context()
            with self._waiting(run):
                loop.call_soon_threadsafe(_give, future, answer, run.context, changed)
                del answer
                future = calls.get()
        run.ended.wait()
        return run.outcome()

    @contextmanager
    def _starting(self, run: _Run) -> Iterator[None]:
        loop = self._loop.get()
        if threading.get_ident() == self._loop.ident:
            raise JobdError("the event loop cannot wait for a coroutine that runs on it")
        with self._waiting(run):
            loop.call_soon_threadsafe(run.start, loop)
            yield

    @contextmanager
    def _waiting(self, run: _Run) -> Iterator[None]:
        """Context in which this thread waits for *run*."""
        ident = threading.get_ident()
        outer = self._runs.get(ident)
        self._runs[ident] = run
        try:
            yield
        finally:
            if outer is None:
                del self._runs[ident]
            else:
                self._runs[ident] = outer

    def cancel_all(self) -> None:
        """Cancel all that run now: the worker's deadline has passed."""
        if (loop := self._loop.running) is not None:
            for run in list(self._runs.values()):
                loop.call_soon_threadsafe(run.cancel)

    def cancel(self, ident: int, cancellation: Cancellation) -> bool:
        """Cancel the coroutine for which a thread waits; returns whether it waits for one."""
        run, loop = self._runs.get(ident), self._loop.running
        if run is None or loop is None:
            return False
        loop.call_soon_threadsafe(cancellation.deliver, run.cancel, _nothing)
        return True


class _Run:
    """One running awaitable. Its result bypasses the task, so that no exception is kept alive by
    an object to which its own traceback refers."""

    def __init__(
        self,
        owner: EventLoop,
        awaitable: Awaitable[object],
        seconds: float | None = None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.ended = threading.Event()
        self.context = contextvars.copy_context()
        self._owner = owner
        self._value: object = None
        self._error: BaseException | None = None
        self._awaitable: Awaitable[object] | None = awaitable
        self._seconds = seconds
        self._on_end = on_end
        self._cancelled = False
        self._task: asyncio.Task[None] | None = None  # the loop itself has only weak references

    def start(self, loop: Loop) -> None:
        try:
            self._task = task = asyncio.Task(self._drive(), loop=loop, context=self.context)
            task.add_done_callback(self._done)
            if self._cancelled:
                task.cancel()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the job
            self._error = error
            self._end()

    def cancel(self) -> None:
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    def outcome(self) -> object:
        """Its result, after it has ended; the caller gets its context variables."""
        _adopt(self.context)
        error, self._error = self._error, None
        value, self._value = self._value, None
        if error is None:
            return value
        try:
            raise error
        finally:
            # The traceback refers to this frame, which would keep the job's objects alive.
            del error, self

    async def _drive(self) -> None:
        try:
            result, self._awaitable = awaited(self._awaitable), None
            if self._seconds is not None:
                result = limited(result, self._seconds)
            self._value = await result
            forks.end()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread of the job
            forks.end(error)
            self._error = error
        finally:
            self._task = None
            if (job := context.running_job()) is not None:
                self._owner.ended(job)
            self._end()

    def _done(self, _task: asyncio.Task[None]) -> None:
        if not self.ended.is_set():  # cancelled before its first step: `_drive` has not run
            self._error = asyncio.CancelledError()
            self._end()

    def _end(self) -> None:
        self.ended.set()
        self._on_end()


def _adopt(changed: contextvars.Context) -> None:
    """Set the variables of this context as they are in *changed*."""
    for variable, value in changed.items():
        variable.set(value)


def _answer(call_next: Next) -> _Answer:
    try:
        return call_next(), None
    except BaseException as error:  # noqa: BLE001 - raised in the coroutine that has called it
        return None, error


def _give(
    future: asyncio.Future[_Answer],
    answer: _Answer,
    of_coroutine: contextvars.Context,
    changed: contextvars.Context,
) -> None:
    of_coroutine.run(_adopt, changed)
    if not future.done():
        future.set_result(answer)


async def limited(result: Awaitable[object], seconds: float) -> object:
    """The result of *result*, if it comes within *seconds*.

    Raises:
        JobTimeout: it does not, and was cancelled.
    """
    try:
        async with asyncio.timeout(seconds) as limit:
            return await result
    except TimeoutError as error:
        if limit.expired():
            text = f"the job took longer than its timeout of {seconds:g} s"
            raise JobTimeout(text) from error
        raise


def _nothing() -> None:
    pass
