"""Wakes a thread that waits in a selector.

Can be called from any thread and never blocks; several calls before the wake-up count as one.
"""

from __future__ import annotations

import socket


class Bell:
    """A wake-up object: register it for reading, and call :meth:`silence` after a wake-up."""

    def __init__(self) -> None:
        self._ear, self._hammer = socket.socketpair()
        self._ear.setblocking(False)
        self._hammer.setblocking(False)

    def fileno(self) -> int:
        return self._ear.fileno()

    def ring(self) -> None:
        try:
            self._hammer.send(b"!")
        except BlockingIOError:
            pass  # a wake-up is pending already

    def silence(self) -> None:
        try:
            while self._ear.recv(4096):
                pass
        except BlockingIOError:
            pass  # all bytes have been read

    def close(self) -> None:
        self._ear.close()
        self._hammer.close()
