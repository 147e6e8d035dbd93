"""Rows 37 and 38: clients of the control socket that misbehave, or are somebody else.

None of them may cost the master time: it has one thread.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import redis as redis_py

from jobd import Client
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon, environment, wait
from tests.support.others import NOBODY, Nobody
from tests.support.processes import freeze

APP = """
    from jobd import job

    @job(name="ok")
    def ok():
        pass
"""


# -- 37: clients that misbehave ----------------------------------------------------------------


def raw_request(running: Daemon, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(running.socket))
        sock.sendall(request + b"\n")
        with sock.makefile("rb") as lines:
            return lines.read()


@pytest.mark.parametrize(
    "request_",
    [
        b'{"command":' + b"[" * 30000 + b"]" * 30000 + b"}",
        b'{"command":"\xff\xfe"}',
        b'{"command":"stop","timeout":1e308}',
        b'{"command":"stop","timeout":' + b"9" * 400 + b"}",
        b'{"command":"stop","timeout":true}',
    ],
    ids=["deep", "no utf-8", "1e308", "big", "true"],
)
def test_37_no_request_harms_the_master(daemon: StartDaemon, request_: bytes) -> None:
    running = daemon(APP)
    answer = json.loads(raw_request(running, request_))
    assert answer["type"] == "failed"
    assert running.jobctl("status").returncode == 0


def connected(running: Daemon) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(running.socket))
    sock.setblocking(False)
    return sock


def send_what_goes(sock: socket.socket, data: bytes) -> None:
    """As much as the kernel takes, and as long as the master does not hang up."""
    try:
        sock.send(data)
    except OSError:
        pass


def mute(running: Daemon, attempt: int) -> socket.socket:
    """Connects, and says and reads nothing."""
    return connected(running)


def never_reads(running: Daemon, attempt: int) -> socket.socket:
    """Asks for something long, and does not read the answer."""
    sock = connected(running)
    send_what_goes(sock, b'{"command":"threads"}\n')
    return sock


def ten_megabytes(running: Daemon, attempt: int) -> socket.socket:
    """Sends without end."""
    sock = connected(running)
    sock.setblocking(True)
    sock.settimeout(1)
    try:
        for _ in range(160):
            sock.sendall(b"x" * 65536)
    except OSError:
        pass  # the master has hung up
    return sock


def binary(running: Daemon, attempt: int) -> socket.socket:
    """Sends what is no text."""
    sock = connected(running)
    send_what_goes(sock, bytes(range(256)) * 16 + b"\n")
    return sock


def latency(running: Daemon) -> float:
    """Seconds that the master takes to answer, if only that it is busy."""
    began = time.monotonic()
    answer = raw_request(running, b'{"command":"status"}')
    assert json.loads(answer.splitlines()[0])["type"] in ("done", "busy")
    return time.monotonic() - began


@pytest.mark.parametrize("client", [mute, never_reads, ten_megabytes, binary])
def test_37_a_hundred_bad_clients_cost_the_master_no_time(
    daemon: StartDaemon, client: Callable[[Daemon, int], socket.socket]
) -> None:
    running = daemon(APP, "-w", "2")
    before = psutil.Process(running.pid).memory_info().rss
    socks: list[socket.socket] = []
    latencies = []
    try:
        for attempt in range(100):
            socks.append(client(running, attempt))
            try:
                latencies.append(latency(running))
            except (ConnectionError, IndexError):
                continue  # it was turned away, at once
        assert statistics.median(latencies) < 0.05, sorted(latencies)
        # Sixteen are served, and those for five seconds: then others have their turn.
        running.wait(lambda: running.jobctl("status").returncode == 0, 10, "they were dropped")
    finally:
        for sock in socks:
            sock.close()
    assert psutil.Process(running.pid).memory_info().rss - before < 40 << 20
    running.assert_flat()


# -- 38: somebody else -------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["run", "start"])  # a detached daemon's files are closed to others
def test_38_a_daemon_of_another_user_is_out_of_reach(
    open_directory: Path, server: EmbeddedServer, redis: redis_py.Redis, nobody: Nobody, verb: str
) -> None:
    running = Daemon(open_directory, server.url)
    running.write_app(APP)
    getattr(running, verb)()
    running.wait_ready()
    try:
        for command in ("status", "quiet", "stop", "threads", "reopen-logs", "reload"):
            done = nobody("-m", "jobctl", "--pidfile", str(running.pidfile), command)
            assert (command, done.returncode) == (command, 4), done.stderr
            (line,) = done.stderr.splitlines()
            assert line.startswith("jobctl: ")
            assert "permission denied" in line
        start = nobody(*running.command("run", "-r", "app")[1:])
        assert start.returncode == 73
        assert "uid 65534 may not write there" in start.stderr
        assert running.state()["state"] == "running"
    finally:
        running.check()


def test_38_root_may_control_the_daemon_of_a_service_user(
    open_directory: Path, server: EmbeddedServer, redis: redis_py.Redis, nobody: Nobody
) -> None:
    running = Daemon(open_directory, server.tcp_url)
    running.write_app(APP)
    os.chown(open_directory, NOBODY, NOBODY)
    running.prefix = nobody.prefix
    running.run(env=nobody.environment)
    running.wait_ready()
    try:
        assert psutil.Process(running.pid).uids() == (NOBODY, NOBODY, NOBODY)
        for command in ("status", "threads", "reopen-logs", "quiet", "resume", "reload"):
            done = running.jobctl(command)
            assert done.returncode == 0, done.stderr
        Client(server.tcp_url).push({"class": "ok", "args": []})
        wait(lambda: redis.get("stat:processed") == b"1", 10, "its job has run")
        assert running.jobctl("stop").returncode == 0
    finally:
        running.check()


@pytest.fixture
def elsewhere() -> list[str]:
    """A prefix that runs its command among processes of its own, which cannot see ours."""
    unshare = shutil.which("unshare")
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    prefix = [str(unshare), *as_root, "--pid", "--fork", "--mount-proc"]
    if not unshare or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("other process namespaces need root, or user namespaces")
    return prefix


def test_38_from_another_pid_namespace_the_socket_works_and_signals_do_not(
    daemon: StartDaemon, elsewhere: list[str]
) -> None:
    running = daemon(APP)

    def jobctl(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*elsewhere, sys.executable, "-m", "jobctl", "-P", str(running.pidfile), command],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(),
        )

    for command in ("status", "threads", "reopen-logs", "quiet", "resume", "reload"):
        done = jobctl(command)
        assert done.returncode == 0, (command, done.stderr)
    # Where only a signal is left, it is refused: that number is somebody else's there.
    freeze(running.pid)
    try:
        done = jobctl("quiet")
        assert done.returncode == 6, done.stderr
        assert "another process namespace" in done.stderr
    finally:
        os.kill(running.pid, signal.SIGCONT)
    running.wait(lambda: running.jobctl("status").returncode == 0, 10, "the master goes on")
    assert running.jobctl("resume").returncode == 0
    done = jobctl("stop")
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr
    assert running.wait_ended(2) == 0


# -- who could lead root's jobctl to another daemon --------------------------------------------


def test_38_root_does_not_go_where_others_could_lead_it(
    daemon: StartDaemon, open_directory: Path, nobody: Nobody
) -> None:
    """The service user of one daemon links its run directory to that of another."""
    running = daemon(APP)
    theirs = open_directory / "theirs"
    theirs.mkdir()
    (theirs / "run").symlink_to(running.directory)
    os.chown(theirs, NOBODY, NOBODY)
    for command in ("stop", "quiet", "status"):
        done = subprocess.run(
            [sys.executable, "-m", "jobctl", "-P", str(theirs / "run/jobd.pid"), command],
            capture_output=True,
            text=True,
            timeout=30,
            env=environment(),
        )
        assert (done.returncode, done.stdout) == (6, ""), done.stderr
        assert f"uid {NOBODY} can change the path to it" in done.stderr
    assert running.state()["state"] == "running"
    assert running.jobctl("status").returncode == 0
