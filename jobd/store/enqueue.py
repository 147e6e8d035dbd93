"""Sending of pushes to Redis.

Pre-packed commands on a pooled connection: one write, one read, about as fast as a single ``LPUSH``
of the client library. The pool makes new connections after a fork, and replaces those that the
server has closed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import hiredis
import redis

from jobd.errors import RefusedError, UnavailableError
from jobd.store.keys import Keys
from jobd.store.trouble import reason, where

_pack: Callable[[tuple[Any, ...]], bytes] = hiredis.pack_command

_NAMELESS: Any = (5, 3)
_FOR = ("LPUSH",) if redis.VERSION < _NAMELESS else ()
"""The command name that the library's ``get_connection`` requires before version 5.3; since then it
is deprecated."""


class Transport:
    """Stores payloads, in one round trip per call. Thread-safe."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._client = client
        self._keys = Keys(prefix)

    def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        """Register the queues and append the payloads to them, in their order."""
        packed = _pack(("SADD", self._keys.queues, *queues))
        for name, payloads in queues.items():
            packed += _pack(("LPUSH", self._keys.queue(name), *payloads))
        self._send(packed, 1 + len(queues))

    def schedule(self, due: list[tuple[float, bytes]]) -> None:
        """Add payloads to the schedule at their times (s)."""
        scored = itertools.chain.from_iterable((repr(at), raw) for at, raw in due)
        self._send(_pack(("ZADD", self._keys.schedule, *scored)), 1)

    def _send(self, packed: bytes, replies: int) -> None:
        """Send *packed* and read the replies, in one round trip.

        Retries once, and only if the connection could not be made or the server refused all writes
        (it was demoted), because then the first attempt stored nothing.

        Raises:
            UnavailableError: with the text of the client library's error. That error is its
                ``__context__``, but is not shown in the traceback, which it would only lengthen.
        """
        for last in (False, True):
            try:
                self._attempt(packed, replies)
                return
            except _NothingWrittenError as error:
                if last:
                    raise UnavailableError(
                        f"Redis at {where(self._client)} did not take the job: {error}"
                    ) from None
            except (redis.ConnectionError, redis.TimeoutError) as error:
                raise UnavailableError(
                    f"Redis at {where(self._client)} failed during a push, so the job may or may "
                    f"not have been stored: {reason(error)}"
                ) from None
            except redis.ResponseError as error:
                raise RefusedError(
                    f"Redis at {where(self._client)} refused the push: {reason(error)}"
                ) from None

    def _attempt(self, packed: bytes, replies: int) -> None:
        pool: Any = self._client.connection_pool
        try:
            connection = pool.get_connection(*_FOR)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise _NothingWrittenError(f"{reason(error)}{_advice(error)}") from error
        try:
            connection.send_packed_command([packed], check_health=False)
            answers = [_answer(connection) for _ in range(replies)]
        except BaseException:
            # Replies may be outstanding, also after a signal or a Shutdown.
            connection.disconnect()
            raise
        finally:
            pool.release(connection)
        refusals = [answer for answer in answers if isinstance(answer, redis.ResponseError)]
        if not refusals:
            return
        if len(refusals) == replies and all(map(_is_read_only, refusals)):
            pool.disconnect(inuse_connections=False)
            raise _NothingWrittenError(str(refusals[0])) from refusals[0]
        raise refusals[0]


def _advice(error: Exception) -> str:
    """Advice for a connection that could not be made."""
    if isinstance(error, redis.AuthenticationError | redis.exceptions.BusyLoadingError):
        return ""  # the server is running
    return (
        ". Is it running at this address? The address is that of configure() or Client(), or of "
        "$JOBD_REDIS or $REDIS_URL"
    )


def _answer(connection: Any) -> Any:
    """The next reply, or the error that the server replied with."""
    try:
        return connection.read_response(disable_decoding=True)
    except redis.ResponseError as error:
        return error


def _is_read_only(error: Exception) -> bool:
    return isinstance(error, redis.exceptions.ReadOnlyError)


class _NothingWrittenError(Exception):
    """An attempt failed without storing anything."""
