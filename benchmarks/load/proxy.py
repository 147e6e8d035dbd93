"""A TCP relay that delays the answers of the server, as a network would.

``python -m benchmarks.load.proxy HOST PORT MILLISECONDS`` prints the port that it listens on.
Requests pass at once and answers wait, so that every round trip takes so much longer; any number
of bytes may be on the way meanwhile. Two threads a connection: one reads, the other writes what is
due.
"""

from __future__ import annotations

import queue
import socket
import sys
import threading
import time

_CHUNK = 262_144

Chunk = tuple[float, bytes]


def main(host: str, port: int, milliseconds: float) -> None:
    """Relay until killed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            server = socket.create_connection((host, port))
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _relay(client, server, 0.0)
            _relay(server, client, milliseconds / 1000)


def _relay(source: socket.socket, target: socket.socket, delay: float) -> None:
    if not delay:
        threading.Thread(target=_copy, args=(source, target), daemon=True).start()
        return
    chunks: queue.SimpleQueue[Chunk] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(source, chunks, delay), daemon=True).start()
    threading.Thread(target=_write, args=(target, chunks), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(_CHUNK):
            target.sendall(data)
    except OSError:
        pass  # One side has gone; the other is told below.
    _hang_up(target)


def _read(source: socket.socket, chunks: queue.SimpleQueue[Chunk], delay: float) -> None:
    data = b"?"
    while data:
        try:
            data = source.recv(_CHUNK)
        except OSError:
            data = b""
        chunks.put((time.monotonic() + delay, data))


def _write(target: socket.socket, chunks: queue.SimpleQueue[Chunk]) -> None:
    while True:
        due, data = chunks.get()
        if not data:
            break
        if (left := due - time.monotonic()) > 0:
            time.sleep(left)
        try:
            target.sendall(data)
        except OSError:
            break
    _hang_up(target)


def _hang_up(target: socket.socket) -> None:
    try:
        target.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # It hung up first.


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
