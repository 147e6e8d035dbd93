"""The control socket: requests are served, and rude clients cost nothing but themselves."""

from __future__ import annotations

import json
import os
import selectors
import socket
import stat
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from jobd.master.control import control_socket, messages
from jobd.master.control.commands import Commands
from jobd.master.control.control_socket import Client, ControlServer, Request


class Loop:
    """A master's loop, as far as the control socket needs one."""

    def __init__(self, path: Path) -> None:
        self.selector = selectors.DefaultSelector()
        self.requests: list[Request] = []
        self.answer: Callable[[Client], None] = lambda client: client.done()
        self.server = ControlServer(path, self.selector, self._on_request)

    def _on_request(self, client: Client, request: Request) -> None:
        self.requests.append(request)
        self.answer(client)

    def turn(self, at: float | None = None) -> None:
        for key, events in self.selector.select(0):
            key.data(events)
        self.server.turn(time.monotonic() if at is None else at)

    def clients(self) -> int:
        return len(self.selector.get_map()) - 1


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    loop = Loop(tmp_path / "jobd.sock")
    yield loop
    loop.server.close()
    loop.selector.close()


def everything(sock: socket.socket) -> list[dict[str, Any]]:
    sock.settimeout(5)
    with sock, sock.makefile("rb") as lines:
        return [json.loads(line) for line in lines]


class Peer(messages.Done, frozen=True, tag="done"):
    """Who has asked."""

    pid: int
    uid: int


def test_a_request_is_answered_and_the_connection_closed(loop: Loop) -> None:
    sock = control_socket.connect(loop.server.path)
    sock.sendall(b'{"command":"status"}\n')
    loop.answer = lambda client: client.done(Peer(client.pid, client.uid))
    loop.turn()
    loop.turn()
    loop.turn()
    assert everything(sock) == [{"type": "done", "pid": os.getpid(), "uid": os.geteuid()}]
    assert loop.requests == [messages.Status()]
    assert loop.clients() == 0


def test_only_the_owner_may_use_the_socket_and_it_is_removed(loop: Loop) -> None:
    mode = loop.server.path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert mode & 0o777 == 0o600


