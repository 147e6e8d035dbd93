"""Sending of pushes to Redis.

Pre-packed commands on a pooled connection: one write, one read, about as fast as a single ``LPUSH``
of the client library. The pool makes new connections after a fork, and replaces those that the
server has closed.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import redis

from jobd.errors import RefusedError, UnavailableError
from jobd.store.conflict import Conflict
from jobd.store.connection import Connection
from jobd.store.keys import Keys
from jobd.store.protocol import Reply
from jobd.store.protocol import pack_words as _pack
from jobd.store.trouble import reason, where
from jobd.wire.attachments import AttachedPush

if TYPE_CHECKING:
    from jobd.graphs.plan import Plan
    from jobd.store.batches import Added
    from jobd.store.scripts import Script
    from jobd.wire.batches import Portion

_FOR = ("LPUSH",) if redis.VERSION < (5, 3) else ()
"""The command name that the library's ``get_connection`` requires before version 5.3; since then it
is deprecated."""


class Transport:
    """Stores payloads, in one round trip per call. Thread-safe."""

    def __init__(self, client: redis.Redis, prefix: str) -> None:
        self._client = client
        self._keys = Keys(prefix)

    def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        """Register the queues and append the payloads to them, in their order."""
        self._send(packed_pushes(self._keys, queues), 1 + len(queues))

    def schedule(self, due: list[tuple[float, bytes]]) -> None:
        """Add payloads to the schedule at their times (s)."""
        self._send(packed_schedule(self._keys, due), 1)

    def push(self, jobs: Sequence[AttachedPush], now: float) -> list[Conflict | None]:
        """Store jobs with attachments; for each, the job that has kept it out."""
        from jobd.store import attached  # not needed by applications without any

        return attached.conflicts(self._call(*attached.packed(self._keys, jobs, now)))

    def add(self, portion: Portion, now: float) -> Added:
        """Add to a batch. If the answer is lost, it is said once more: the script knows what it has
        added."""
        from jobd.store import batches  # not needed by applications without any

        call = batches.packed(self._keys, portion, now)
        try:
            return batches.added(self._call(*call))
        except RefusedError:
            raise
        except UnavailableError:
            return batches.added(self._call(*call))

    def start(self, plan: Plan) -> None:
        """Store a workflow and push its first steps, unless there is one with its id."""
        from jobd.store.workflows import Storing, advancing

        storing = Storing(self._keys, plan)
        for packed, replies in storing.portions:
            self._send(packed, replies)
        _, more = self._call(storing.script, storing.call)
        while more:
            [more, _] = self._call(*advancing(self._keys, plan.id))

    def holder(self, key: str) -> str | None:
        """The id of the job that holds the lock *key*."""
        [jid] = self._send(_pack(("HGET", self._keys.lock(key), "jid")), 1)
        return jid.decode() if isinstance(jid, bytes) else None

    def _call(self, script: Script, packed: bytes) -> Reply:
        try:
            [told] = self._send(packed, 1)
        except RefusedError as error:
            if not is_missing_script(error):
                raise
            # Nothing was executed.
            self._send(script.load(), 1)
            [told] = self._send(packed, 1)
        return told

    def _send(self, packed: bytes, replies: int) -> list[object]:
        """Send *packed* and read the replies, in one round trip.

        Retries once, and only if the connection could not be made or the server refused all writes
        (it was demoted), because then the first attempt stored nothing.

        Raises:
            UnavailableError: with the text of the client library's error. That error is its
                ``__context__``, but is not shown in the traceback, which it would only lengthen.
        """
        for last in (False, True):
            try:
                return self._attempt(packed, replies)
            except NothingWrittenError as error:
                if last:
                    raise explained(self._client, error) from None
            except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError) as error:
                raise explained(self._client, error) from None
        raise AssertionError  # the last attempt returns or raises

    def _attempt(self, packed: bytes, replies: int) -> list[object]:
        pool: Any = self._client.connection_pool
        try:
            connection = pool.get_connection(*_FOR)
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise not_connected(error) from error
        try:
            connection.send_packed_command([packed], check_health=False)
            answers = [_answer(connection) for _ in range(replies)]
        except BaseException:
            # Replies may be outstanding, also after a signal or a Shutdown.
            connection.disconnect()
            raise
        finally:
            pool.release(connection)
        try:
            check(answers)
        except NothingWrittenError:
            pool.disconnect(inuse_connections=False)
            raise
        return answers


def packed_pushes(keys: Keys, queues: Mapping[str, list[bytes]]) -> bytes:
    """Commands that register the queues and append the payloads to them."""
    packed = _pack(("SADD", keys.queues, *queues))
    for name, payloads in queues.items():
        packed += _pack(("LPUSH", keys.queue(name), *payloads))
    return packed


def packed_schedule(keys: Keys, due: list[tuple[float, bytes]]) -> bytes:
    """A command that adds the payloads to the schedule."""
    scored = itertools.chain.from_iterable((repr(at), raw) for at, raw in due)
    return _pack(("ZADD", keys.schedule, *scored))


def is_missing_script(error: RefusedError) -> bool:
    """Whether a call was refused because the server does not have the script."""
    return isinstance(error.__context__, redis.exceptions.NoScriptError)


def check(answers: list[object]) -> None:
    """Look at the replies to a push.

    Raises:
        NothingWrittenError: the server takes no writes at all.
        redis.ResponseError: it has refused something else.
    """
    refusals = [answer for answer in answers if isinstance(answer, redis.ResponseError)]
    if not refusals:
        return
    if len(refusals) == len(answers) and all(map(_is_read_only, refusals)):
        raise NothingWrittenError(str(refusals[0])) from refusals[0]
    raise refusals[0]


def explained(client: redis.Redis, error: Exception) -> UnavailableError:
    """The exception to raise for a push to the server of *client* that has failed."""
    place = f"Redis at {where(client)}"
    if isinstance(error, NothingWrittenError):
        return UnavailableError(f"{place} did not take the job: {error}")
    if isinstance(error, redis.ResponseError):
        return RefusedError(f"{place} refused the push: {reason(error)}")
    return UnavailableError(
        f"{place} failed during a push, so the job may or may not have been stored: {reason(error)}"
    )


def not_connected(error: Exception) -> NothingWrittenError:
    """The error of an attempt that could not connect."""
    return NothingWrittenError(f"{reason(error)}{_advice(error)}")


def _advice(error: Exception) -> str:
    """Advice for a connection that could not be made."""
    if isinstance(error, redis.AuthenticationError | redis.exceptions.BusyLoadingError):
        return ""  # the server is running
    return (
        ". Is it running at this address? The address is that of configure() or Client(), or of "
        "$JOBD_REDIS or $REDIS_URL"
    )


def _answer(connection: Connection) -> object:
    """The next reply, or the error that the server replied with."""
    try:
        return connection.read_response(disable_decoding=True)
    except redis.ResponseError as error:
        return error


def _is_read_only(error: Exception) -> bool:
    return isinstance(error, redis.exceptions.ReadOnlyError)


class NothingWrittenError(Exception):
    """An attempt failed without storing anything."""
