"""A wire: one pinned connection to Redis, on which the fetcher sends packed commands.

The client library connects, authenticates and finds the master; then its socket is read here, with
the library's own parser in C. Between a push and the start of its job two replies must be read, and
the library's general way to a reply is longer than that of the job.
"""

from __future__ import annotations

import mmap
import select
import time
from typing import Any

import hiredis
import redis

from jobd.runtime.process import forks
from jobd.store.connection import IDLE, PROOF
from jobd.store.protocol import Argument, pack
from jobd.store.scripts import Script

_READ = 1 << 20
"""Bytes that one read of the socket takes at most. Between two reads other threads run, for some
milliseconds each if they compute: the reply to a claim must not take many."""

REST = 1.0
"""Seconds without use after which the server may have closed it: that is the least that its
``timeout`` can be."""

_INCOMPLETE = object()

_PING = pack("PING")

Reply = Any


class Closed(redis.ConnectionError):
    """The server has ended the connection, and every byte that it had sent has been read."""


class Wire:
    """One pinned connection that carries packed commands and reads their replies in order.

    It belongs to one thread. After any :class:`redis.ConnectionError` or
    :class:`redis.TimeoutError` it is closed, and what was sent may or may not have been done.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._pool = client.connection_pool
        self._connection: Any = None
        self._socket: Any = None
        self._reader: Any = None
        self._idle_limit = getattr(self._pool, "idle_limit", IDLE)
        self._used = 0.0
        forks.on_copy(self._abandon)
        # A bytearray would be written with zeros: a megabyte for each queue that is waited for. Of
        # this, what no read has reached is not there.
        self._buffer = mmap.mmap(-1, _READ, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def connect(self, scripts: tuple[Script, ...] = ()) -> None:
        """Open it, and make *scripts* known to the server.

        Raises:
            redis.RedisError: the server refused, or did not answer.
        """
        self.close()
        connection: Any = self._pool.make_connection()
        connection.connect()
        self._connection = connection
        self._socket = connection._sock
        self._reader = hiredis.Reader(
            protocolError=redis.InvalidResponse,
            # Says which refusals have a class of their own, e.g. LOADING and READONLY.
            replyError=connection._parser.parse_error,
            notEnoughData=_INCOMPLETE,
        )
        self._used = time.monotonic()
        if scripts:
            self.send(b"".join(script.load() for script in scripts))
            for _ in scripts:
                self.read()

    def close(self) -> None:
        """Close it; harmless when it is closed."""
        if self._connection is not None:
            self._connection.disconnect()
            self._connection = self._socket = self._reader = None

    def _abandon(self) -> None:
        # The server would think that the worker waits for jobs for as long as its copy lives.
        if self._socket is not None:
            self._socket.close()

    def fileno(self) -> int:
        """For a selector: readable when a reply has arrived, or the server has closed."""
        number: int = self._socket.fileno()
        return number

    def readable(self, seconds: float) -> bool:
        """Whether a reply, or the end of the connection, arrives within *seconds*.

        Raises:
            redis.ConnectionError: it is closed here already.
        """
        self._check()
        if self._reader.has_data():
            return True
        # What TLS has decrypted already, the kernel does not know of.
        if (pending := getattr(self._socket, "pending", None)) and pending():
            return True
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        return bool(poller.poll(seconds * 1000))

    def alive(self) -> bool:
        """Whether the server is still there; to be asked when every reply has been read.

        It is taken for granted of one that was used a moment ago. After a rest the server may have
        closed it, and after a long one (see :data:`jobd.store.connection.IDLE`) a firewall may have
        forgotten it: then a PING must have its answer in time.
        """
        if self._connection is None:
            return False
        rested = time.monotonic() - self._used
        if rested < REST:
            return True
        try:
            if self.readable(0.0):  # the end, for nothing else was to come
                return False
            if not 0 < self._idle_limit < rested:
                return True
            self.send(_PING)
            if not self.readable(PROOF):
                return False
            self.read()
        except redis.ResponseError:
            pass  # a user without the right to PING has got an answer as well
        except redis.RedisError:
            return False
        return True

    def send(self, packed: bytes) -> None:
        """Write packed commands; they may be many.

        Raises:
            redis.ConnectionError, redis.TimeoutError: the connection is lost, and now closed.
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
            redis.ResponseError: the server refused that command.
            redis.ConnectionError, redis.TimeoutError: the connection is lost, and now closed.
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
