"""Support for tests of applications that use jobd, and of jobd: modes in which pushes do not go to
Redis, and an embedded server."""

from jobd.testing.mixin import JobdTestMixin
from jobd.testing.modes.errors import NoRedisError, UnexpectedPushError
from jobd.testing.modes.jobs import Jobs
from jobd.testing.modes.kinds import fake, inline, off, refuse
from jobd.testing.modes.mode import Mode, collected
from jobd.testing.modes.pushed import PushedJob
from jobd.testing.server import EmbeddedServer

__all__ = [
    "EmbeddedServer",
    "JobdTestMixin",
    "Jobs",
    "Mode",
    "NoRedisError",
    "PushedJob",
    "UnexpectedPushError",
    "collected",
    "fake",
    "inline",
    "off",
    "refuse",
]
