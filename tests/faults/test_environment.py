"""The surroundings that a daemon is started in, each as hostile as somebody's really is.

A working directory that has been deleted is in tests/integration/test_hostile.py, NOTIFY_SOCKET's
messages in detail in tests/unit/runtime/test_sdnotify.py.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis as redis_py

from jobd import Client
from jobd.testing import EmbeddedServer
from tests.support.daemon import READY_SECONDS, Daemon, environment

APP = """
import subprocess
from jobd import job

@job
def nothing():
    pass

@job
def leave_an_orphan():
    subprocess.run(["sh", "-c", "(sleep 0.2; touch orphaned) &"], check=True)
"""

_BLOCK = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR2})
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.execv(sys.argv[1], sys.argv[1:])
"""

SURROUNDINGS = {
    "nohup": ["nohup"],
    "signals blocked and ignored": [sys.executable, "-c", _BLOCK],
    "no standard streams": ["sh", "-c", '"$@" <&- >&- 2>&-', "sh"],
    "as many descriptors as the kernel has": [
        *("sh", "-c", 'ulimit -n "$(cat /proc/sys/fs/nr_open)" || exit 99; exec "$@"', "sh"),
    ],
    "a soft limit of descriptors": ["sh", "-c", 'ulimit -S -n 64; exec "$@"', "sh"],
}


