"""The channel between the master and a child: JSON messages over a socketpair.

Both ends are non-blocking. A message that does not fit into the socket's buffer is queued in memory
until the peer reads; if the queue reaches its limit, the peer is treated as gone, so that a stopped
child can never block the master. Text about jobs and errors is sanitized, and truncated to fit.
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
_READ_AT_MOST = 16  # chunks per turn, so that a busy peer does not delay the others

Out = TypeVar("Out", bound=Message)
In = TypeVar("In", bound=Message)


class ChannelClosed(Exception):
    """The peer is gone, or no longer reads."""


class Channel(Generic[Out, In]):
    """One end of the channel: see :func:`pair` and :func:`child_end`.

    Args:
        read: decodes a received line.
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
            ChannelClosed: the peer is gone.
        """
        if len(self._outgoing) > BACKLOG_BYTES:
            raise ChannelClosed("the other end does not read")
        self._outgoing += encode(message, BACKLOG_BYTES) + b"\n"
        self.flush()

    def flush(self) -> None:
        """Send what the socket accepts; raises ChannelClosed like :meth:`send`."""
        while self._outgoing:
            try:
                sent = self._sock.send(self._outgoing)
            except BlockingIOError:
                return
            except OSError as error:
                raise ChannelClosed(str(error)) from None
            del self._outgoing[:sent]

    def receive(self) -> list[In | Unknown]:
        """The complete messages that have arrived; an empty list if there are none.

        Raises:
            ChannelClosed: the peer has closed its end and all messages have been returned.
            Nonsense: an invalid message has arrived.
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
            raise ChannelClosed("the other end was closed")
        return received

    def close(self) -> None:
        self._sock.close()


MasterEnd: TypeAlias = Channel[FromMaster, FromChild]
ChildEnd: TypeAlias = Channel[FromChild, FromMaster]


def pair() -> tuple[MasterEnd, ChildEnd]:
    """Two connected ends, the master's and the child's, to be created before the fork.

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
    """The child's end, for a child that has received the socket."""
    return Channel(sock, messages.from_master)
