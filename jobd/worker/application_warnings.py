"""Warnings logged after boot: settings that are valid but probably not intended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

from jobd.jobs.app import App
from jobd.jobs.client import destination

if TYPE_CHECKING:
    from jobd.settings.daemon import Config

_NO_JOBS = (
    "every job will fail; use -r to name the module that defines the jobs, or one that imports "
    "it, and the jobd.App that they belong to if it is not the default one (-r shop:app)"
)
_ELSEWHERE = (
    "the application calls configure(): jobs that it pushes do not reach this daemon; "
    "give both the same server and prefix"
)
_UNSERVED = "this application pushes jobs to them: add -q, or have another daemon serve them"


_THREADS = (
    "around async jobs, middleware that is not async keeps a thread waiting: such jobs count "
    "against concurrency, not async_concurrency. Use async def and await call_next()"
)


def warn_of_application(app: App, config: Config, logger: FilteringBoundLogger) -> None:
    """Log the warnings for *app* under these settings."""
    if not app.registry.all():
        logger.warning("no_jobs_registered", require=list(config.require), advice=_NO_JOBS)
    here, pushes = destination(config.redis, config.prefix), app.client.destination
    if pushes and pushes != here:
        logger.warning("pushes_go_elsewhere", to=pushes, served=here, advice=_ELSEWHERE)
    plain = app.server_middleware.plain
    if plain and app.registry.coroutines:
        logger.warning("async_jobs_need_threads", middleware=",".join(plain), advice=_THREADS)
    missing = config.unserved(app.registry.queues())
    if missing:
        logger.warning("queues_not_served", queues=",".join(missing), advice=_UNSERVED)