@pytest.fixture
def quiet_daemon(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[Daemon]:
    made = Daemon(tmp_path, server.url)
    made.write_app(APP)
    yield made
    made.check()


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_45_a_start_works_all_the_same(
    quiet_daemon: Daemon, redis: redis_py.Redis, surroundings: str
) -> None:
    began = time.monotonic()
    done = subprocess.run(
        [*SURROUNDINGS[surroundings], *quiet_daemon.command("start", "-r", "app")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=quiet_daemon.directory,
        env=environment(),
        timeout=READY_SECONDS,
    )
    if done.returncode == 99:
        pytest.skip("the limit of descriptors cannot be raised here")
    assert done.returncode == 0, done.stderr
    # Closing a billion descriptors one by one takes minutes.
    assert time.monotonic() - began < READY_SECONDS / 2
    quiet_daemon._master = psutil.Process(int(quiet_daemon.pidfile.read_text()))
    Client(quiet_daemon.url).push({"class": "app.nothing", "args": []})
    quiet_daemon.wait(lambda: redis.get("stat:processed") == b"1", 10, "the job has run")
    quiet_daemon.signal(signal.SIGUSR2)
    quiet_daemon.wait_for_log("log_reopened")
    quiet_daemon.signal(signal.SIGHUP)
    quiet_daemon.wait_for_log("generation 2 is complete")
    quiet_daemon.signal(signal.SIGTERM)
    quiet_daemon.wait_ended()
    assert '"code":0' in quiet_daemon.log().splitlines()[-1]


def test_45_too_few_descriptors_are_said_in_a_sentence(quiet_daemon: Daemon) -> None:
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", *quiet_daemon.command("start", "-r", "app")],
        capture_output=True,
        text=True,
        cwd=quiet_daemon.directory,
        env=environment(),
        timeout=READY_SECONDS,
    )
    assert done.returncode == 78
    assert re.fullmatch(
        r"jobd: .*needs about \d+ open files, but the limit is 64: .*\n", done.stderr
    )


# -- process 1 -------------------------------------------------------------------------------------


class Init(Daemon):
    """A daemon that is process 1 of its own PID namespace, as in a container."""

    def command(self, verb: str, *flags: str) -> list[str]:
        program = shutil.which("unshare") or ""
        new = ["--pid", "--fork", "--mount-proc", "--kill-child=KILL"]
        return [program, *new, *super().command(verb, *flags)]

    @property
    def own_pid(self) -> int:
        return 1

    def find_master(self) -> psutil.Process:
        """The real master, which unshare has started."""
        below = self.wait(lambda: psutil.Process(self.pid).children(), 5, "unshare has forked")
        assert isinstance(below[0], psutil.Process)
        return below[0]


@pytest.fixture
def init(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[Init]:
    namespace = [shutil.which("unshare") or "false", "--pid", "--fork", "--mount-proc", "true"]
    if subprocess.run(namespace, capture_output=True).returncode:
        pytest.skip("a new PID namespace needs root and the rights of a container manager")
    made = Init(tmp_path, server.url)
    made.write_app(APP)
    yield made
    made.check()


def test_46_as_process_1_it_collects_strangers_and_stops(init: Init, redis: redis_py.Redis) -> None:
    init.run("-w", "2")
    init._master = init.find_master()
    init.wait_ready()
    assert init.pidfile.read_text() == "1\n"
    for _ in range(3):
        Client(init.url).push({"class": "app.leave_an_orphan", "args": []})
    init.wait((init.directory / "orphaned").exists, 10, "an orphan has run")
    init.wait(lambda: redis.get("stat:processed") == b"3", 10, "the jobs have run")

    def only_its_own() -> bool:
        below = psutil.Process(init.pid).children(recursive=True)
        return len(below) == 3  # two workers and the keeper; no zombie

    init.wait(only_its_own, 10, "all orphans are collected")
    assert "died" not in init.log()
    init.signal(signal.SIGTERM)
    assert init.wait_ended() == 0


# -- the line to systemd ---------------------------------------------------------------------------


def listen(address: str) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    line.bind("\0" + address[1:] if address.startswith("@") else address)
    line.settimeout(20)
    return line


def heard(line: socket.socket, last: str) -> list[dict[str, str]]:
    """The messages until one has the variable *last*."""
    messages: list[dict[str, str]] = []
    while not messages or last not in messages[-1]:
        text = line.recv(4096).decode()
        messages.append(dict(part.split("=", 1) for part in text.splitlines()))
    return messages


def fill(line: socket.socket, address: str) -> None:
    """Send until nothing more fits into the queue at *address*."""
    while True:
        try:
            line.sendto(b"x", address)
        except BlockingIOError:
            return


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_48_systemd_is_told_everything_in_order(quiet_daemon: Daemon, kind: str) -> None:
    directory = quiet_daemon.directory
    address = f"{directory}/notify" if kind == "path" else f"@jobd-{os.getpid()}-{time.time_ns()}"
    with listen(address) as line:
        quiet_daemon.run(env={"NOTIFY_SOCKET": address})
        starting = heard(line, "READY")
        assert starting[-1]["STATUS"].startswith("running gen 1: 1/1 workers")
        quiet_daemon.wait_ready()
        before = time.monotonic_ns() // 1000
        quiet_daemon.signal(signal.SIGHUP)
        reloading = heard(line, "RELOADING")[-1]
        assert before <= int(reloading["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        assert heard(line, "READY")[-1]["STATUS"].startswith("running gen 2")
        quiet_daemon.signal(signal.SIGTERM)
        stopping = heard(line, "STOPPING")[-1]
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) >= 8_000_000
        assert quiet_daemon.wait_ended() == 0


def test_48_a_reload_that_waits_for_the_resume_does_not_let_systemd_wait(
    quiet_daemon: Daemon,
) -> None:
    address = f"{quiet_daemon.directory}/notify"
    with listen(address) as line:
        quiet_daemon.run(env={"NOTIFY_SOCKET": address})
        quiet_daemon.wait_ready()
        heard(line, "READY")
        assert quiet_daemon.jobctl("quiet").returncode == 0
        quiet_daemon.signal(signal.SIGHUP)
        heard(line, "RELOADING")
        assert "gen 1" in heard(line, "READY")[-1]["STATUS"]
        assert quiet_daemon.jobctl("resume").returncode == 0
        heard(line, "RELOADING")
        assert heard(line, "READY")[-1]["STATUS"].startswith("running gen 2")


def test_48_a_refused_reload_does_not_let_systemd_wait(quiet_daemon: Daemon) -> None:
    address = f"{quiet_daemon.directory}/notify"
    settings = quiet_daemon.directory / "jobd.toml"
    settings.write_text("workers = 1\n")
    with listen(address) as line:
        quiet_daemon.run(env={"NOTIFY_SOCKET": address})
        quiet_daemon.wait_ready()
        heard(line, "READY")
        settings.write_text("workers = 0\n")
        quiet_daemon.signal(signal.SIGHUP)
        heard(line, "RELOADING")
        status = heard(line, "READY")[-1]["STATUS"]
        assert "; reload refused: the settings stay as they were" in status


def test_48_nor_does_one_that_is_refused_while_it_is_quiet(quiet_daemon: Daemon) -> None:
    address = f"{quiet_daemon.directory}/notify"
    settings = quiet_daemon.directory / "jobd.toml"
    settings.write_text("workers = 1\n")
    with listen(address) as line:
        quiet_daemon.run(env={"NOTIFY_SOCKET": address})
        quiet_daemon.wait_ready()
        heard(line, "READY")
        assert quiet_daemon.jobctl("quiet").returncode == 0
        settings.write_text("workers = 0\n")
        quiet_daemon.signal(signal.SIGHUP)
        heard(line, "RELOADING")
        status = heard(line, "READY")[-1]["STATUS"]
        assert "; reload refused: the settings stay as they were" in status


@pytest.mark.parametrize("broken", ["before", "afterwards"])
def test_48_nor_one_that_is_refused_during_another(quiet_daemon: Daemon, broken: str) -> None:
    address = f"{quiet_daemon.directory}/notify"
    settings = quiet_daemon.directory / "jobd.toml"
    settings.write_text("workers = 1\n")
    quiet_daemon.write_app(
        f"import os, time\nwhile os.path.exists('hold'): time.sleep(0.05)\n{APP}"
    )
    hold = quiet_daemon.directory / "hold"
    with listen(address) as line:
        quiet_daemon.run(env={"NOTIFY_SOCKET": address})
        quiet_daemon.wait_ready()
        heard(line, "READY")
        hold.touch()
        quiet_daemon.signal(signal.SIGHUP)
        heard(line, "RELOADING")
        if broken == "before":
            settings.write_text("workers = 0\n")
        # systemd takes no answer that is older than its signal.
        quiet_daemon.signal(signal.SIGHUP)
        heard(line, "RELOADING")
        settings.write_text("workers = 0\n")
        hold.unlink()
        heard(line, "READY")


@pytest.mark.parametrize("fault", ["missing", "full", "closed"])
def test_48_a_line_that_does_not_work_hinders_nothing(quiet_daemon: Daemon, fault: str) -> None:
    address = f"{quiet_daemon.directory}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        if fault != "missing":
            line.bind(address)
        if fault == "full":
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as flood:
                flood.setblocking(False)
                fill(flood, address)
        quiet_daemon.run(env={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "600000"})
        if fault == "closed":
            heard(line, "READY")
            line.close()
        quiet_daemon.wait_ready()
        quiet_daemon.signal(signal.SIGHUP)
        quiet_daemon.wait_for_log("generation 2 is complete")
        quiet_daemon.signal(signal.SIGTERM)
        assert quiet_daemon.wait_ended() == 0
