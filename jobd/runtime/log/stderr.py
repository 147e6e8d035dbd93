"""Standard error with somebody at its other end who may have stopped reading.

A pipe that is full, a terminal that is held by Ctrl-S, a journal that hangs: a plain ``write()``
would wait for them for ever, and the master would supervise nobody meanwhile. ``O_NONBLOCK`` is no
way out, for it belongs to the open file, which is shared with whoever started us. So each kind gets
its own way to be written without waiting: a pipe and a terminal are opened once more by /proc, a
socket takes the wish with every call.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import time
from collections.abc import Callable

PATIENCE = 1.0
"""Seconds that a reader gets; one that has not used them gets none until it reads again."""

STDERR = 2


class Outlet:
    """The way to write to *fd* whatever stands behind it, also when that changes."""

    def __init__(self, fd: int = STDERR) -> None:
        self.fd = fd
        self._behind: tuple[int, int] | None = None
        self._release: Callable[[], None] = lambda: None
        self._put: Callable[[bytes], int] = self._plainly
        self._stuck = False

    def write(self, block: bytes) -> int:
        """Write *block*, or as much of its beginning as goes in time; returns how much went.

        Raises:
            OSError: nothing went.
        """
        found = os.fstat(self.fd)
        if (found.st_dev, found.st_ino) != self._behind:
            self._look(found)
        give_up = time.monotonic() + (0.0 if self._stuck else PATIENCE)
        done = 0
        while done < len(block):
            try:
                done += self._put(block[done:])
            except BlockingIOError:
                if not self._writable(give_up) or time.monotonic() > give_up:
                    break
        self._stuck = done < len(block)
        if not done:
            raise TimeoutError(errno.ETIMEDOUT, "nobody reads it")
        return done

    def close(self) -> None:
        """Let go of what was opened to write; *fd* itself stays."""
        self._release()
        self._release = lambda: None
        self._behind = None

    def _look(self, found: os.stat_result) -> None:
        """Choose the way to write. Files and devices such as /dev/null need none of their own."""
        self.close()
        self._behind = (found.st_dev, found.st_ino)
        self._stuck = False
        self._put = self._plainly
        if stat.S_ISSOCK(found.st_mode):
            sock = socket.socket(fileno=os.dup(self.fd))
            self._put = lambda data: sock.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            self._release = sock.close
        elif stat.S_ISFIFO(found.st_mode) or os.isatty(self.fd):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            try:
                own = os.open(f"/proc/self/fd/{self.fd}", flags)
            except OSError:  # another user's (after a change of user), or the other end is closed
                self._put = self._when_writable
            else:
                self._put = lambda data: os.write(own, data)
                self._release = lambda: os.close(own)

    def _plainly(self, data: bytes) -> int:
        return os.write(self.fd, data)

    def _when_writable(self, data: bytes) -> int:
        # A pipe is called writable when a block of this size fits: then a write does not wait,
        # unless another process is faster with one of its own.
        if not self._writable(0.0):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return os.write(self.fd, data[: select.PIPE_BUF])

    def _writable(self, give_up: float) -> bool:
        poller = select.poll()
        poller.register(self.fd, select.POLLOUT)
        return bool(poller.poll(max(0.0, give_up - time.monotonic()) * 1000))
