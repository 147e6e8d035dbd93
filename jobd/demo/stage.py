"""The processes of the demo: a server, a daemon, its dashboard, an application."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from types import TracebackType

import msgspec
import redis as redis_py

from jobd import api
from jobd.demo.events import Events
from jobd.demo.scene import Scene, Worker
from jobd.errors import UnavailableError
from jobd.master.control import control_socket
from jobd.master.control.messages import DaemonStatus, Shown, Status
from jobd.store.connection import connect
from jobd.store.trouble import unavailable
from jobd.testing.scratch import Scratch
from jobd.testing.server import EmbeddedServer
from jobd.testing.tether import spawn
from jobd.wire.json_value import UNREADABLE

Ending = signal.Signals
Pause = Callable[[float], None]

WORKERS = 2
THREADS = 5
_READY_SECONDS = 60.0
_STOP_SECONDS = 20.0
_ANSWER_SECONDS = 2.0
_TIMEOUT = 3.0  # s, the daemon's timeout for running jobs at its stop
_FILE = "jobd.toml"
_WEB_OUTPUT = "web.out"
_ADDRESS = re.compile(r"http://\S+(?=\s)")
_SETTINGS = """\
require = ["jobs"]
directory = {examples}
queues = ["media,1", "default,3"]
workers = {workers}
concurrency = {threads}
timeout = {timeout}
redis = {redis}
prefix = {prefix}
pidfile = {pidfile}
logfile = {logfile}
log_format = "json"
tag = "demo"

[web]
title = "demo"
"""


class Stage:
    """Starts the processes of the demo. A context manager; at its end, it removes everything."""

    def __init__(self, redis: str | None) -> None:
        self._given = redis
        self._end = ExitStack()

    def __enter__(self) -> Stage:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end.close()

    def start(self, seconds: float, pause: Pause) -> None:
        """Start everything; *pause* may raise to abort.

        Raises:
            UnavailableError: there is no server, or the daemon does not start.
        """
        scratch = Scratch("demo")
        self.directory = scratch.path
        self._end.callback(scratch.remove)
        self._open_redis()
        self.pidfile = self.directory / "jobd.pid"
        self.logfile = self.directory / "jobd.log"
        self._events = Events(self.logfile)
        self._write_settings()
        self._daemon = self._start("run", output="jobd.out")
        web = self._start("web", "--port", "0", output=_WEB_OUTPUT)
        self._wait_until_ready(pause)
        self.dashboard = self._address(web, pause)
        self._app = self._start_app(seconds)

    def _open_redis(self) -> None:
        if self._given is None:
            server = self._end.enter_context(EmbeddedServer())
            self.url, self.prefix = server.url, ""
        else:
            # The user's own server: its data must not be touched.
            self.url, self.prefix = self._given, f"jobd-demo-{secrets.token_hex(4)}:"
        self._redis = self._end.enter_context(connect(self.url, timeout=5.0))
        self._api = api.Api(self._redis, self.prefix)
        try:
            self._redis.ping()
        except redis_py.RedisError as error:
            raise unavailable(self._redis, error) from None
        if self.prefix:
            self._end.callback(self._remove_keys)

    def _remove_keys(self) -> None:
        for key in self._redis.scan_iter(match=f"{self.prefix}*", count=1000):
            self._redis.unlink(key)

    @staticmethod
    def _examples() -> Path:
        package = Path(str(files("jobd")))
        for place in (package / "examples", package.parent / "examples"):
            if (place / "app.py").exists():
                return place
        raise UnavailableError(f"the examples are neither in {package} nor beside it")

    def _environment(self) -> dict[str, str]:
        ours = {"JOBD_REDIS": self.url, "JOBD_PREFIX": self.prefix}
        others = {k: v for k, v in os.environ.items() if not k.startswith(("JOBD_", "NOTIFY_"))}
        return {**others, **ours}

    def _spawn(self, command: list[str], output: str) -> subprocess.Popen[bytes]:
        with (self.directory / output).open("wb") as file:
            process = spawn(command, output=file, environment=self._environment())
        self._end.callback(_end, process)
        return process

    def _write_settings(self) -> None:
        # JSON strings are valid TOML strings.
        settings = _SETTINGS.format(
            examples=json.dumps(str(self._examples())),
            workers=WORKERS,
            threads=THREADS,
            timeout=_TIMEOUT,
            redis=json.dumps(self.url),
            prefix=json.dumps(self.prefix),
            pidfile=json.dumps(str(self.pidfile)),
            logfile=json.dumps(str(self.logfile)),
        )
        (self.directory / _FILE).write_text(settings)

    def _start(self, command: str, *options: str, output: str) -> subprocess.Popen[bytes]:
        given = [command, "-C", str(self.directory / _FILE), *options]
        return self._spawn([sys.executable, "-m", "jobd", *given], output)

    def _wait_until_ready(self, pause: Pause) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while (status := self._status()) is None or status.state != "running":
            if self._daemon.poll() is not None or time.monotonic() > deadline:
                raise UnavailableError(
                    f"the daemon did not start; its output:\n{self.last_words()}"
                )
            pause(0.05)

    def _address(self, web: subprocess.Popen[bytes], pause: Pause) -> str:
        """The address of the dashboard, from its output."""
        output, deadline = self.directory / _WEB_OUTPUT, time.monotonic() + _READY_SECONDS
        while not (found := _ADDRESS.search(said := output.read_text(errors="replace"))):
            if web.poll() is not None or time.monotonic() > deadline:
                raise UnavailableError(f"the dashboard did not start; its output:\n{said}")
            pause(0.05)
        return found[0]

    def _start_app(self, seconds: float) -> subprocess.Popen[bytes]:
        files = self.directory / "files"
        files.mkdir()
        app = self._examples() / "app.py"
        return self._spawn([sys.executable, str(app), str(files), str(seconds)], "app.out")

    def last_words(self) -> str:
        """The end of the daemon's output and log."""
        return "".join(
            (self.directory / name).read_text(errors="replace")[-2000:]
            for name in ("jobd.out", "jobd.log")
            if (self.directory / name).exists()
        )

    def look(self) -> Scene:
        """The current state.

        Raises:
            UnavailableError: the server does not respond.
        """
        stats = self._api.stats()
        said = (self.directory / "app.out").read_text(errors="replace").split()
        counts = [int(word) for word in said if word.isdecimal()]
        return Scene(
            stats=stats,
            pushed=counts[-1] if counts else 0,
            pushing=self._app.poll() is None and "done" not in said,
            workers=self._workers(),
            events=self._events.look(),
            daemon_ended=self._daemon.poll() is not None,
        )

    def _status(self) -> DaemonStatus | None:
        """The status reported by the master; None if it does not respond."""
        try:
            with control_socket.connect(self.pidfile.with_suffix(".sock")) as line:
                line.settimeout(_ANSWER_SECONDS)
                line.sendall(msgspec.json.encode(Status()) + b"\n")
                return msgspec.json.decode(line.makefile("rb").readline(), type=Shown).status
        except (OSError, *UNREADABLE):
            return None

    def _workers(self) -> list[Worker]:
        status = self._status()
        children = [*status.workers, status.keeper] if status else []
        return [Worker(one.role, one.pid, one.state, one.busy) for one in children if one]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
