"""Support for tests of applications that use jobd, and of jobd: modes in which pushes do not go to
Redis, a world in which jobs run without one, and an embedded server."""

from typing import TYPE_CHECKING

from jobd.testing.mixin import JobdTestMixin
from jobd.testing.modes.errors import NoRedisError, UnexpectedPushError
from jobd.testing.modes.jobs import Jobs
from jobd.testing.modes.kinds import fake, inline, off, refuse
from jobd.testing.modes.mode import Mode, collected
from jobd.testing.modes.pushed import PushedJob
from jobd.testing.server import EmbeddedServer

if TYPE_CHECKING:
    from jobd.testing.simulation import World, world

__all__ = [
    "EmbeddedServer",
    "JobdTestMixin",
    "Jobs",
    "Mode",
    "NoRedisError",
    "PushedJob",
    "UnexpectedPushError",
    "World",
    "collected",
    "fake",
    "inline",
    "off",
    "refuse",
    "world",
]


def __getattr__(name: str) -> object:
    # Loaded only where it is used: it needs all of a worker and of a keeper.
    if name in ("World", "world"):
        from jobd.testing import simulation

        return getattr(simulation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
