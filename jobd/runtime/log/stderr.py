"""Non-blocking writes to standard error, whose reader may have stopped reading.

With a full pipe, a terminal stopped by Ctrl-S or a hanging journal, a plain ``write()`` would block
forever, and the master with it. ``O_NONBLOCK`` cannot be set, because it belongs to the open file,
which is shared with the parent process. So each kind of file is written differently: pipes and
terminals are opened again through /proc, and sockets are written with ``MSG_DONTWAIT``.
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
"""Seconds to wait for a reader; after a timeout, there is no waiting until it reads again."""

STDERR = 2


class Outlet:
    """Writes to *fd* without blocking, whatever kind of file it is, also after that changes."""

    def __init__(self, fd: int = STDERR) -> None:
        self.fd = fd
        self._behind: tuple[int, int] | None = None
        self._release: Callable[[], None] = lambda: None
        self._put: Callable[[bytes], int] = self._plainly
        self._stuck = False

    def write(self, block: bytes) -> int:
        """Write *block*, or as much of it as possible in time; returns the number of bytes.

        Raises:
            OSError: nothing was written.
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
            raise TimeoutError(errno.ETIMEDOUT, "it is not read")
        return done

    def close(self) -> None:
        """Close the descriptor opened for writing; *fd* itself stays open."""
        self._release()
        self._release = lambda: None
        self._behind = None

    def _look(self, found: os.stat_result) -> None:
        """Choose how to write. Files and devices such as /dev/null can be written directly."""
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
            except OSError:  # owned by another user (after a change of user), or closed by the peer
                self._put = self._when_writable
            else:
                self._put = lambda data: os.write(own, data)
                self._release = lambda: os.close(own)

    def _plainly(self, data: bytes) -> int:
        return os.write(self.fd, data)

    def _when_writable(self, data: bytes) -> int:
        # A pipe is writable if a block of this size fits: then a write does not block, unless
        # another process writes first.
        if not self._writable(0.0):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return os.write(self.fd, data[: select.PIPE_BUF])

    def _writable(self, give_up: float) -> bool:
        poller = select.poll()
        poller.register(self.fd, select.POLLOUT)
        return bool(poller.poll(max(0.0, give_up - time.monotonic()) * 1000))
