"""The health listener when many connect: over real sockets, without a daemon."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from jobd.keeper.health.http import Answer
from jobd.keeper.health.listener import MOST_ASKING, Listener
from jobd.settings import listening
from tests.support.daemon import wait

TOO_MANY = 4


def opened(path: Path, slow: Callable[[], Answer]) -> None:
    listener = Listener(
        listening.read(str(path)),
        {"/healthz": lambda: Answer.of(HTTPStatus.OK, "ok")},
        {"/metrics": slow},
        lambda _: None,
    )
    listener.start()
    wait(path.exists, 30, "it listens")


def asked(path: Path, target: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.settimeout(30)
    made.connect(str(path))
    made.sendall(f"GET {target} HTTP/1.1\r\n\r\n".encode())
    return made


def taken(connection: socket.socket) -> bytes:
    with connection, connection.makefile("rb") as answer:
        return answer.read()


def test_many_that_ask_redis_are_refused_and_probes_are_not(tmp_path: Path) -> None:
    path, may = tmp_path / "health.sock", threading.Event()

    def slow() -> Answer:
        may.wait(10)
        return Answer.of(HTTPStatus.OK, "metrics")

    opened(path, slow)
    waiting = [asked(path, "/metrics") for _ in range(MOST_ASKING + TOO_MANY)]
    refused: list[bytes] = []
    while len(refused) < TOO_MANY:
        answered, _, _ = select.select(waiting, [], [], 30)
        assert answered
        for each in answered:
            waiting.remove(each)
            refused.append(taken(each))
    assert all(b" 503 " in each and b"others ask already" in each for each in refused)
    assert len(waiting) == MOST_ASKING
    assert b" 200 " in taken(asked(path, "/healthz"))
    may.set()
    assert all(taken(each).endswith(b"metrics\n") for each in waiting)
    assert b" 200 " in taken(asked(path, "/metrics"))
