"""Clients of Redis, made from a URL.

A client never sends a command twice. The client library's default would (up to eleven times,
scripts included), and only the caller knows whether that is harmless.

URLs: ``redis://``, ``rediss://`` (TLS), ``unix://``, and ``redis+sentinel://`` in the form
``redis+sentinel://[[USER:]PASSWORD@]HOST:PORT[,HOST:PORT…]/SERVICE[/DB]``, where the password is
the data server's.
"""

from __future__ import annotations

import inspect
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from jobd.errors import ConfigError, UnavailableError
from jobd.settings import redact

TIMEOUT = 5.0
"""Seconds that a command may take before its connection is given up."""

_SENTINEL = "redis+sentinel"
_DEFAULT_SENTINEL_PORT = 26379


def connect(url: str, *, timeout: float = TIMEOUT) -> redis.Redis:
    """A client with a pool of connections; nothing is sent before its first command.

    Args:
        url: one of the forms above.
        timeout: seconds for connecting, and for each command.

    Raises:
        ConfigError: *url* is none of the forms above.

    Example:
        >>> connect("redis://127.0.0.1:6379/0").get_connection_kwargs()["protocol"]
        2
    """
    options: dict[str, Any] = {
        # The same reply shapes on every version of the client, and no HELLO to old servers.
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        # A program with many threads gets a connection for each; it is never told to wait.
        "max_connections": 2**31,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        **_anonymous(),
    }
    scheme = urlsplit(url).scheme
    try:
        if scheme == _SENTINEL:
            return _by_sentinel(url, options)
        if scheme != "unix":
            options["socket_keepalive"] = True
        if scheme == "rediss":
            options["redis_connect_func"] = _greet
        return redis.Redis.from_url(url, **options)
    except ValueError:
        # What the library says names the part that it cannot read, which may be of the password.
        raise ConfigError(
            f"{redact(url)} is not a Redis URL; write redis://HOST:PORT/DB, rediss://…, "
            "unix:///PATH?db=0 or redis+sentinel://HOST:PORT/SERVICE/DB, and in a password %2F "
            "for /, %3F for ?, %23 for # and %40 for @"
        ) from None


def _greet(connection: Any) -> None:
    """Set a new TLS connection up, and read one reply.

    After the handshake the server sends session tickets, which nothing reads before the first
    reply. The pool would see bytes that nobody asked for, and throw the connection away.
    """
    connection.on_connect()
    connection.send_command("PING", check_health=False)
    try:
        connection.read_response()
    except redis.ResponseError:
        pass  # a user without the right to PING has read a reply as well


def reason(error: BaseException) -> str:
    """What *error* of the client library says, as far as it is meant for people.

    >>> reason(MasterNotFoundError("No master found for 'shop' : <redis.client.Redis(…)> - …"))
    "No master found for 'shop'"
    """
    text = str(error)
    if isinstance(error, MasterNotFoundError):
        text = text.partition(" : ")[0]
    return text or type(error).__name__


OLDEST = (6, 2)
"""Oldest Redis that knows all commands used (BLMOVE and LMOVE, RPOP with a count)."""


def require_version(client: redis.Redis) -> None:
    """Ask the server who it is.

    Raises:
        UnavailableError: it is too old.
        redis.RedisError: it does not answer, or refuses.
    """
    version = str(client.info("server").get("redis_version", ""))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST:
        raise UnavailableError(f"the server is Redis {version}; jobd needs 6.2 or newer")


def _anonymous() -> dict[str, Any]:
    """Options that stop the client from introducing itself, which old servers count as errors."""
    known = inspect.signature(redis.connection.AbstractConnection.__init__).parameters
    if "driver_info" in known:
        return {"driver_info": None}
    return {"lib_name": None, "lib_version": None}


def _by_sentinel(url: str, options: dict[str, Any]) -> redis.Redis:
    parts = urlsplit(url)
    user, _, hosts = parts.netloc.rpartition("@")
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ConfigError(
            f"{redact(url)} names no Sentinel service; write redis+sentinel://HOST:PORT/SERVICE/DB"
        )
    addresses = []
    for host in hosts.split(","):
        name, _, port = host.partition(":")
        addresses.append((name, int(port or _DEFAULT_SENTINEL_PORT)))
    if user:
        name, colon, password = user.rpartition(":")
        options["password"] = unquote(password)
        if colon and name:
            options["username"] = unquote(name)
    options["db"] = int(database or 0)
    options |= dict(parse_qsl(parts.query))
    asking = {key: options[key] for key in ("socket_timeout", "socket_connect_timeout", "protocol")}
    sentinel: Any = Sentinel
    client: redis.Redis = sentinel(addresses, sentinel_kwargs=asking).master_for(service, **options)
    return client
