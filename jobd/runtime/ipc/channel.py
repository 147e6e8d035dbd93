"""The line between the master and one child: JSON messages over a socketpair.

Both ends are non-blocking. A message that does not fit into the socket's buffer waits in memory
until the peer reads; a peer that reads nothing for long enough to fill the bound is treated as
gone, so that a stopped child can never block the master. What a message says of jobs and errors
may be anything; it is made valid, and so short that the message fits.
"""

from __future__ import annotations

import socket
from typing import Any

import msgspec

from jobd.text.printable import encode

BACKLOG_BYTES = 8 * 1024 * 1024
_CHUNK = 65536
_READ_AT_MOST = 16  # chunks in one turn: a peer that never stops must not hold up the others

Message = dict[str, Any]


class ChannelClosed(Exception):
    """The peer has gone (or reads nothing any more)."""


class Nonsense(Exception):
    """The peer says what is no message: somebody else writes to its descriptor."""


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

    def receive(self) -> list[Message]:
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
        messages = [_decode(line) for line in lines]
        if closed and not messages:
            raise ChannelClosed("the other end has closed")
        return messages

    def close(self) -> None:
        self._sock.close()


def _decode(line: bytearray) -> Message:
    try:
        message = msgspec.json.decode(line, type=Message)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Nonsense(f"{bytes(line[:60])!r}: {error}") from None
    if type(message.get("type")) is not str:
        raise Nonsense(f"{bytes(line[:60])!r}: there is no type")
    return message


class ForkRequest(msgspec.Struct, frozen=True):
    """What the zygote is asked for. With it come the descriptors of the worker's end of the line,
    of its page and of its dump memory."""

    role: str
    index: int
    generation: int
    nonce: str
