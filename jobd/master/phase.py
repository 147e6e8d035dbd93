"""The states of the daemon."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """
    ``STARTING → RUNNING ⇄ RELOADING``; ``→ QUIETING → QUIET → RUNNING``; from everywhere to
    ``STOPPING`` or ``FAILED``, which are never left except to ``STOPPED``.
    """

    STARTING = "starting"
    RUNNING = "running"
    RELOADING = "reloading"
    QUIETING = "quieting"
    QUIET = "quiet"
    STOPPING = "stopping"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def ending(self) -> bool:
        return self in (Phase.STOPPING, Phase.FAILED, Phase.STOPPED)

    @property
    def quiet(self) -> bool:
        return self in (Phase.QUIETING, Phase.QUIET)
