"""A master that does not answer: its stacks can be had, and systemd gets it out of the way."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis as redis_py

from jobd import Client
from jobd.runtime.process import processes
from jobd.runtime.process.dumps import DumpFile
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.faults.stuck import Stuckable
from tests.support.daemon import Daemon, environment
from tests.support.processes import freeze

APP = """
import time
from pathlib import Path
from jobd import job

@job
def nothing():
    pass

@job
def nap():
    Path("napping").touch()
    time.sleep(60)
"""


@pytest.fixture
def stuckable(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[Stuckable]:
    made = Stuckable(tmp_path, server.url)
    made.write_app(APP)
    yield made
    made.check()


def parts(text: str) -> dict[str, str]:
    """The output by process."""
    found = re.split(r"^== (\S+), pid .*==$", text, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def test_36_threads_of_a_hung_master(stuckable: Stuckable) -> None:
    stuckable.run("-w", "2")
    stuckable.wait_ready()
    Client(stuckable.url).push({"class": "app.nap", "args": []})
    stuckable.wait((stuckable.directory / "napping").exists, 10, "the job runs")
    stuckable.hang()
    stuckable.wait(lambda: processes.run_state(stuckable.pid) == "R", 10, "it hangs")
    began = time.monotonic()
    done = stuckable.jobctl("threads")
    took = time.monotonic() - began
    stuckable.kill()
    assert done.returncode == 4, done.stderr
    assert (
        took < 6
    )  # 3 s for the answer that does not come, 1 s for the dumps, two starts of Python
    assert done.stdout.startswith("The master has not answered within 3 s: it hangs")
    stacks = parts(done.stdout)
    assert stacks.keys() == {"master", "keeper", "worker.0", "worker.1"}
    assert "in stick" in stacks["master"]
    assert all("most recent call first" in text for text in stacks.values())
    assert "in nap" in stacks["worker.0"] + stacks["worker.1"]


def test_36_threads_of_a_stopped_master_say_so_and_show_the_children(daemon: StartDaemon) -> None:
    running = daemon(APP)
    (worker,) = running.workers()
    stopped = (running.pid, worker)
    for pid in stopped:
        freeze(pid)
    running.wait(lambda: {*map(processes.run_state, stopped)} == {"T"}, 5, "they are stopped")
    done = running.jobctl("threads")
    for pid in (worker, running.pid):
        os.kill(pid, signal.SIGCONT)
    assert done.returncode == 4
    stacks = parts(done.stdout)
    assert "no stacks: it is stopped (SIGSTOP" in stacks["master"]
    assert "no stacks: it is stopped (SIGSTOP" in stacks["worker.0"]
    assert "most recent call first" in stacks["keeper"]


@pytest.mark.parametrize("socket", ["there", "gone"])
def test_06_a_stopped_master_is_quiet_as_soon_as_it_goes_on(
    daemon: StartDaemon, socket: str
) -> None:
    """By the request that waits in its socket, or by the signal alone: the kernel forgets a TSTP
    that a stopped process gets, which was the signal once."""
    running = daemon(APP)
    freeze(running.pid)
    if socket == "gone":
        running.socket.unlink()
    done = running.jobctl("quiet")
    assert done.returncode == 4
    assert "a signal was sent, but it is unknown whether it is quiet" in done.stderr
    running.signal(signal.SIGCONT)
    running.wait(lambda: running.state()["state"] == "quiet", 10, "it is quiet")


def test_06_requests_wait_for_a_stopped_master_in_their_order(daemon: StartDaemon) -> None:
    running = daemon(APP)
    freeze(running.pid)
    assert running.jobctl("quiet").returncode == 4
    done = running.jobctl("resume")
    assert (done.returncode, done.stdout) == (5, ""), "there is no signal for it"
    assert done.stderr == (
        "jobctl: the master does not answer: it is stopped (SIGSTOP or a terminal); "
        "SIGCONT resumes it; jobctl threads shows what it is doing\n"
    )
    running.signal(signal.SIGCONT)
    running.wait_for_log('"state":"quieting"(.*\n)*.*"state":"running","before":"quiet')
    running.wait(lambda: running.state()["state"] == "running", 10, "it is not quiet any more")
    assert running.jobctl("status").returncode == 0


def test_36_threads_of_a_stopped_master_show_its_zygote(daemon: StartDaemon) -> None:
    running = daemon(APP, "--preload")
    freeze(running.pid)
    running.wait(lambda: processes.run_state(running.pid) == "T", 5, "it is stopped")
    done = running.jobctl("threads")
    running.signal(signal.SIGCONT)
    assert done.returncode == 4
    stacks = parts(done.stdout)
    assert stacks.keys() == {"master", "keeper", "zygote", "worker.0"}
    assert "most recent call first" in stacks["zygote"]


def test_36_a_dump_in_normal_operation_is_made_without_c_code(daemon: StartDaemon) -> None:
    """Which crashed one master in some hundred that were sent TTIN again and again."""
    running = daemon(APP)
    running.signal(signal.SIGTTIN)
    running.wait_for_log(r"thread_dump.*== master")
    assert not running.dump_file.read_bytes()
    assert running.dump_file.stat().st_mode & 0o777 == 0o600


def test_36_dumps_that_nobody_reads_do_not_fill_the_run_directory(tmp_path: Path) -> None:
    dump = DumpFile(tmp_path / "jobd.dump")
    os.write(dump.fd, b"x" * 1000)
    dump.trim()
    assert dump.size() == 1000
    os.write(dump.fd, b"x" * (1 << 20))
    dump.trim()
    assert dump.size() == 0
    os.write(dump.fd, b"y")
    assert (tmp_path / "jobd.dump").read_bytes() == b"y"
    dump.remove()
    assert not (tmp_path / "jobd.dump").exists()


def test_49_a_hung_master_stops_pinging_and_its_last_words_name_the_place(
    stuckable: Stuckable,
) -> None:
    stuckable.expect_in_log("Fatal Python error: Aborted")
    address = f"{stuckable.directory}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(address)
        line.settimeout(10)
        stuckable.run(env={"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000"})
        pings = 0
        while pings < 3:
            pings += b"WATCHDOG=1" in line.recv(4096)
        stuckable.hang()
        line.settimeout(2.5)
        assert falls_silent(line)
    children = stuckable.children()
    stuckable.signal(signal.SIGABRT)  # what systemd does now
    assert stuckable.wait_ended() == -signal.SIGABRT
    assert "in stick" in stuckable.log()
    stuckable.leaves_files, stuckable.exit_codes = True, None
    stuckable.wait(lambda: not any(map(lives, children)), 10, "the children leave")


def falls_silent(line: socket.socket) -> bool:
    while True:
        try:
            line.recv(4096)
        except TimeoutError:
            return True


def lives(process: psutil.Process) -> bool:
    return processes.run_state(process.pid) not in ("", "Z")


def test_standard_error_that_nobody_reads_stops_nobody(
    tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    running = Daemon(tmp_path, server.url)
    running.write_app(APP)
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    flags = ("-r", "app", "--logfile", "", "--log-level", "info")
    running._process = subprocess.Popen(
        running.command("run", *flags), cwd=tmp_path, env=environment(), stderr=writing
    )
    os.close(writing)
    running._master = psutil.Process(running._process.pid)
    running.wait_ready()
    for _ in range(300):
        Client(running.url).push({"class": "app.nothing", "args": []})
    running.wait(lambda: redis.get("stat:processed") == b"300", 30, "all jobs have run")
    assert running.jobctl("status").returncode == 0
    content = b""
    running.signal(signal.SIGUSR2)  # which is logged
    while b"log records were lost: standard error was not read" not in content:
        assert select.select([reading], [], [], 10)[0], content
        content += os.read(reading, 65536)
        running.signal(signal.SIGUSR2)
    os.close(reading)
    running.check()
