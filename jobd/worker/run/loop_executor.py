"""The executor of async jobs: the same steps as in a thread, all of them in the job's task.

What may block is left to a thread: the decision about a failure, which calls the application's
handlers. It sees a copy of the job's context.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Set
from contextvars import copy_context
from functools import partial

from jobd.errors import ArgumentError, PayloadError
from jobd.jobs import context
from jobd.jobs.app import App
from jobd.jobs.registry import Definition
from jobd.jobs.unrun import awaited, refuse_unrun
from jobd.runtime.process import forks
from jobd.settings.daemon import Config
from jobd.store.inflight import Claimed, InFlight
from jobd.wire import attachments, payload
from jobd.worker.metrics import Metrics
from jobd.worker.run.coroutines import Coroutines, limited
from jobd.worker.run.deadlines import Deadlines
from jobd.worker.run.executor import Executor, counted_as
from jobd.worker.run.inputs import StepInputs
from jobd.worker.run.locks import Locks
from jobd.worker.run.loop import EventLoop
from jobd.worker.run.settlement import Settlement
from jobd.worker.run.tasks import End, Tasks

_NONE: frozenset[str] = frozenset()


class LoopExecutor(Executor):
    """Runs the jobs of *app*: async ones as *tasks* on *loop*, the others in any thread."""

    def __init__(
        self,
        app: App,
        config: Config,
        inflight: InFlight,
        coroutines: Coroutines,
        deadlines: Deadlines,
        metrics: Metrics,
        locks: Locks,
        inputs: StepInputs,
        tasks: Tasks,
        loop: EventLoop,
    ) -> None:
        super().__init__(app, config, inflight, coroutines, deadlines, metrics, locks, inputs)
        self._tasks = tasks
        self._loop = loop

    def on_loop(self) -> Set[str]:
        """The names of the jobs that run on the loop: the async ones, unless there is middleware
        around them that needs a thread."""
        return _NONE if self._middleware.needs_thread else self._registry.coroutines

    async def perform(self, job: Claimed, place: int) -> End:
        """Run *job* in its place, in a context of its own."""
        work = job.work or payload.parse(job.payload)
        current = context.CurrentJob(work, job.payload, job.queue, None)
        context.set_current(current)
        began = time.monotonic() if self._timed else 0.0
        attached = attachments.NONE
        definition: Definition | None = None
        try:
            if work.jobd is not None:
                admitted = await self._admit_on_loop(job, work)
                if not isinstance(admitted, attachments.Attachments):
                    return admitted
                attached = admitted
            if self._watched:
                self._starting(job)
            definition = current.definition = self._registry.lookup(work.class_)
            if self._middleware:
                result = await self._call_wrapped(current, definition, job, work, place)
            elif definition.timeout is None:
                result = await definition.function(*work.args, **work.kwargs)
                if result is not None:
                    result = await awaited(result)
                    refuse_unrun(definition.name, result)
            else:
                result = await self._call_on_loop(definition, job, work, place)
        except BaseException as error:  # noqa: BLE001 - decided about in a thread
            if current.cancellation is not None and not forks.copied:
                current.cancellation.leave()
            forks.end(error)
            self._loop.ended(current)
            if self._tasks.cut_short or self._deadlines.has_abandoned(job):
                return None
            if current.cancelled:
                decide = partial(self._cancelled, job, definition, error, began)
            else:
                decide = partial(self._raised, job, work, definition, error, began)
            return partial(copy_context().run, decide)
        if current.cancellation is not None:
            current.cancellation.leave()
        self._loop.ended(current)
        if self._timed:
            elapsed = time.monotonic() - began
            if self._metrics is not None:
                name, wrapped = work.class_, work.wrapped
                self._metrics.done(counted_as(name, wrapped) if wrapped else name, elapsed)
            if self._verbose:
                self._log_done.info("job_done", elapsed=round(elapsed, 3))
            if self._notes is not None:
                self._note("done", job, began)
        if attached is attachments.NONE or not attached.ends_apart:
            return None
        try:
            return self._ended_apart(job, attached, result)
        except ArgumentError as error:
            # It calls error handlers.
            return partial(copy_context().run, self._not_kept, job, attached, error)

    async def _admit_on_loop(
        self, job: Claimed, work: payload.Work
    ) -> attachments.Attachments | End:
        """What hangs on a job that may start, or how one ends that does not. Whatever waits for
        Redis or calls handlers does so in a thread."""
        try:
            attached = attachments.read(work.jobd)
        except (attachments.Unknown, PayloadError):
            return partial(copy_context().run, self._refused, job, work)
        lock, node = attached.lock, attached.node
        takes = node is not None and node.takes
        if not takes and (lock is None or not lock.acts_at_start):
            return self._admission.admit(job, work)
        inside = copy_context()
        admitted = await self._tasks.beside(partial(inside.run, self._admission.admit, job, work))
        for variable, value in inside.items():
            variable.set(value)
        return admitted

    def _refused(self, job: Claimed, work: payload.Work) -> Settlement:
        end = self._admission.admit(job, work)
        return end if isinstance(end, Settlement) else self.give_up(job, "it cannot be admitted")

    async def _call_wrapped(
        self,
        current: context.CurrentJob,
        definition: Definition,
        job: Claimed,
        work: payload.Work,
        place: int,
    ) -> object:
        result: object = None

        async def perform() -> object:
            nonlocal result
            result = await self._call_on_loop(definition, job, work, place)
            return result

        await self._middleware.ainvoke(current, current.payload, job.queue, perform)
        return result

    async def _call_on_loop(
        self, definition: Definition, job: Claimed, work: payload.Work, place: int
    ) -> object:
        result = awaited(definition.function(*work.args, **work.kwargs))
        seconds = definition.timeout
        value = await (result if seconds is None else self._in_time(result, seconds, job, place))
        refuse_unrun(definition.name, value)
        return value

    async def _in_time(
        self, result: Awaitable[object], seconds: float, job: Claimed, place: int
    ) -> object:
        limit = self._deadlines.begin_coroutine(job, seconds)
        self._tasks.show_deadline(place, limit.end)
        try:
            value = await limited(result, seconds)
            forks.end()
            return value
        except BaseException as error:
            forks.end(error)
            raise
        finally:
            self._tasks.show_deadline(place, 0.0)
            self._deadlines.end_coroutine(limit)
