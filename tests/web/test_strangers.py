"""What strangers try with a real ``jobd web``, and what it costs others: nothing."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import httpx2
import pytest
import redis as redis_py
import uvicorn
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.server import ServerState

from jobd.testing import EmbeddedServer
from jobd.web.access import attempts
from jobd.web.serving import crowd, protocol
from tests.support.daemon import descriptors, wait
from tests.web.frame import PASSWORDS, TOKENS, bearer, token_of, users
from tests.web.serving import Served, get, serving


@pytest.fixture
def guarded(server: EmbeddedServer, redis: redis_py.Redis) -> dict[str, str]:
    """The environment of a dashboard with users."""
    return {
        "JOBD_REDIS": server.url,
        "JOBD_WEB_USERS": " ".join(users()),
        "JOBD_WEB_TOKENS": " ".join(TOKENS),
    }


def ask(served: Served, address: str, name: str, password: str) -> int:
    """How a script at *address* is answered that sends that password."""
    text = base64.b64encode(f"{name}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {text}", "X-Forwarded-For": address}
    return get(served.url + "api/v1/stats", headers=headers).status_code


def test_who_guesses_learns_nothing_of_those_who_are_logged_in(
    tmp_path: Path, guarded: dict[str, str]
) -> None:
    right, stranger, known = PASSWORDS["alice"], "203.0.113.66", "192.0.2.1"
    with serving(tmp_path, "--proxy", "127.0.0.1", settings=guarded) as served:
        assert ask(served, known, "alice", right) == 200
        guesses = [ask(served, stranger, "alice", f"wrong {n}") for n in range(20)]
        assert guesses == [401] * attempts.MOST_OF_ADDRESS + [429] * 10
        assert ask(served, stranger, "alice", right) == 429
        assert ask(served, known, "alice", right) == 200
        # Whoever shares the address of such a one has to wait as well, unless he has a token.
        for number in range(attempts.MOST_OF_ADDRESS):
            ask(served, known, "alice", f"wrong {number}")
        assert ask(served, known, "alice", right) == ask(served, known, "alice", "x") == 429
        headers = bearer() | {"X-Forwarded-For": known}
        assert get(served.url + "api/v1/stats", headers=headers).status_code == 200


QUICK = """
import resource, sys
from jobd.web.serving import protocol
{}
from jobd.cli.main import main
sys.exit(main())
"""
"""The command with something else set."""

LARGEST = "static/vendor/uPlot-1.6.32.min.js"


@contextmanager
def connected(served: Served) -> Iterator[socket.socket]:
    url = httpx2.URL(served.url)
    with socket.create_connection((url.host, url.port or 0), timeout=20) as opened:
        yield opened


def answer(opened: socket.socket) -> bytes:
    """The next answer, which says how long it is."""
    read = b""
    while not (found := re.search(rb"content-length: (\d+)(?s:.*?)\r\n\r\n", read)):
        chunk = opened.recv(65536)
        assert chunk, read
        read += chunk
    while len(read) < found.end() + int(found[1]):
        read += opened.recv(65536)
    return read


@pytest.mark.parametrize("framing", ["Content-Length: 9", "Transfer-Encoding: chunked"])
def test_the_rest_of_a_body_that_never_comes_is_not_waited_for(
    tmp_path: Path, guarded: dict[str, str], framing: str
) -> None:
    code = QUICK.format("protocol.REST_WITHIN = 0.5")
    asked = f"GET /login HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n".encode()
    rest = b"123456789" if "Length" in framing else b"1\r\na\r\n0\r\n\r\n"
    with serving(tmp_path, settings=guarded, code=code) as served:
        for sent in (b"", rest[:1]):
            with connected(served) as stranger:
                stranger.sendall(asked)
                assert answer(stranger).startswith(b"HTTP/1.1 200")
                stranger.sendall(sent)
                assert stranger.recv(100) == b""
        # Who sends it gets his next answer by the same connection, and what is no rest closes it.
        with connected(served) as friend:
            for _ in range(3):
                friend.sendall(asked)
                assert answer(friend).startswith(b"HTTP/1.1 200")
                friend.sendall(rest)
            if "chunked" in framing:
                friend.sendall(asked)
                assert answer(friend).startswith(b"HTTP/1.1 200")
                friend.sendall(b"zz\r\n")
                assert friend.recv(100) == b""


@pytest.mark.parametrize("last", ["keep-alive", "close"])
def test_who_does_not_take_his_answers_is_left(
    tmp_path: Path, guarded: dict[str, str], last: str
) -> None:
    code = QUICK.format("protocol.TAKEN_WITHIN = 1.0")
    asked = f"GET /{LARGEST} HTTP/1.1\r\nHost: localhost\r\n\r\n"
    asked = asked * 100 + asked.replace("Host", f"Connection: {last}\r\nHost")
    with serving(tmp_path, settings=guarded, code=code) as served, ExitStack() as stack:
        assert get(served.url + "healthz").status_code == 200
        pid = served.process.pid
        before = wait(lambda: sockets(pid) == 1 and descriptors(pid), 10, "nobody is connected")
        for _ in range(20):
            stranger = socket.socket()
            stack.enter_context(stranger)
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stranger.connect((httpx2.URL(served.url).host, httpx2.URL(served.url).port))
            stranger.sendall(asked.encode())
        wait(lambda: sockets(pid) == 21, 10, "all are connected")
        wait(lambda: sockets(pid) == 1, 20, "none is")
        wait(lambda: len(descriptors(pid)) <= len(before) + 5, 5, "nor is a file open")
        assert get(served.url + "login").status_code == 200


def sockets(pid: int) -> int:
    """How many TCP sockets that process has."""
    inodes = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]}
    return sum(found.strip("socket:[]") in inodes for found in descriptors(pid))


class Pipe:
    """A transport to somebody who takes what the test lets him take."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.looks = 0
        self.aborted = asyncio.Event()

    def get_write_buffer_size(self) -> int:
        self.looks += 1
        self.size -= protocol.LEAST_TAKEN if 1 < self.looks <= 5 else 0
        return self.size

    def abort(self) -> None:
        self.aborted.set()


