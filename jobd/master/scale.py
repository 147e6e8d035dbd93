"""How many workers there are: another number while the daemon runs.

``jobctl scale`` asks for one, and so does a reload whose settings have another number than before.
A new slot is filled like those of the start. The workers with the highest numbers are those that
are one too many; they finish their jobs as the old ones of a reload do.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from jobd import log
from jobd.config import SETTINGS
from jobd.errors import ConfigError
from jobd.master import descriptors
from jobd.master.phase import Phase
from jobd.settings import Invalid

if TYPE_CHECKING:
    from jobd.master.master import Master

_WORKERS = next(one for one in SETTINGS if one.name == "workers")

logger = log.get("jobd.master")


def allowed(master: Master, count: object) -> int:
    """*count* as a number of workers that there may be now.

    Raises:
        ConfigError: it is none, or not now.
    """
    if master.phase.ending or master.phase in (Phase.STARTING, Phase.RELOADING):
        raise ConfigError(f"the daemon is {master.phase}")
    try:
        number = int(_WORKERS.read(count, text=False))
    except Invalid as error:
        raise ConfigError(f"the number of workers {error}") from None
    leaving = len(master.staff.slots.worker_children()) - len(master.staff.slots.workers)
    descriptors.provide(master.config.concurrency, number + max(0, leaving))
    return number


def scale(master: Master, count: int, cause: str) -> None:
    """Go on with *count* workers."""
    slots = master.staff.slots
    logger.info("scaled", workers=count, before=len(slots.workers), cause=cause)
    slots.scale(count, time.monotonic() + master.config.reload_timeout)
    master.changed()
