"""Telling the application's death handlers of jobs that a person has killed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor

from jobd.errors import PayloadError
from jobd.jobs.app import App
from jobd.jobs.unrun import awaited, finished
from jobd.wire.payload import decode


def tell_death(app: App, raw: bytes, ex: BaseException | None) -> None:
    """Call the death handlers of *app* for a job that somebody has killed."""
    try:
        fields = decode(raw)
    except PayloadError:
        return
    error = ex or RuntimeError("the job was killed by hand")
    for handler in app.death_handlers:
        try:
            finished("a death handler", handler(fields, error), _run)
        except Exception as broken:  # noqa: BLE001 - the application's; the others must run
            for report in app.error_handlers:
                about = {"context": "death handler", "job": fields}
                finished("an error handler", report(broken, about), _run)


def _run(awaitable: Awaitable[object]) -> object:
    """Run a handler that is a coroutine; in a thread, because this one may have an event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(awaited(awaitable))).result()
