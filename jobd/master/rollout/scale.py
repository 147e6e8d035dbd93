"""Scaling: changes the number of workers while the daemon runs.

It is requested by ``jobctl scale``, or by a reload whose settings have a different number. New
slots are filled as at the start. When scaling down, the workers with the highest numbers finish
their jobs and exit, as in a reload.
"""

from __future__ import annotations

import time

from jobd.errors import ConfigError
from jobd.master.daemon import Daemon
from jobd.master.phase import Phase
from jobd.runtime.log import log
from jobd.runtime.process import descriptors
from jobd.settings.daemon import SETTINGS
from jobd.settings.schema import Invalid

_WORKERS = next(one for one in SETTINGS if one.name == "workers")

logger = log.get("jobd.master")


def allowed(daemon: Daemon, count: int) -> int:
    """Check *count* as a new number of workers.

    Raises:
        ConfigError: it is invalid, or the daemon cannot be scaled now.
    """
    if daemon.phase.ending or daemon.phase in (Phase.STARTING, Phase.RELOADING):
        raise ConfigError(f"the daemon is {daemon.phase}")
    try:
        number = _WORKERS.read(count, text=False)
        assert isinstance(number, int)
    except Invalid as error:
        raise ConfigError(f"the number of workers {error}") from None
    leaving = len(daemon.staff.slots.worker_children()) - len(daemon.staff.slots.workers)
    descriptors.provide(daemon.config.concurrency, number + max(0, leaving))
    return number


def scale(daemon: Daemon, count: int, cause: str) -> None:
    """Change the number of workers to *count*."""
    slots = daemon.staff.slots
    logger.info("scaled", workers=count, before=len(slots.workers), cause=cause)
    slots.scale(count, time.monotonic() + daemon.config.reload_timeout)
    daemon.changed()
