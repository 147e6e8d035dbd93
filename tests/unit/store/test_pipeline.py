"""The wire: pinned connections, read without the library's help."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py

from jobd.store.connection import connect
from jobd.store.pipeline import Wire
from jobd.store.protocol import pack
from jobd.testing import EmbeddedServer


@pytest.fixture
def wire(server: EmbeddedServer) -> Iterator[Wire]:
    client = connect(server.url, timeout=0.5)
    made = Wire(client)
    made.connect()
    yield made
    made.close()
    client.close()


def test_asking_whether_a_reply_is_there_does_not_take_it_away(wire: Wire) -> None:
    """Some versions of the library read it into a buffer of their own."""
    assert not wire.readable(0.01)
    wire.send(pack("PING") + pack("ECHO", "next"))
    assert wire.readable(5)
    assert wire.read() == b"PONG"
    assert wire.readable(5)
    assert wire.read() == b"next"
    assert not wire.readable(0)


def test_a_refusal_leaves_the_replies_behind_it(wire: Wire) -> None:
    wire.send(pack("NOSUCH") + pack("PING"))
    with pytest.raises(redis_py.ResponseError):
        wire.read()
    assert wire.read() == b"PONG"


def test_large_replies_come_whole(wire: Wire) -> None:
    wire.send(pack("ECHO", b"x" * 5_000_000))
    assert len(wire.read()) == 5_000_000


def test_silence_closes_it(wire: Wire) -> None:
    with pytest.raises(redis_py.TimeoutError, match="does not answer"):
        wire.read()
    with pytest.raises(redis_py.ConnectionError, match="closed"):
        wire.send(pack("PING"))
    wire.connect()
    assert wire.ask("PING") == b"PONG"


def answering(*pieces: bytes) -> tuple[int, threading.Thread]:
    """A server that sends *pieces* one by one and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener, listener.accept()[0] as line:
            for piece in pieces:
                line.sendall(piece)

    thread = threading.Thread(target=serve)
    thread.start()
    return listener.getsockname()[1], thread


@pytest.mark.parametrize(
    ("pieces", "error"),
    [
        ((b"$10\r\nhalf",), redis_py.ConnectionError),
        ((b"!nonsense\r\n",), redis_py.InvalidResponse),
        ((b"-LOADING it loads\r\n",), redis_py.exceptions.BusyLoadingError),
        ((b"-READONLY no\r\n",), redis_py.exceptions.ReadOnlyError),
        ((), redis_py.ConnectionError),
    ],
)
def test_what_a_server_may_say_in_its_last_moments(
    pieces: tuple[bytes, ...], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_py.Connection, "on_connect", lambda _self: None)
    port, thread = answering(*pieces)
    wire = Wire(connect(f"redis://127.0.0.1:{port}"))
    wire.connect()
    with pytest.raises(error):
        wire.read()
    wire.close()
    thread.join()


def test_what_no_reply_has_filled_takes_no_memory(server: EmbeddedServer) -> None:
    """A worker has one for each of its queues."""
    with connect(server.url) as client:
        before = _private()
        wires = [Wire(client) for _ in range(64)]
        assert _private() - before < 4 * 1024, "less than 64 kB each"
        for wire in wires:
            wire.connect()
            assert wire.ask("ECHO", "x" * 3_000_000) == b"x" * 3_000_000
            wire.close()


def _private() -> int:
    """Memory that only this process has, in kB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
