"""What systemd is told."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from jobd.runtime.process.sdnotify import Notifier


def listener(address: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind("\0" + address[1:] if address.startswith("@") else address)
    sock.setblocking(False)
    return sock


def test_ready_pings_the_watchdog_at_once(tmp_path: Path) -> None:
    with listener(str(tmp_path / "n")) as sock:
        notifier = Notifier(str(tmp_path / "n"), watchdog=30.0)
        assert notifier.next_deadline() == float("inf")
        notifier.ready("running")
        assert sock.recv(4096) == b"READY=1\nSTATUS=running\nWATCHDOG=1"
        assert 9 < notifier.next_deadline() - time.monotonic() <= 10


def test_a_status_cannot_say_more_than_a_status(tmp_path: Path) -> None:
    with listener(str(tmp_path / "n")) as sock:
        notifier = Notifier(str(tmp_path / "n"))
        notifier.failed("ImportError:\nWATCHDOG=trigger", 78)
        assert sock.recv(4096) == b"STATUS=ImportError: WATCHDOG=trigger\nEXIT_STATUS=78"


def test_an_abstract_address_and_a_reload_with_its_time() -> None:
    address = f"@jobd-test-{os.getpid()}"
    with listener(address) as sock:
        Notifier(address).reloading()
        lines = sock.recv(4096).decode().splitlines()
    assert lines[0] == "RELOADING=1"
    assert lines[1].startswith("MONOTONIC_USEC=")


def test_the_status_is_told_when_it_changes_and_not_more_often_than_needed(tmp_path: Path) -> None:
    with listener(str(tmp_path / "n")) as sock:
        notifier = Notifier(str(tmp_path / "n"))
        for text in ("one", "one", "two"):
            notifier.turn(text)
        assert sock.recv(4096) == b"STATUS=one"
        assert select_nothing(sock)


def select_nothing(sock: socket.socket) -> bool:
    try:
        sock.recv(4096)
    except BlockingIOError:
        return True
    return False


def test_a_missing_listener_is_no_error(tmp_path: Path) -> None:
    Notifier(str(tmp_path / "nobody")).ready("running")
    Notifier().stopping("stopping", 5)


def test_the_variables_are_taken_away_from_the_children() -> None:
    environment = {
        "NOTIFY_SOCKET": "/nowhere",
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
        "LISTEN_FDS": "1",
        "HOME": "/",
    }
    Notifier.take(environment)
    assert environment == {"HOME": "/"}
