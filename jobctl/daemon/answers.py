"""Answers of a master, read with limits of time and size, and validated.

The listener at the socket may be a daemon of root or of the service user, or a job that has taken
the master's place: it must not be able to block root's jobctl, fill its memory, or make it fail
with a traceback.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Iterator

import msgspec

from jobctl.codes import Code, Problem, Silence
from jobd.master.control.control_socket import ANSWER_BYTES
from jobd.master.control.messages import LONGEST_STOP, Request
from jobd.wire.json_value import UNREADABLE

FIRST_ANSWER = 3.0
"""Seconds within which a healthy master accepts a request."""

LAST_ANSWER = 30.0
"""Seconds within which it completes a short request (it waits up to 5 for its children), or reports
what it is waiting for, which it does every 5."""

LONGEST = LONGEST_STOP
"""Maximum seconds for any request (a stop, a reload)."""

_GONE = (errno.ECONNRESET, errno.EPIPE)


class NoAnswer(Exception):
    """The control socket is missing or does not respond."""


class Reply(msgspec.Struct, frozen=True):
    """An answer of any type, with the fields that jobctl uses. A daemon of another version may send
    more or fewer fields."""

    type: str
    error: str = ""
    text: str = ""
    limit: float = 0.0
    seconds: float = 0.0
    code: int = 0
    returned: int = 0
    generation: int = 0
    pid: int = 0
    before: int = 0
    leaving: dict[str, int] = {}
    raw: list[str] = []
    postponed: bool = False
    status: dict[str, object] = {}


class Answers(Iterator[Reply]):
    """The answers to *request* until the master closes the connection.

    Args:
        sock: a connected socket.
        why: called if there is no answer, for what is known about the master.
        limit: seconds until the last answer. The first is due within :data:`FIRST_ANSWER`, each
            other one within :data:`LAST_ANSWER` of the one before.

    Attributes:
        awaited: what the master has reported to be waiting for.

    Iterating raises:
        NoAnswer: the first answer does not arrive in time, or the master is busy.
        Silence: a later answer does not arrive in time.
        Problem: an answer is malformed.
    """

    def __init__(
        self,
        sock: socket.socket,
        request: Request,
        limit: float,
        why: Callable[[], str] = str,
    ) -> None:
        self._why = why
        self._sock = sock
        self._command = request.command
        self.awaited = ""
        self._began = time.monotonic()
        self._end = self._began + limit
        self._give_up = self._began + FIRST_ANSWER
        self._taken = False
        self._received = 0
        self._buffer = bytearray()
        self._send(msgspec.json.encode(request) + b"\n")

    def end_within(self, seconds: float) -> None:
        """Shorten the limit for the last answer to *seconds* from now."""
        self._end = min(self._end, time.monotonic() + seconds)
        self._give_up = min(self._give_up, self._end)

    def __next__(self) -> Reply:
        line = self._line()
        try:
            answer = msgspec.json.decode(line, type=Reply)
        except UNREADABLE:
            raise self._malformed() from None
        self._taken = True
        self._give_up = min(time.monotonic() + LAST_ANSWER, self._end)
        if answer.type == "busy":
            raise NoAnswer(answer.error)
        if answer.type == "waiting":
            self.awaited = answer.text
        return answer

    def close(self) -> None:
        self._sock.close()

    def _send(self, request: bytes) -> None:
        self._sock.settimeout(FIRST_ANSWER)
        try:
            self._sock.sendall(request)
        except TimeoutError:
            raise self._mute() from None
        except OSError as error:
            # It may have closed the connection, and sent the reason before.
            if error.errno not in _GONE:
                raise

    def _line(self) -> bytes:
        end = self._buffer.find(b"\n")
        while end < 0:
            chunk = self._receive()
            if not chunk:  # the master has closed it, or died in the middle of a line
                self.close()
                raise StopIteration
            self._received += len(chunk)
            if self._received > 2 * ANSWER_BYTES:
                raise self._malformed()
            before = len(self._buffer)
            self._buffer += chunk
            end = self._buffer.find(b"\n", before)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _receive(self) -> bytes:
        left = self._give_up - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self._sock.settimeout(left)
            return self._sock.recv(1 << 20)
        except TimeoutError:
            if not self._taken:
                raise self._mute() from None
            raise self._silence() from None
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return b""

    def _mute(self) -> NoAnswer:
        why = self._why()
        return NoAnswer(f"the master does not answer{f': {why}' if why else ''}")

    def _silence(self) -> Silence:
        now = time.monotonic()
        waited, over = f"{now - self._began:.0f} s", now >= self._end
        if over and self.awaited:
            text = f"not done within {waited}; it continues, and is waiting for {self.awaited}"
        else:
            text = f"the master has accepted it, but has not reported a result within {waited}"
        return Silence(f"{self._command}: {text}", over=over)

    def _malformed(self) -> Problem:
        return Problem(
            Code.FAILED, f"{self._command}: the answer is malformed; is the listener a jobd?"
        )
