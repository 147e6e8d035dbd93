"""A dedicated connection to Redis for the fetcher's packed commands.

The client library connects, authenticates and finds the master; its socket is then read directly,
with the library's C parser. Two replies must be read between a push and the start of its job, and
the library's generic code path would take longer than the job itself.
"""

from __future__ import annotations

import mmap
import select
import time
from typing import Any

import hiredis
import redis

from jobd.runtime.process import forks
from jobd.runtime.process.wakeup import Bell
from jobd.store.connection import IDLE, PROOF
from jobd.store.protocol import Argument, Reply, pack
from jobd.store.scripts import Script

_READ = 1 << 20
"""Maximum bytes per read of the socket. Other threads run between two reads, for some milliseconds
each if they are busy, so the reply to a claim must not take many reads."""

REST = 1.0
"""Idle seconds after which the server may have closed the connection: the minimum of its
``timeout``."""

_INCOMPLETE = object()

_PING = pack("PING")


class Closed(redis.ConnectionError):
    """The server closed the connection, and everything that it had sent was read."""


class Wire:
    """A dedicated connection that sends packed commands and reads their replies in order.

    Not thread-safe. After a :class:`redis.ConnectionError` or :class:`redis.TimeoutError` it is
    closed, and the commands sent may or may not have been executed.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._pool = client.connection_pool
        self._connection: Any = None
        self._socket: Any = None
        self._reader: Any = None
        self._idle_limit = getattr(self._pool, "idle_limit", IDLE)
        self._used = 0.0
        forks.on_copy(self._abandon)
        # Unlike a bytearray, which is filled with zeros, this takes memory only where it is used:
        # there is one buffer of a megabyte for each queue that is waited for.
        self._buffer = mmap.mmap(-1, _READ, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def connect(self, scripts: tuple[Script, ...] = ()) -> None:
        """Connect, and load *scripts* into the server.

        Raises:
            redis.RedisError: the server refused, or did not reply.
        """
        self.close()
        connection: Any = self._pool.make_connection()
        connection.connect()
        self._connection = connection
        self._socket = connection._sock
        self._reader = hiredis.Reader(
            protocolError=redis.InvalidResponse,
            # Maps errors to their classes, e.g. LOADING and READONLY.
            replyError=connection._parser.parse_error,
            notEnoughData=_INCOMPLETE,
        )
        self._used = time.monotonic()
        if scripts:
            self.send(b"".join(script.load() for script in scripts))
            for _ in scripts:
                self.read()

    def close(self) -> None:
        """Close the connection, if it is open."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = self._socket = self._reader = None

    def _abandon(self) -> None:
        # Otherwise the worker would look connected for as long as its forked copy lives.
        if self._socket is not None:
            self._socket.close()

    def fileno(self) -> int:
        """For a selector: readable when a reply has arrived, or the server has closed."""
        number: int = self._socket.fileno()
        return number

    def readable(self, seconds: float, bell: Bell | None = None) -> bool:
        """Whether a reply, or the end of the connection, arrives within *seconds*.

        Args:
            bell: ends the wait, too.

        Raises:
            redis.ConnectionError: the connection has been closed on this side.
        """
        self._check()
        if self._reader.has_data():
            return True
        # The kernel does not know of data that TLS has already decrypted.
        if (pending := getattr(self._socket, "pending", None)) and pending():
            return True
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        if bell is not None:
            poller.register(bell, select.POLLIN)
        mine = self.fileno()
        return any(number == mine for number, _ in poller.poll(seconds * 1000))

    def alive(self, *, prove: bool = True) -> bool:
        """Whether the connection is still usable; only to be called when all replies were read.

        Args:
            prove: check it with PING if it has rested for long; not needed if nothing will be sent.

        A connection used a moment ago is assumed to be. After a pause the server may have closed
        it, and after a long one (see :data:`jobd.store.connection.IDLE`) a firewall may have
        dropped it: then it is checked with PING.
        """
        if self._connection is None:
            return False
        rested = time.monotonic() - self._used
        if rested < REST:
            return True
        try:
            if self.readable(0.0):  # closed by the server: no reply is outstanding
                return False
            if not (prove and 0 < self._idle_limit < rested):
                return True
            self.send(_PING)
            if not self.readable(PROOF):
                return False
            self.read()
        except redis.ResponseError:
            pass  # an error is a reply, too: the user has no permission for PING
        except redis.RedisError:
            return False
        return True

    def send(self, packed: bytes) -> None:
        """Send one or more packed commands.

        Raises:
            redis.ConnectionError, redis.TimeoutError: the connection was lost, and is closed now.
        """
        self._check()
        try:
            self._connection.send_packed_command([packed], check_health=False)
        except redis.RedisError:
            self.close()
            raise

    def read(self) -> Reply:
        """The next reply.

        Raises:
            redis.ResponseError: the server refused the command.
            redis.ConnectionError, redis.TimeoutError: the connection was lost, and is closed now.
        """
        self._check()
        reply = self._reader.gets()
        while reply is _INCOMPLETE:
            self._receive()
            reply = self._reader.gets()
        if isinstance(reply, redis.ConnectionError):  # e.g. LOADING
            self.close()
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _receive(self) -> None:
        try:
            received = self._socket.recv_into(self._buffer)
        except TimeoutError:
            self.close()
            raise redis.TimeoutError("Redis does not answer") from None
        except OSError as error:
            self.close()
            raise redis.ConnectionError(f"cannot read from Redis: {error}") from error
        if not received:
            cut_off = self._reader.has_data()  # in the middle of a reply
            self.close()
            kind = redis.ConnectionError if cut_off else Closed
            raise kind("Redis closed the connection")
        self._used = time.monotonic()
        self._reader.feed(self._buffer, 0, received)

    def _check(self) -> None:
        if self._connection is None:
            raise redis.ConnectionError("the connection is closed")

    def ask(self, *command: Argument) -> Reply:
        """Send one command and read its reply."""
        self.send(pack(*command))
        return self.read()
