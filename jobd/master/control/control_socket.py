"""The control socket, through which jobctl talks to the master; served by the master's loop.

A client sends one request, a JSON object on one line, and gets lines back until the connection is
closed: ``accepted``, any number of ``progress`` and ``text``, and finally ``done`` or ``failed``.
So jobctl can wait for the result. During long requests it gets ``waiting`` every few seconds, with
what is being waited for: it can show that, and knows that the master is alive. The memory that a
client can use in the master is limited, and a client that does not read is dropped.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import stat
import struct
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from jobd.master.control import messages
from jobd.master.control.messages import Accepted, Answer, Busy, Done, Failed, Waiting
from jobd.text.printable import encode
from jobd.wire.json_value import UNREADABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUEST_BYTES = 64 * 1024
ANSWER_BYTES = 32 * 1024 * 1024  # the stacks of 64 workers with 100 threads are half of that
CLIENTS = 16
CONNECT = 3.0  # s
DEAF = 1.0  # s without new clients while there are no descriptors for them
REMIND_FIRST = 1.0  # s until a waiting client is told what it waits for, and between reminders
REMIND_EVERY = 5.0
IDLE = 5.0  # s within which a client must send its request, and resume reading

_SUN_PATH = 107
_CREDENTIALS = struct.Struct("3i")

Request: TypeAlias = messages.Known | messages.Unknown | messages.Malformed
OnRequest: TypeAlias = Callable[["Client", Request], None]


@contextmanager
def address(path: Path) -> Iterator[str]:
    """The address of the socket at *path*, for bind.

    The kernel allows 107 bytes; a longer path is reached through a descriptor of its directory.
    """
    if len(os.fsencode(path)) <= _SUN_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def peer(sock: socket.socket) -> tuple[int, int]:
    """PID and uid of the process at the other end."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, _gid = _CREDENTIALS.unpack(raw)
    return pid, uid


class NotTheirs(ConnectionRefusedError):
    """The socket file does not belong to the process *pid* of user *uid* that listens on it."""

    def __init__(self, path: Path, pid: int, uid: int) -> None:
        super().__init__(errno.ECONNREFUSED, f"{path} is not a socket of its listener")
        self.pid = pid
        self.uid = uid


def connect(path: Path) -> socket.socket:
    """A connection to the master behind *path*.

    A user who can write to the run directory could put a link there to the socket of another
    program, which would be mistaken for the master: so the file must be the listener's own.

    Raises:
        BlockingIOError: the listening process no longer accepts connections: the master hangs.
        NotTheirs: the socket file does not belong to the listening process.
        OSError: no process listens, or permission is denied.
    """
    file = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # Otherwise connect would block while the backlog of a hung master is full.
    sock.settimeout(CONNECT)
    try:
        found = os.fstat(file)
        if not stat.S_ISSOCK(found.st_mode):
            raise OSError(errno.ENOTSOCK, f"{path} is not a socket")
        sock.connect(f"/proc/self/fd/{file}")  # a path may be longer than the kernel allows
        pid, uid = peer(sock)
        if found.st_nlink != 1 or found.st_uid != uid:
            raise NotTheirs(path, pid, uid)
    except OSError:
        sock.close()
        raise
    finally:
        os.close(file)
    return sock


