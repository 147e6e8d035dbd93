"""A wake-up for a thread that sleeps in a selector.

Ringing it is safe from any thread and never blocks; many rings before a wake-up count as one.
"""

from __future__ import annotations

import socket


class Bell:
    """Register it for reading; after a wake-up, :meth:`silence` it and look what there is to do."""

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
            pass  # So many rings wait to be heard that this one makes no difference.

    def silence(self) -> None:
        try:
            while self._ear.recv(4096):
                pass
        except BlockingIOError:
            pass  # Everything has been heard.

    def close(self) -> None:
        self._ear.close()
        self._hammer.close()