def test_who_takes_his_answer_slowly_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "TAKEN_WITHIN", 0.01)

    async def look() -> None:
        config = uvicorn.Config(crowd.refuse, log_config=None)
        slow, pipe = protocol.Protocol(config, ServerState(), {}), Pipe(1_000_000)
        slow.transport, slow.flow = cast(Any, pipe), FlowControl(cast(Any, pipe))
        slow.pause_writing()
        await asyncio.wait_for(pipe.aborted.wait(), 10)
        assert pipe.looks == 6, "it was left at the first look at which nothing had been taken"

    asyncio.run(look())


def test_a_stolen_cookie_stays_worthless_however_often_somebody_logs_out(
    tmp_path: Path, guarded: dict[str, str]
) -> None:
    code = QUICK.format("from jobd.web.access import revoked as ended; ended.MOST_OF_USER = 10")
    with serving(tmp_path, settings=guarded, code=code) as served:

        def log_in(client: httpx2.Client, name: str) -> None:
            given = {"name": name, "password": PASSWORDS[name]}
            given["csrf"] = token_of(client.get("login"))
            assert client.post("login", data=given).status_code == 303

        def log_out(client: httpx2.Client) -> None:
            assert client.post("logout", data={"csrf": token_of(client.get(""))}).status_code == 303

        def knows(cookies: dict[str, str]) -> bool:
            return httpx2.get(served.url + "api/v1/stats", cookies=cookies).status_code == 200

        with httpx2.Client(base_url=served.url, timeout=20) as client:
            log_in(client, "alice")
            stolen = dict(client.cookies)
            assert knows(stolen)
            log_out(client)
            assert not knows(stolen)
            log_in(client, "oscar")
            forgotten = dict(client.cookies)
        for _ in range(25):
            with httpx2.Client(base_url=served.url, timeout=20) as client:
                log_in(client, "oscar")
                last = dict(client.cookies)
                log_out(client)
                assert not knows(last)
        assert not knows(stolen)
        # One mark stands for the older sessions of him who did it, ended or not.
        assert not knows(forgotten)
        with httpx2.Client(base_url=served.url, timeout=20) as client:
            log_in(client, "oscar")
            assert knows(dict(client.cookies))


