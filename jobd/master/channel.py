"""The line between the master and one child: JSON messages over a socketpair.

Both ends are non-blocking. A message that does not fit into the socket's buffer waits in memory
until the peer reads; a peer that reads nothing for long enough to fill the bound is treated as
gone, so that a stopped child can never block the master.
"""

from __future__ import annotations

import socket
from typing import Any

import msgspec

BACKLOG_BYTES = 8 * 1024 * 1024
_CHUNK = 65536

Message = dict[str, Any]


class ChannelClosed(Exception):
    """The peer has gone (or reads nothing any more)."""


class Channel:
    """One end of the line.

    Example:
        >>> a, b = Channel.pair()
        >>> a.send({"type": "quiet"})
        >>> b.receive()
        [{'type': 'quiet'}]
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._incoming = bytearray()
        self._outgoing = bytearray()

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Two connected ends, to be made before the fork."""
        ours, theirs = socket.socketpair()
        return cls(ours), cls(theirs)

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def wants_write(self) -> bool:
        """Whether bytes wait for the socket to become writable (then call :meth:`flush`)."""
        return bool(self._outgoing)

    def send(self, message: Message) -> None:
        """Queue *message* and send what fits now.

        Raises:
            ChannelClosed: the peer has gone.
        """
        self._outgoing += msgspec.json.encode(message) + b"\n"
        self.flush()
        if len(self._outgoing) > BACKLOG_BYTES:
            raise ChannelClosed("the other end reads nothing")

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

    def receive(self) -> list[Message]:
        """All complete messages that have arrived; an empty list when there are none.

        Raises:
            ChannelClosed: the peer has closed its end and every message has been returned.
        """
        closed = False
        while True:
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
        messages = [msgspec.json.decode(line, type=Message) for line in lines]
        if closed and not messages:
            raise ChannelClosed("the other end has closed")
        return messages

    def close(self) -> None:
        self._sock.close()
