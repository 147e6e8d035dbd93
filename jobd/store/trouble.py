"""Error messages for Redis errors: the server's text, with advice."""

from __future__ import annotations

import re

import redis
from redis.sentinel import SentinelConnectionPool

from jobd.errors import RefusedError, UnavailableError
from jobd.text.masking import mask

CLUSTER_ADVICE = (
    "jobd does not work with Redis Cluster, which cannot change keys of different slots in one "
    "step: use a server whose cluster mode is off, and Sentinel for failover"
)
_CLUSTER = (
    redis.exceptions.AskError,
    redis.exceptions.ClusterError,
    redis.exceptions.ClusterCrossSlotError,
)
# Older versions of redis-py have no classes for these, and leave the code in the text.
_CLUSTERED = re.compile(r"(?:ASK|CLUSTERDOWN|CROSSSLOT|MOVED) |.*must reside in the same slot")
# For a command; for a command in a script; the same on old servers.
_DENIED = re.compile(
    r"no permissions to|ACL failure in script|executing the script can't (?:run|access)"
)


def reason(error: BaseException) -> str:
    """The message of *error* in one line, with advice for known errors.

    >>> reason(redis.exceptions.NoPermissionError("User app has no permissions to run 'info'"))
    "User app has no permissions to run 'info'; docs/acl.md lists what is needed"
    """
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if _denies(error):
        text += "; docs/acl.md lists what is needed"
    elif isinstance(error, _CLUSTER) or _CLUSTERED.match(text):
        text += f"; {CLUSTER_ADVICE}"
    elif isinstance(error, redis.AuthenticationError):
        text += "; check the user and the password in its URL"
    return mask(text)


def unavailable(client: redis.Redis, error: redis.RedisError) -> UnavailableError:
    """The exception to raise for *error*, which stays its ``__context__``."""
    if isinstance(error, redis.ConnectionError | redis.TimeoutError) and not isinstance(
        error, redis.AuthenticationError
    ):
        return UnavailableError(f"Redis at {where(client)} does not answer: {reason(error)}")
    return RefusedError(f"Redis at {where(client)} refuses: {reason(error)}")


def denied(error: RefusedError) -> bool:
    """Whether it was refused because the user has no permission for it."""
    return error.__context__ is not None and _denies(error.__context__)


def _denies(error: BaseException) -> bool:
    return isinstance(error, redis.exceptions.NoPermissionError) or bool(_DENIED.search(str(error)))


def where(client: redis.Redis) -> str:
    """The address that *client* connects to, without secrets."""
    pool = client.connection_pool
    if isinstance(pool, SentinelConnectionPool):
        return f"Sentinel's {pool.service_name}"
    options = pool.connection_kwargs
    if "path" in options:
        return str(options["path"])
    return f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
