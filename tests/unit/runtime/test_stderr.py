"""Writing to readers who have stopped reading."""

from __future__ import annotations

import fcntl
import os
import pty
import socket
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobd.runtime.log.stderr import PATIENCE, Outlet

Ends = tuple[int, int]
Make = Callable[[int], Outlet]


@pytest.fixture
def outlet_on() -> Iterator[Make]:
    """Makes outlets that are closed when the test ends."""
    made: list[Outlet] = []

    def make(fd: int) -> Outlet:
        made.append(Outlet(fd))
        return made[-1]

    yield make
    for outlet in made:
        outlet.close()


@pytest.fixture(params=["pipe", "socket", "terminal", "pipe of another user"])
def ends(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ends]:
    """A reading and a writing end, both blocking as they are inherited."""
    if request.param == "socket":
        reading, writing = (sock.detach() for sock in socket.socketpair())
    elif request.param == "terminal":
        reading, writing = pty.openpty()
        tty.setraw(writing)
    else:
        reading, writing = os.pipe()
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 8192)
    if request.param == "pipe of another user":
        monkeypatch.setattr(os, "open", _refuse)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def _refuse(*_arguments: object) -> int:
    raise PermissionError


def fill(outlet: Outlet) -> int:
    """Write until nothing goes any more; returns how many bytes went."""
    total = 0
    while True:
        try:
            total += outlet.write(b"x" * 99 + b"\n")
        except TimeoutError:
            return total


def drain(reading: int, size: int) -> bytes:
    content = b""
    while len(content) < size:
        content += os.read(reading, size - len(content))
    return content


def test_a_reader_that_stops_is_waited_for_once(outlet_on: Make, ends: Ends) -> None:
    reading, writing = ends
    outlet = outlet_on(writing)
    began = time.monotonic()
    total = fill(outlet)
    assert time.monotonic() - began >= PATIENCE
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(TimeoutError):
            outlet.write(b"y" * 100)
    assert time.monotonic() - began < PATIENCE / 2
    assert not drain(reading, total).strip(b"x\n")
    assert outlet.write(b"hello\n") == 6
    assert drain(reading, 6) == b"hello\n"


def test_what_it_shares_with_others_stays_blocking(outlet_on: Make, ends: Ends) -> None:
    _, writing = ends
    outlet_on(writing).write(b"hello\n")
    assert os.get_blocking(writing)


def test_a_large_block_goes_in_pieces_while_it_is_read(outlet_on: Make, ends: Ends) -> None:
    reading, writing = ends
    block = b"z" * 100_000
    child = os.fork()
    if child == 0:
        os.close(writing)
        os._exit(0 if drain(reading, len(block)) == block else 1)
    assert outlet_on(writing).write(block) == len(block)
    assert os.waitpid(child, 0)[1] == 0


def test_what_stands_behind_the_number_may_change(outlet_on: Make, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    outlet = outlet_on(writing)
    outlet.write(b"one\n")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names only
    file = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    os.dup2(file, writing)
    outlet.write(b"two\n")
    assert os.pread(file, 100, 0) == b"two\n"
    assert drain(reading, 4) == b"one\n"
    assert os.read(reading, 1) == b""  # the pipe has no writer left
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    for fd in (reading, writing, file):
        os.close(fd)


def test_a_closed_reader_is_an_error_at_once(outlet_on: Make) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with pytest.raises(BrokenPipeError):
        outlet_on(writing).write(b"hello\n")
    os.close(writing)
