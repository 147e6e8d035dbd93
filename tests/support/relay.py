"""A network that loses answers: a relay in front of a server on a UNIX socket."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path


class Relay:
    """Forwards connections.

    Attributes:
        lose: so many of the next answers are not forwarded; their connections are closed.
        meanwhile: called for each, before that.
        lost: how many have been.

    Example:
        >>> with relay(tmp_path, "/run/redis.sock") as network:  # doctest: +SKIP
        ...     network.lose = 1
    """

    def __init__(self, path: Path, target: str) -> None:
        self.url = f"unix://{path}"
        self.lose = self.lost = 0
        self.meanwhile: Callable[[], object] = lambda: None
        self._target = target
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(path))
        self._listening.listen()
        self._open: list[socket.socket] = []

    def run(self) -> None:
        """Take connections until :meth:`close`."""
        with contextlib.suppress(OSError):
            while True:
                here = self._listening.accept()[0]
                there = socket.socket(socket.AF_UNIX)
                there.connect(self._target)
                self._open += (here, there)
                for source, target, answers in ((here, there, False), (there, here, True)):
                    threading.Thread(
                        target=self._pump, args=(source, target, answers), daemon=True
                    ).start()

    def _pump(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if answers and self.lose:
                    self.lose -= 1
                    self.lost += 1
                    self.meanwhile()
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for each in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextlib.contextmanager
def relay(directory: Path, target: str) -> Iterator[Relay]:
    """A relay to the server at the socket *target*."""
    made = Relay(directory / "relay.sock", target)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.close()
        thread.join()
