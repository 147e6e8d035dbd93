"""What a worker warns of when it has booted: no fault of the application, and seldom meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from structlog.typing import FilteringBoundLogger

from jobd.jobs.app import App
from jobd.jobs.client import destination

if TYPE_CHECKING:
    from jobd.settings.daemon import Config

_NO_JOBS = (
    "name the module that defines them, or one that imports it (-r), and the jobd.App that they "
    "belong to, if it is not the default one (-r shop:app); every job will fail"
)
_ELSEWHERE = (
    "the application calls configure(): what its jobs push does not come to this daemon; "
    "give both the same server and prefix"
)
_UNSERVED = "jobs of this application go there: add -q, or have another daemon serve them"


def warn_of_application(app: App, config: Config, logger: FilteringBoundLogger) -> None:
    """Log what there is to say of *app* in a daemon with these settings."""
    if not app.registry.all():
        logger.warning("no_jobs_registered", require=list(config.require), advice=_NO_JOBS)
    here, pushes = destination(config.redis, config.prefix), app.client.destination
    if pushes and pushes != here:
        logger.warning("pushes_go_elsewhere", to=pushes, served=here, advice=_ELSEWHERE)
    missing = app.registry.unserved([queue.name for queue in config.queues])
    if missing:
        logger.warning("queues_not_served", queues=",".join(missing), advice=_UNSERVED)
