"""How many workers there are: another number while the daemon runs.

``jobctl scale`` asks for one, and so does a reload whose settings have another number than before.
A new slot is filled like those of the start. The workers with the highest numbers are those that
are one too many; they finish their jobs as the old ones of a reload do.
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
    """*count* as a number of workers that there may be now.

    Raises:
        ConfigError: it is none, or not now.
    """
    if daemon.phase.ending or daemon.phase in (Phase.STARTING, Phase.RELOADING):
        raise ConfigError(f"the daemon is {daemon.phase}")
    try:
        number = int(_WORKERS.read(count, text=False))
    except Invalid as error:
        raise ConfigError(f"the number of workers {error}") from None
    leaving = len(daemon.staff.slots.worker_children()) - len(daemon.staff.slots.workers)
    descriptors.provide(daemon.config.concurrency, number + max(0, leaving))
    return number


def scale(daemon: Daemon, count: int, cause: str) -> None:
    """Go on with *count* workers."""
    slots = daemon.staff.slots
    logger.info("scaled", workers=count, before=len(slots.workers), cause=cause)
    slots.scale(count, time.monotonic() + daemon.config.reload_timeout)
    daemon.changed()
