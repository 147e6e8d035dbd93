"""The line between the master and one child: JSON messages over a socketpair.

Both ends are non-blocking. A message that does not fit into the socket's buffer waits in memory
until the peer reads; a peer that reads nothing for long enough to fill the bound is treated as
gone, so that a stopped child can never block the master. What a message says of jobs and errors
may be anything; it is made valid, and so short that the message fits.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from jobd.runtime.ipc import messages
from jobd.runtime.ipc.messages import FromChild, FromMaster, Message, Nonsense, Unknown
from jobd.text.printable import encode

BACKLOG_BYTES = 8 * 1024 * 1024
_CHUNK = 65536
_READ_AT_MOST = 16  # chunks in one turn: a peer that never stops must not hold up the others

Out = TypeVar("Out", bound=Message)
In = TypeVar("In", bound=Message)


class ChannelClosed(Exception):
    """The peer has gone (or reads nothing any more)."""


class Channel(Generic[Out, In]):
    """One end of the line: see :func:`pair` and :func:`child_end`.

    Args:
        read: what a line that has arrived says.
    """

    def __init__(self, sock: socket.socket, read: Callable[[bytearray], In | Unknown]) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._read = read
        self._incoming = bytearray()
        self._outgoing = bytearray()

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether bytes wait for the socket to become writable (then call :meth:`flush`)."""
        return bool(self._outgoing)

    def send(self, message: Out) -> None:
        """Queue *message* and send what fits now.

        Raises:
            ChannelClosed: the peer has gone.
        """
        if len(self._outgoing) > BACKLOG_BYTES:
            raise ChannelClosed("the other end reads nothing")
        self._outgoing += encode(message, BACKLOG_BYTES) + b"\n"
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes; raises ChannelClosed as :meth:`send` does."""
        while self._outgoing:
            try:
                sent = self._sock.send(self._outgoing)
            except BlockingIOError:
                return
            except OSError as error:
                raise ChannelClosed(str(error)) from None
            del self._outgoing[:sent]

    def receive(self) -> list[In | Unknown]:
        """The complete messages that have arrived; an empty list when there are none.

        Raises:
            ChannelClosed: the peer has closed its end and every message has been returned.
            Nonsense: what has arrived is no message.
        """
        closed = False
        for _ in range(_READ_AT_MOST):
            try:
                chunk = self._sock.recv(_CHUNK)
            except BlockingIOError:
                break
            except OSError:
                closed = True
                break
            if not chunk:
                closed = True
                break
            self._incoming += chunk
        *lines, rest = self._incoming.split(b"\n")
        self._incoming = bytearray(rest)
        if len(rest) > 2 * BACKLOG_BYTES:
            raise Nonsense("a message without an end")
        received = [self._read(line) for line in lines]
        if closed and not received:
            raise ChannelClosed("the other end has closed")
        return received

    def close(self) -> None:
        self._sock.close()


MasterEnd: TypeAlias = Channel[FromMaster, FromChild]
ChildEnd: TypeAlias = Channel[FromChild, FromMaster]


def pair() -> tuple[MasterEnd, ChildEnd]:
    """Two connected ends, the master's and the child's, to be made before the fork.

    >>> ours, theirs = pair()
    >>> ours.send(messages.Stop(deadline=5.0))
    >>> theirs.receive()
    [Stop(deadline=5.0)]
    >>> ours.close(), theirs.close()
    (None, None)
    """
    ours, theirs = socket.socketpair()
    return Channel(ours, messages.from_child), child_end(theirs)


def child_end(sock: socket.socket) -> ChildEnd:
    """The end of a child to which the socket of it was handed."""
    return Channel(sock, messages.from_master)
