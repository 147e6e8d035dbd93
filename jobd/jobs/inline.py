"""Runs a job in this process, from the bytes of its payload.

As in a worker, it runs inside the server middleware and in a context of its own, in which
``current_job()`` is it and carried context variables are set. Nothing here needs Redis, and nothing
is retried: what the job raises is raised to the caller.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Protocol

from jobd.jobs.context import CurrentJob, set_current
from jobd.jobs.middleware import Chain
from jobd.jobs.propagation import propagation
from jobd.jobs.registry import Definition, Registry
from jobd.jobs.unrun import awaited, finished, refuse_unrun
from jobd.wire import attachments
from jobd.wire import payload as wire

RunAwaitable = Callable[[Awaitable[object]], object]
"""Runs an awaitable to its end, in a thread that waits for it."""

Prepare = Callable[[wire.Work], None]
"""Changes the arguments of a job before its start."""


class Application(Protocol):
    """The part of :class:`jobd.App` that runs its jobs."""

    registry: Registry
    server_middleware: Chain[CurrentJob]


def perform(
    raw: bytes,
    queue: str,
    definition: Definition,
    middleware: Chain[CurrentJob],
    run: RunAwaitable,
    prepare: Prepare | None = None,
) -> object:
    """Run the job *definition* with the payload *raw*; returns its result, or None if the
    *middleware* did not run it.

    Args:
        run: for what is ``async``.
    """
    work = wire.parse(raw)
    if prepare is not None:
        prepare(work)
    job = CurrentJob(work, raw, queue, definition)
    propagation.follow()
    return Context().run(_perform, job, definition, work, middleware, run)


async def aperform(
    raw: bytes,
    queue: str,
    definition: Definition,
    middleware: Chain[CurrentJob],
    prepare: Prepare | None = None,
) -> object:
    """:func:`perform` for an ``async`` job, as a task of the running event loop."""
    import asyncio  # imported only for async jobs

    work = wire.parse(raw)
    if prepare is not None:
        prepare(work)
    job = CurrentJob(work, raw, queue, definition)
    propagation.follow()
    running = _aperform(job, definition, work, middleware)
    return await asyncio.get_running_loop().create_task(running, context=Context())


def _perform(
    job: CurrentJob,
    definition: Definition,
    work: wire.Work,
    middleware: Chain[CurrentJob],
    run: RunAwaitable,
) -> object:
    if middleware.asynchronous:
        return run(_aperform(job, definition, work, middleware))
    _begin(job, work)
    result: object = None

    def call() -> object:
        nonlocal result
        result = finished(definition.name, definition.function(*work.args, **work.kwargs), run)
        return result

    middleware.invoke(job, wire.decode(job.raw), job.queue, call)
    return result


async def _aperform(
    job: CurrentJob, definition: Definition, work: wire.Work, middleware: Chain[CurrentJob]
) -> object:
    _begin(job, work)
    result: object = None

    async def call() -> object:
        nonlocal result
        result = await awaited(definition.function(*work.args, **work.kwargs))
        refuse_unrun(definition.name, result)
        return result

    await middleware.ainvoke(job, wire.decode(job.raw), job.queue, call)
    return result


def _begin(job: CurrentJob, work: wire.Work) -> None:
    set_current(job)
    if work.jobd is not None:
        propagation.restore(attachments.read(work.jobd).context or {})
