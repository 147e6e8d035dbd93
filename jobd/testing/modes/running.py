"""Runs the jobs that were pushed in a test mode: as ``perform_inline``, from the stored bytes."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context

from jobd.errors import UnknownJobError
from jobd.jobs.context import CurrentJob
from jobd.jobs.inline import aperform, perform
from jobd.jobs.middleware import Chain
from jobd.jobs.registry import Definition
from jobd.jobs.unrun import awaited
from jobd.testing.modes.pushed import PushedJob
from jobd.testing.modes.store import Store, enqueued

_NONE: Chain[CurrentJob] = Chain()


class Performer:
    """Runs jobs of a store, which no longer wait there.

    Args:
        server_middleware: whether they run inside that of their application.
    """

    def __init__(self, store: Store, *, server_middleware: bool) -> None:
        self._store = store
        self._server_middleware = server_middleware

    def perform(self, job: PushedJob) -> tuple[object, list[PushedJob]]:
        """Run *job*; returns its result, and the jobs that have waited for its end.

        Raises:
            Exception: what the job raises, unless it is a step whose workflow goes on.
        """
        definition = self._lookup(job)
        chain, result = self._chain(job), None
        more: list[PushedJob] = []
        with self._ending(job, more):
            begins = self._may_begin(job)
            if begins:
                fill = self._store.filler(job)
                raw = enqueued(job)
                result = perform(raw, job.queue, definition, chain, run_awaitable, fill)
            more += self._store.ended(job, result, None, expired=not begins)
        return result, more

    async def aperform(self, job: PushedJob) -> tuple[object, list[PushedJob]]:
        """The same on an event loop: what is not ``async`` runs in a thread."""
        if "django.db" in sys.modules:
            # Its connections belong to threads; this is the one of the test and its transaction.
            from asgiref.sync import sync_to_async

            return await sync_to_async(self.perform)(job)
        definition, chain = self._lookup(job), self._chain(job)
        if not definition.is_async and not chain.asynchronous:
            return await asyncio.to_thread(self.perform, job)
        result = None
        more: list[PushedJob] = []
        with self._ending(job, more):
            begins = self._may_begin(job)
            if begins:
                fill = self._store.filler(job)
                result = await aperform(enqueued(job), job.queue, definition, chain, fill)
            more += self._store.ended(job, result, None, expired=not begins)
        return result, more

    @contextmanager
    def _ending(self, job: PushedJob, more: list[PushedJob]) -> Iterator[None]:
        """The jobs that may begin because *job* has ended are added to *more*.

        Raises:
            Exception: as :meth:`perform`.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised, unless its workflow goes on
            more += self._failed(job, error)
        finally:
            more += self._again(job)

    def _failed(self, job: PushedJob, error: Exception) -> list[PushedJob]:
        """The jobs that may begin because *job* has failed.

        Raises:
            Exception: *error*, unless its workflow goes on.
        """
        more = self._store.ended(job, None, error, expired=False)
        if not self._store.goes_on(job):
            raise error
        return more

    def _again(self, job: PushedJob) -> list[PushedJob]:
        again = self._store.end(job)
        return [] if again is None else [again]

    def _lookup(self, job: PushedJob) -> Definition:
        try:
            return job.app.registry.lookup(job.name)
        except UnknownJobError as error:
            raise UnknownJobError(
                f"{error}. A job of another program cannot run in this test: fake() collects its "
                "pushes, and drain(this_job, that_job) runs only the jobs that are named"
            ) from None

    def _may_begin(self, job: PushedJob) -> bool:
        self._store.begin(job)
        expires = job.attached.expires_at
        return expires is None or time.time() < expires

    def _chain(self, job: PushedJob) -> Chain[CurrentJob]:
        return job.app.server_middleware if self._server_middleware else _NONE


def run_awaitable(awaitable: Awaitable[object]) -> object:
    """Run *awaitable* to its end on an event loop of its own; in a thread of its own if one is
    running in this one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(awaitable)
    with ThreadPoolExecutor(1, "jobd-inline") as pool:
        return pool.submit(copy_context().run, _run_here, awaitable).result()


def _run(awaitable: Awaitable[object]) -> object:
    if "django.db" in sys.modules:
        # With it, what the coroutine does with the ORM comes back to this thread.
        from asgiref.sync import async_to_sync

        return async_to_sync(awaited)(awaitable)
    return _run_here(awaitable)


def _run_here(awaitable: Awaitable[object]) -> object:
    # With a factory, the current loop of the thread stays as the test has it.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(awaited(awaitable))
