"""A real ``jobd web`` for a test, and a small reverse proxy in front of it."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2

from jobd.testing.tether import spawn
from tests.support.daemon import environment, wait

STARTED = re.compile(r"jobd web: (http://\S+) \(Redis: (\S+)\)")


class Served:
    """A process of the dashboard.

    Args:
        directory: of its own; the output goes there.
        flags: of ``jobd web``.
        settings: environment variables.
        code: Python to run instead of the command, ending in ``main([...])``.
    """

    def __init__(
        self,
        directory: Path,
        *flags: str,
        settings: dict[str, str] | None = None,
        code: str = "",
    ) -> None:
        self.output = directory / "output.txt"
        command = [sys.executable, *(["-c", code] if code else ["-m", "jobd"]), "web", *flags]
        with self.output.open("wb") as output:
            self.process = spawn(
                command, output=output, directory=directory, environment=environment(settings)
            )

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def url(self) -> str:
        """Where it serves, as its first line says."""
        found = wait(lambda: STARTED.search(self.said) or self.ended, 20, "jobd web has started")
        assert not isinstance(found, int), self.said
        return str(found[1])

    @property
    def ended(self) -> int | None:
        """The exit code, once it has ended. As a text it is true also where it is 0."""
        code = self.process.poll()
        return None if code is None else int(code) or 1_000

    def end(self, number: int, seconds: float = 10.0) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


@contextmanager
def serving(directory: Path, *flags: str, **given: Any) -> Iterator[Served]:
    """One that ends with the block, if not before; without a word of trouble."""
    served = Served(directory, "-p", "0", *flags, **given)
    try:
        yield served
    finally:
        if served.process.poll() is None:
            served.process.terminate()
        try:
            served.process.wait(10)
        except subprocess.TimeoutExpired:
            served.process.kill()
            raise
    assert "Traceback" not in served.said, served.said


def get(url: str, **given: Any) -> httpx2.Response:
    """Ask, without following redirects."""
    return httpx2.get(url, timeout=20, follow_redirects=False, **given)


@contextmanager
def proxy(target: str, path: str, *, strips: bool, headers: bool = True) -> Iterator[str]:
    """A reverse proxy that serves *target* under *path*; its address.

    Args:
        strips: takes *path* away, as nginx with a slash at the end of ``proxy_pass``.
        headers: says for whom it speaks, and under which name it was asked.
    """
    host = httpx2.URL(target).netloc.decode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            sent = {name: value for name, value in self.headers.items() if name != "Connection"}
            if headers:
                sent["X-Forwarded-For"] = self.client_address[0]
                sent["X-Forwarded-Host"] = self.headers["Host"]
            sent["Host"] = host
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = self.path.removeprefix(path) if strips else self.path
            connection = http.client.HTTPConnection(host, timeout=20)
            connection.request(self.command, asked or "/", body, sent)
            answer = connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("connection", "transfer-encoding", "date", "server"):
                    self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
            connection.close()

        do_GET = do_POST = do_HEAD = forward

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{path}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