class Client:
    """One client connection."""

    def __init__(self, sock: socket.socket, now: float) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.pid, self.uid = peer(sock)
        self.asked = False
        self.closed = False
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._finished = False
        self._since = now  # when the client last made progress
        self._waits_for: Callable[[], Waiting] | None = None
        self._remind_at = 0.0
        self._look_at = 0.0
        self._told = ""

    @property
    def who(self) -> str:
        """The client's identity for the log."""
        return f"control socket, pid {self.pid} uid {self.uid}"

    def send(self, answer: Answer) -> None:
        """Queue a line; a client that is gone or does not read is dropped silently."""
        if self.closed or self._finished:
            return
        if not self._outgoing:
            self._since = time.monotonic()
        line = encode(answer) + b"\n"
        if len(self._outgoing) + len(line) > ANSWER_BYTES:
            line = encode(Failed("the answer is too long, or is not read")) + b"\n"
            self._finished = True
        self._outgoing += line
        self.flush()

    def accept(self, waits_for: Callable[[], Waiting], limit: float = 0.0) -> None:
        """Tell the client that its request has begun and may take long.

        Args:
            waits_for: called every few seconds; returns what the request waits for.
            limit: the most seconds until it ends, if known.
        """
        self._waits_for = waits_for
        self._remind_at = time.monotonic() + REMIND_FIRST
        self.send(Accepted(limit))

    def remind(self, now: float) -> None:
        """Send what the request waits for, if that is due or has changed."""
        if self._waits_for is None or now < min(self._look_at, self._remind_at):
            return
        self._look_at = now + REMIND_FIRST
        message = self._waits_for()
        if now < self._remind_at and (not self._told or message.text == self._told):
            return
        self._remind_at = now + REMIND_EVERY
        self._told = message.text
        self.send(message)

    def done(self, answer: Done | None = None) -> None:
        """Send the last line: the request succeeded."""
        self._last(answer or Done())

    def failed(self, error: str) -> None:
        """Send the last line: the request failed, and why."""
        self._last(Failed(error))

    def _last(self, answer: Answer) -> None:
        self.send(answer)
        self._finished = True
        if not self._outgoing:
            self.close()

    def flush(self) -> None:
        while self._outgoing and not self.closed:
            try:
                sent = self.sock.send(self._outgoing)
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            del self._outgoing[:sent]
            self._since = time.monotonic()
        if self._finished:
            self.close()

    @property
    def wants_write(self) -> bool:
        return bool(self._outgoing)

    def overdue(self, now: float) -> bool:
        """Whether the client has made no progress for too long."""
        return (not self.asked or self.wants_write) and now - self._since > IDLE

    def read(self) -> Request | None:
        """The request, once it is complete. Invalid requests are refused."""
        try:
            chunk = self.sock.recv(REQUEST_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            chunk = b""
        if not chunk:
            self.close()
            return None
        if self.asked:
            return None  # one request per connection; the rest is discarded
        self._incoming += chunk
        line, newline, _rest = self._incoming.partition(b"\n")
        if not newline:
            if len(self._incoming) >= REQUEST_BYTES:
                self.failed(f"the request is longer than {REQUEST_BYTES} bytes")
            return None
        self.asked = True
        self._incoming.clear()
        try:
            return messages.read(bytes(line))
        except UNREADABLE as error:
            self.failed(f"the request is not a JSON object: {error}")
            return None

    def close(self) -> None:
        """Mark it closed; the server removes it in its next turn."""
        self.closed = True


class ControlServer:
    """The listening socket and its clients.

    Args:
        path: where to create the socket. The caller holds the pidfile's lock, so an existing file
            is stale.
        selector: the master's.
        on_request: called with each complete request.

    Raises:
        OSError: the socket cannot be created.
    """

    def __init__(
        self,
        path: Path,
        selector: selectors.BaseSelector,
        on_request: OnRequest,
    ) -> None:
        self.path = path
        self._selector = selector
        self._on_request = on_request
        self._clients: set[Client] = set()
        self._deaf_until = 0.0
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            with address(path) as where:
                self._listener.bind(where)
        except OSError:
            self._listener.close()
            raise
        finally:
            os.umask(before)
        self._listener.listen(CLIENTS)
        self._listener.setblocking(False)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self, _events: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                # The connection stays in the backlog and would wake the loop again at once.
                self._selector.unregister(self._listener)
                self._deaf_until = time.monotonic() + DEAF
            return  # otherwise the client is gone again
        client = Client(sock, time.monotonic())
        if len(self._clients) >= CLIENTS:
            client.send(Busy(f"{CLIENTS} clients are connected already"))
            sock.close()
            return
        self._clients.add(client)
        self._selector.register(
            sock, selectors.EVENT_READ, lambda events: self._serve(client, events)
        )
        if client.uid not in (0, os.geteuid()):
            client.failed(f"uid {client.uid} may not control this daemon")

    def _serve(self, client: Client, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            client.flush()
        if events & selectors.EVENT_READ and not client.closed:
            request = client.read()
            if request is not None:
                self._on_request(client, request)

    def turn(self, now: float) -> None:
        """Once per turn of the loop: drop closed and overdue clients, watch for writability."""
        if self._deaf_until and now >= self._deaf_until:
            self._deaf_until = 0.0
            self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        for client in list(self._clients):
            if client.closed or client.overdue(now):
                self._drop(client)
                continue
            client.remind(now)
            events = selectors.EVENT_READ
            if client.wants_write:
                events |= selectors.EVENT_WRITE
            key = self._selector.get_key(client.sock)
            if key.events != events:
                self._selector.modify(client.sock, events, key.data)

    def _drop(self, client: Client) -> None:
        self._clients.discard(client)
        self._selector.unregister(client.sock)
        client.close()
        client.sock.close()

    def leave_behind(self) -> None:
        """In a forked child: close the descriptors, touch nothing else."""
        self._listener.close()
        for client in self._clients:
            client.sock.close()

    def close(self) -> None:
        """Remove the socket; the kernel still delivers unread answers to clients."""
        for client in list(self._clients):
            self._drop(client)
        if not self._deaf_until:
            self._selector.unregister(self._listener)
        self._listener.close()
        self.path.unlink(missing_ok=True)
