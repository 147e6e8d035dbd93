"""The errors that only tests see."""

from __future__ import annotations

from jobd.errors import JobdError


class UnexpectedPushError(AssertionError):
    """A job was pushed where :func:`jobd.testing.refuse` is in force.

    Not a :class:`jobd.JobdError`, so that code which survives an outage of Redis does not hide it.
    """


class NoRedisError(JobdError):
    """Something other than a push needs Redis, and a test mode has taken its place."""