def test_a_path_longer_than_a_socket_address_works(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    loop = Loop(directory / "jobd.sock")
    control_socket.connect(loop.server.path).close()
    loop.server.close()
    loop.selector.close()
    assert list(directory.iterdir()) == []


def test_a_link_to_the_socket_of_another_program_is_no_master(loop: Loop, tmp_path: Path) -> None:
    (tmp_path / "link.sock").symlink_to(loop.server.path)
    with pytest.raises(OSError, match="not a socket"):
        control_socket.connect(tmp_path / "link.sock")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_socket_at_which_its_owner_does_not_listen_is_no_master(loop: Loop) -> None:
    os.chown(loop.server.path, 65534, 65534)
    with pytest.raises(ConnectionRefusedError):
        control_socket.connect(loop.server.path)


def test_a_second_name_of_a_socket_is_no_master(loop: Loop, tmp_path: Path) -> None:
    (tmp_path / "other.sock").hardlink_to(loop.server.path)
    with pytest.raises(ConnectionRefusedError):
        control_socket.connect(tmp_path / "other.sock")


@pytest.mark.parametrize(
    "request_line", [b"[1]\n", b"\xff\xfe\n", b"hello\n", b"x" * control_socket.REQUEST_BYTES]
)
def test_what_is_no_request_is_refused(loop: Loop, request_line: bytes) -> None:
    sock = control_socket.connect(loop.server.path)
    sock.sendall(request_line)
    for _ in range(4):
        loop.turn()
    assert everything(sock)[0]["type"] == "failed"
    assert loop.requests == []


def test_a_client_that_asks_nothing_is_dropped(loop: Loop) -> None:
    sock = control_socket.connect(loop.server.path)
    loop.turn()
    assert loop.clients() == 1
    loop.turn(at=time.monotonic() + control_socket.IDLE + 1)
    assert loop.clients() == 0
    assert everything(sock) == []


def test_a_client_that_never_reads_is_dropped_and_blocks_nothing(loop: Loop) -> None:
    sock = control_socket.connect(loop.server.path)
    sock.sendall(b"{}\n")

    def flood(client: Client) -> None:
        for _ in range(100):
            client.send(messages.Text("x" * 1_000_000))

    loop.answer = flood
    began = time.monotonic()
    loop.turn()
    loop.turn()
    assert time.monotonic() - began < 1
    loop.turn(time.monotonic() + control_socket.IDLE + 1)
    assert loop.clients() == 0
    sock.close()


def test_a_client_that_stops_reading_is_dropped(loop: Loop) -> None:
    sock = control_socket.connect(loop.server.path)
    sock.sendall(b"{}\n")
    loop.answer = lambda client: client.send(messages.Text("x" * 1_000_000))
    loop.turn()
    loop.turn()
    assert loop.clients() == 1
    loop.turn(at=time.monotonic() + control_socket.IDLE + 1)
    assert loop.clients() == 0
    sock.close()


def test_a_client_that_waits_for_a_long_command_is_kept(loop: Loop) -> None:
    sock = control_socket.connect(loop.server.path)
    sock.sendall(b"{}\n")
    loop.answer = lambda client: client.send(messages.Accepted())
    loop.turn()
    loop.turn()
    loop.turn(at=time.monotonic() + 3600)
    assert loop.clients() == 1
    sock.close()
    loop.turn()
    assert loop.clients() == 0


def test_what_is_waited_for_is_said_again_as_soon_as_it_changes(loop: Loop) -> None:
    awaited = ["worker.0 to get ready"]
    with control_socket.connect(loop.server.path) as sock:
        sock.sendall(b"{}\n")
        loop.answer = lambda client: client.accept(lambda: messages.Waiting(awaited[0]))
        loop.turn()
        loop.turn()
        began = time.monotonic()
        for second in range(2, 5):
            loop.turn(at=began + second)
        awaited[0] = "Redis"
        for second in range(5, 7):
            loop.turn(at=began + second)
        for _ in range(2):
            loop.turn(at=began + 13)
        sock.shutdown(socket.SHUT_WR)
        said = sock.recv(1 << 16).splitlines()
    texts = [json.loads(line).get("text") for line in said]
    assert texts == [None, "worker.0 to get ready", "Redis", "Redis"]


def test_more_clients_than_allowed_are_turned_away(loop: Loop) -> None:
    socks = [control_socket.connect(loop.server.path) for _ in range(control_socket.CLIENTS)]
    for _ in range(control_socket.CLIENTS):
        loop.turn()
    socks.append(control_socket.connect(loop.server.path))
    loop.turn()
    assert loop.clients() == control_socket.CLIENTS
    assert [answer["type"] for answer in everything(socks[-1])] == ["busy"]
    for sock in socks:
        sock.close()


def test_an_answer_that_is_too_long_is_called_so(loop: Loop) -> None:
    sock = control_socket.connect(loop.server.path)
    sock.sendall(b'{"command":"threads"}\n')
    half = "x" * (control_socket.ANSWER_BYTES // 2)

    def flood(client: Client) -> None:
        for _ in range(9):
            client.send(messages.Text(half))

    loop.answer = flood
    loop.turn()
    loop.turn()
    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(everything, sock)
        while not reading.done():
            loop.turn()
        answers = reading.result()
    assert [answer["type"] for answer in answers] in (
        ["text", "failed"],
        ["text", "text", "failed"],
    )


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        (b'{"command":"stop"}', messages.Stop()),
        (b'{"command":"stop","timeout":null}', messages.Stop()),
        (b'{"command":"stop","timeout":5}', messages.Stop(5.0)),
        (
            b'{"later":[1],"command":"threads","of":["worker.0",7]}',
            messages.Threads(["worker.0", 7]),
        ),
        (b"{}", messages.Unknown(None)),
        (b'{"command":5}', messages.Unknown(5)),
        (b'{"command":"later","slot":1}', messages.Unknown("later")),
    ],
)
def test_a_request_of_another_version_is_read_as_far_as_it_is_known(
    line: bytes, request_: Request
) -> None:
    assert messages.read(line) == request_


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (b'{"command":"stop","timeout":true}', "timeout"),
        (b'{"command":"stop","timeout":-1}', "timeout"),
        (b'{"command":"stop","timeout":86401}', "timeout"),
        (b'{"command":"stop","timeout":1e308}', "timeout"),
        (b'{"command":"retire"}', "slot"),
        (b'{"command":"retire","slot":"0"}', "slot"),
        (b'{"command":"scale","workers":1.5}', "workers"),
        (b'{"command":"threads","of":5}', "of"),
    ],
)
def test_a_field_that_cannot_be_is_named_and_nothing_is_done(
    loop: Loop, line: bytes, wrong: str
) -> None:
    broken: Any = Broken()
    commands = Commands(broken, broken, broken, broken, broken)
    loop.answer = lambda client: commands.handle(client, loop.requests[-1])
    sock = control_socket.connect(loop.server.path)
    sock.sendall(line + b"\n")
    for _ in range(3):
        loop.turn()
    (answer,) = everything(sock)
    assert answer["type"] == "failed"
    assert f"`{wrong}`" in answer["error"] or f"`$.{wrong}`" in answer["error"]


class Broken:
    """In place of a daemon and its parts: whatever is asked of it fails."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"{name} was to fail")


@pytest.mark.parametrize("command", ["quiet", "status", "reload"])
def test_a_request_that_fails_in_an_unknown_way_costs_its_client_only(
    loop: Loop, command: str
) -> None:
    broken: Any = Broken()
    commands = Commands(broken, broken, broken, broken, broken)
    loop.answer = lambda client: commands.handle(client, loop.requests[-1])
    sock = control_socket.connect(loop.server.path)
    sock.sendall(json.dumps({"command": command}).encode() + b"\n")
    loop.turn()
    loop.turn()
    loop.turn()
    (answer,) = everything(sock)
    assert answer["error"] == f"{command}: internal error; the daemon goes on, see its log"
    assert loop.clients() == 0


NAMES = {
    messages.DaemonStatus: "pid version state cause since degraded crash_loop reload_postponed "
    "reload_trouble uptime generation rss tag redis outage memory_short log_trouble logfile "
    "concurrency async_concurrency queues "
    "unrecovered backing_off empty keeper zygotes workers",
    messages.ChildStatus: "role pid state reason trouble outage control generation uptime busy "
    "coroutines in_flight processed failed beat_age rss memory",
    messages.OutageStatus: "processes seconds error",
    messages.BackOff: "role seconds cause",
}


@pytest.mark.parametrize("kind", NAMES)
def test_programs_find_in_the_status_what_they_have_found_before(
    kind: type[msgspec.Struct],
) -> None:
    assert " ".join(kind.__struct_encode_fields__) == NAMES[kind]
    assert not kind.__struct_config__.omit_defaults
