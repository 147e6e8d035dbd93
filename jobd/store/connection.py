"""Redis clients, made from a URL (see :mod:`jobd.settings.redis_url`).

A client never retries a command. The client library would by default (up to eleven times, scripts
included), and only the caller knows whether that is safe. To avoid errors on stale connections, an
idle connection is checked before it is used: a firewall may have dropped it silently.
"""

from __future__ import annotations

import inspect
import os
import socket
import threading
import time
from typing import Any, Protocol

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import SentinelConnectionPool

from jobd.errors import ArgumentError, ConfigError
from jobd.settings import redis_url
from jobd.settings.schema import Invalid
from jobd.store.sentinel import Sentinels

TIMEOUT = 5.0
"""Seconds that a command may take before its connection is closed."""

IDLE = 4.0
"""Idle seconds after which a connection is checked before it is used. Shorter than the pauses of
the background loops, so that their connections are never silent for longer than these."""

PROOF = 0.5
"""Seconds that the check may take."""

_KEEPALIVE = {socket.TCP_KEEPIDLE: 30, socket.TCP_KEEPINTVL: 10, socket.TCP_KEEPCNT: 3}
"""TCP keepalive after 30 seconds of idleness, which also keeps firewalls from dropping the
connection."""


class Connection(Protocol):
    """The part of the client library's connections that is used; the library types little of it."""

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def on_connect(self) -> None: ...
    def send_command(self, name: str, *, check_health: bool) -> None: ...
    def send_packed_command(self, command: list[bytes], check_health: bool) -> None: ...
    def can_read(self, timeout: float) -> bool: ...
    def read_response(self, disable_decoding: bool = ...) -> object: ...


def connect(url: str, *, timeout: float = TIMEOUT) -> redis.Redis:
    """A client with a connection pool; it connects at its first command.

    Args:
        url: see :mod:`jobd.settings.redis_url`.
        timeout: seconds for connecting, and for each command, unless *url* sets them.

    Raises:
        ConfigError: *url* is invalid, or has an option that jobd does not support.

    Example:
        >>> connect("redis://127.0.0.1:6379/0").get_connection_kwargs()["protocol"]
        2
    """
    try:
        place = redis_url.read(url)
    except Invalid as error:
        raise ConfigError(f"the URL of Redis, {redis_url.redact(url)}, {error}") from None
    options: dict[str, Any] = {
        # The same reply format with every version of the client, and no HELLO to old servers.
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        # Every thread gets a connection of its own; none has to wait for one.
        "max_connections": 2**31,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        **_anonymous(),
        **place.options,
    }
    if place.scheme == "unix":
        options |= {"connection_class": redis.UnixDomainSocketConnection, "path": place.path}
        return _client(_Pool(**options))
    options = {"socket_keepalive": True, "socket_keepalive_options": _KEEPALIVE, **options}
    if place.scheme == redis_url.SENTINEL:
        return _by_sentinel(place, options)
    if place.scheme == "rediss":
        options |= {"connection_class": redis.SSLConnection, "redis_connect_func": _greet}
    (host, port), *_ = place.hosts
    return _client(_Pool(host=host, port=port, **options))


class _Proving(redis.ConnectionPool):
    """A pool that checks connections that were idle for long, and replaces them if necessary."""

    def __init__(self, *args: Any, health_check_interval: float = IDLE, **options: Any) -> None:
        self.idle_limit = float(health_check_interval)
        super().__init__(*args, **options)

    def reset(self) -> None:
        # The library resets the pool at its first use in a forked process, under a lock that
        # another thread of the worker may have held at the fork.
        if getattr(self, "pid", None) != os.getpid():
            self._lock = threading.RLock()
        super().reset()

    def get_connection(self, *args: object, **options: object) -> redis.Connection:
        connection: redis.Connection = super().get_connection(*args, **options)
        idle_since = getattr(connection, "idle_since", None)
        if idle_since is not None and 0 < self.idle_limit < time.monotonic() - idle_since:
            try:
                _prove(connection)
            except BaseException:
                self.release(connection)
                raise
        return connection

    def release(self, connection: Any) -> None:
        connection.idle_since = time.monotonic()
        super().release(connection)


class _Pool(_Proving):
    pass


class _SentinelPool(_Proving, SentinelConnectionPool):
    pass


def _prove(connection: Connection) -> None:
    """Check *connection* with PING; reconnect if there is no reply in time."""
    try:
        connection.send_command("PING", check_health=False)
        if connection.can_read(PROOF):
            connection.read_response()
            return
    except redis.ResponseError:
        return  # an error is a reply, too: the user has no permission for PING
    except (redis.ConnectionError, redis.TimeoutError):
        pass
    connection.disconnect()
    connection.connect()


def _client(pool: redis.ConnectionPool) -> redis.Redis:
    made: redis.Redis = redis.Redis.from_pool(pool)
    return made


def _greet(connection: Connection) -> None:
    """Initialize a new TLS connection, and read one reply.

    After the handshake the server sends session tickets, which are only read with the first reply.
    Without this, the pool would see unexpected bytes and drop the connection.
    """
    connection.on_connect()
    connection.send_command("PING", check_health=False)
    try:
        connection.read_response()
    except redis.ResponseError:
        pass  # an error is a reply, too


def _anonymous() -> dict[str, None]:
    """Options that turn off CLIENT SETINFO, which old servers count as an error."""
    known = inspect.signature(redis.connection.AbstractConnection.__init__).parameters
    if "driver_info" in known:
        return {"driver_info": None}
    return {"lib_name": None, "lib_version": None}


def _by_sentinel(place: redis_url.Address, options: dict[str, Any]) -> redis.Redis:
    """A client that asks the Sentinels for the server's address whenever it connects."""
    login = {
        "username": options.pop("sentinel_username", None),
        "password": options.pop("sentinel_password", None),
    }
    asking = {**options, **login, "db": 0}
    pools = [_Pool(host=host, port=port, **asking) for host, port in place.hosts]
    sentinels: Any = Sentinels([_client(pool) for pool in pools])
    client: redis.Redis = sentinels.master_for(
        place.service, connection_pool_class=_SentinelPool, **options
    )
    return client


def require_bytes(client: redis.Redis, what: str) -> None:
    """Refuse a given client that decodes replies. Pushes do without: they read their own.

    Raises:
        ArgumentError: it does; *what* needs one that does not.
    """
    if client.get_connection_kwargs().get("decode_responses"):
        raise ArgumentError(
            f"{what} needs a client of Redis without decode_responses: jobs are bytes, and not all "
            "of them are text"
        )
