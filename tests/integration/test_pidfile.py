"""Pidfiles that lie: nothing is signalled that is not a jobd master."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartDaemon
from tests.integration.daemon import environment

COMMANDS = ("status", "quiet", "stop", "threads", "reopen-logs", "reload")


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    assert process.poll() is None, "it was signalled"
    process.kill()
    process.wait()


def jobctl(pidfile: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobctl", "--pidfile", str(pidfile), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        env=environment(),
    )


def test_an_unlocked_pidfile_is_stale_whoever_has_the_pid(
    tmp_path: Path, bystander: subprocess.Popen[bytes]
) -> None:
    pidfile = tmp_path / "jobd.pid"
    pidfile.write_text(f"{bystander.pid}\n")
    codes = {command: jobctl(pidfile, command).returncode for command in COMMANDS}
    assert codes == dict.fromkeys(COMMANDS, 3) | {"stop": 0}


def test_a_locked_pidfile_of_something_else_is_refused(
    tmp_path: Path, bystander: subprocess.Popen[bytes]
) -> None:
    pidfile = tmp_path / "jobd.pid"
    pidfile.write_text(f"{bystander.pid}\n")
    with pidfile.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = jobctl(pidfile, "stop")
    assert done.returncode == 6
    assert f"pid {bystander.pid} (python" in done.stderr


@pytest.mark.parametrize("content", ["garbage", "0\n", "-1\n"])
def test_garbage_is_refused(tmp_path: Path, content: str) -> None:
    pidfile = tmp_path / "jobd.pid"
    pidfile.write_text(content)
    assert jobctl(pidfile, "stop").returncode == 6
    assert pidfile.read_text() == content


@pytest.mark.parametrize("kind", ["fifo", "symlink", "directory"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    pidfile = tmp_path / "jobd.pid"
    if kind == "fifo":
        os.mkfifo(pidfile)
    elif kind == "symlink":
        pidfile.symlink_to("/etc/passwd")
    else:
        pidfile.mkdir()
    assert jobctl(pidfile, "status").returncode == 6


def test_a_stale_pidfile_of_another_process_does_not_hinder_a_start(
    daemon: StartDaemon, bystander: subprocess.Popen[bytes]
) -> None:
    # PID 1 belongs to another user in most places; a process of our own stands for the rest.
    for pid in (1, bystander.pid):
        running = daemon("", ready=False)
        running.stop()
        running.pidfile.write_text(f"{pid}\n")
        running.run()
        running.wait_ready()
        assert running.stop() == 0