def from_address(served: Served, address: str) -> socket.socket:
    """A connection from there: all of 127.0.0.0/8 is this machine."""
    url = httpx2.URL(served.url)
    return socket.create_connection((url.host, url.port or 0), 20, (address, 0))


LIMITED = QUICK.format("resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))")
"""128 connections in all, and 32 from one address."""

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_connections_beyond_the_limit_are_told_so(tmp_path: Path, guarded: dict[str, str]) -> None:
    with serving(tmp_path, settings=guarded, code=LIMITED) as served, ExitStack() as stack:
        friend = stack.enter_context(connected(served))
        friend.sendall(HEALTH)
        assert answer(friend).startswith(b"HTTP/1.1 200")
        with ExitStack() as strangers:
            many = [
                strangers.enter_context(from_address(served, f"127.0.0.{10 + number % 20}"))
                for number in range(400)
            ]
            # All are heard: 127 wait for a request, some are told, and most are closed.
            wait(lambda: sockets(served.process.pid) == 1 + 128, 10, "as many as there may be")
            refused = get(served.url)
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
            assert "as many connections as it may have" in refused.text
            # Those who are there are served, with files and with what needs Redis.
            for path in (b"/login", f"/{LARGEST}".encode(), b"/readyz"):
                many[0].sendall(HEALTH.replace(b"/healthz", path))
                assert answer(many[0]).startswith(b"HTTP/1.1 200")
            assert len(descriptors(served.process.pid)) < 200
        wait(lambda: get(served.url + "login").status_code == 200, 10, "they have gone")
        assert served.said.count("so new ones are answered with 503") == 1
        assert re.search(r"129 connections are open, \d+ of them from 127[.]0[.]0", served.said)
        assert "there may be 128" in served.said
        assert "out of system resource" not in served.said


def test_one_address_has_a_share_of_the_connections(
    tmp_path: Path, guarded: dict[str, str]
) -> None:
    with serving(tmp_path, settings=guarded, code=LIMITED) as served, ExitStack() as stack:
        assert served.url
        pid = served.process.pid
        first = stack.enter_context(from_address(served, "127.0.0.66"))
        for _ in range(400):
            stack.enter_context(from_address(served, "127.0.0.66"))
        wait(lambda: sockets(pid) == 1 + 32, 10, "his share is left")
        first.sendall(HEALTH)
        assert answer(first).startswith(b"HTTP/1.1 200")
        last = stack.enter_context(from_address(served, "127.0.0.66"))
        last.sendall(HEALTH)
        assert b"503" in last.recv(100)
        # Others do not notice.
        for address in ("127.0.0.1", "127.0.0.67"):
            other = stack.enter_context(from_address(served, address))
            other.sendall(HEALTH)
            assert answer(other).startswith(b"HTTP/1.1 200")
        assert "33 connections are open, 33 of them from 127.0.0.66" in served.said
        assert "32 from one address" in served.said


def test_a_proxy_that_is_believed_may_have_all(tmp_path: Path, guarded: dict[str, str]) -> None:
    flags = ("--proxy", "127.0.0.66")
    with serving(tmp_path, *flags, settings=guarded, code=LIMITED) as served, ExitStack() as stack:
        assert served.url
        for _ in range(100):
            stack.enter_context(from_address(served, "127.0.0.66"))
        wait(lambda: sockets(served.process.pid) == 1 + 100, 10, "all are open")
        assert get(served.url + "login").status_code == 200
        assert "connections are open" not in served.said
