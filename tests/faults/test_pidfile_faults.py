"""Rows 7 to 13: pidfiles that lie, are locked by others, vanish, or cannot be made.

Nothing is signalled that is not a jobd master, nothing is overwritten that is no pidfile, and
there is never more than one daemon behind one path.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis as redis_py

from jobd.master.files.paths import state_path
from jobd.runtime.process import processes as procs
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support import processes
from tests.support.daemon import Daemon, environment
from tests.support.others import NOBODY, Nobody, mounts

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


def sentence(text: str) -> str:
    """The one sentence that a refused start prints."""
    (line,) = text.splitlines()
    assert line.startswith("jobd: ")
    return line


# -- 7: what is no pidfile ---------------------------------------------------------------------

CONTENTS = {
    "garbage": b"garbage",
    "zero": b"0\n",
    "minus one": b"-1\n",
    "too long": b"12345678901\n",
    "a megabyte": b"7" * (1 << 20),
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_07_what_is_no_pidfile_is_refused_and_kept(idle_daemon: Daemon, content: bytes) -> None:
    idle_daemon.leaves_files = True
    idle_daemon.write_app("")
    idle_daemon.pidfile.write_bytes(content)
    done = idle_daemon.start()
    assert done.returncode == 73
    assert f"{idle_daemon.pidfile} is not a pidfile" in sentence(done.stderr)
    assert idle_daemon.jobctl("stop").returncode == 6
    assert idle_daemon.pidfile.read_bytes() == content


@pytest.mark.parametrize("kind", ["fifo", "symlink", "directory"])
def test_07_what_is_no_file_is_refused_without_hanging(idle_daemon: Daemon, kind: str) -> None:
    idle_daemon.leaves_files = True
    idle_daemon.write_app("")
    target = idle_daemon.directory / "target"
    target.write_text("1\n")
    if kind == "fifo":
        os.mkfifo(idle_daemon.pidfile)
    elif kind == "symlink":
        idle_daemon.pidfile.symlink_to(target)
    else:
        idle_daemon.pidfile.mkdir()
    done = idle_daemon.start(timeout=5)
    assert done.returncode == 73
    assert str(idle_daemon.pidfile) in sentence(done.stderr)
    for command in ("status", "stop"):
        assert idle_daemon.jobctl(command, timeout=5).returncode == 6
    assert target.read_text() == "1\n"


def test_07_an_empty_pidfile_is_accepted(idle_daemon: Daemon) -> None:
    idle_daemon.write_app("")
    idle_daemon.pidfile.touch(mode=0o600)
    assert idle_daemon.start().returncode == 0
    assert idle_daemon.pidfile.read_text() == f"{idle_daemon.pid}\n"


# -- 8 and 9: what names somebody else ---------------------------------------------------------


def test_08_a_stale_pidfile_naming_another_users_process_is_replaced(
    open_directory: Path, server: EmbeddedServer, redis: redis_py.Redis, nobody: Nobody
) -> None:
    running = Daemon(open_directory, server.url)
    running.write_app("")
    with subprocess.Popen(**nobody.command("-c", "import time; time.sleep(60)")) as stranger:
        running.pidfile.write_text(f"{stranger.pid}\n")
        assert running.jobctl("status").returncode == 3
        assert running.jobctl("stop").returncode == 0
        assert running.start().returncode == 0
        assert running.pid != stranger.pid
        assert running.jobctl("stop").returncode == 0
        assert stranger.poll() is None, "it was signalled"
        stranger.kill()
    running.check()


def test_09_an_unlocked_pidfile_is_stale_whoever_has_the_pid(
    tmp_path: Path, bystander: subprocess.Popen[bytes]
) -> None:
    pidfile = tmp_path / "jobd.pid"
    pidfile.write_text(f"{bystander.pid}\n")
    codes = {command: jobctl(pidfile, command).returncode for command in COMMANDS}
    assert codes == dict.fromkeys(COMMANDS, 3) | {"stop": 0}


def test_09_a_pidfile_that_something_else_has_locked_is_refused(
    idle_daemon: Daemon, bystander: subprocess.Popen[bytes]
) -> None:
    idle_daemon.leaves_files = True
    idle_daemon.write_app("")
    idle_daemon.pidfile.write_text(f"{bystander.pid}\n")
    with idle_daemon.pidfile.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for command in COMMANDS:
            done = idle_daemon.jobctl(command)
            assert done.returncode == 6, command
            assert f"pid {bystander.pid} (python" in done.stderr
        start = idle_daemon.start()
    assert start.returncode == 73
    assert "locked, but not by a jobd master" in sentence(start.stderr)
    assert f"pid {bystander.pid} (python" in start.stderr


def test_09_a_stale_pidfile_of_a_living_process_does_not_hinder_a_start(
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


# -- 10: before the reboot ---------------------------------------------------------------------


def state_of(stranger: int, boot: str, *, master: int) -> str:
    """What the state file of a daemon with pid *master* would hold that had *stranger* as its
    worker; the ticks are right."""
    return json.dumps(
        {
            "schema": 1,
            "pid": master,
            "ticks": procs.start_ticks(master) or 0,
            "boot_id": boot,
            "uid": os.geteuid(),
            "version": "0",
            "state": "running",
            "generation": 1,
            "workers": [
                {
                    "slot": 0,
                    "pid": stranger,
                    "ticks": procs.start_ticks(stranger),
                    "identity": f"host:{stranger}:0123456789ab",
                    "generation": 1,
                    "state": "ready",
                }
            ],
        }
    )


def test_10_a_state_file_from_before_a_reboot_names_nobody(
    idle_daemon: Daemon, bystander: subprocess.Popen[bytes]
) -> None:
    idle_daemon.write_app("")
    before = "00000000-0000-0000-0000-000000000000"
    idle_daemon.pidfile.write_text(f"{bystander.pid}\n")
    idle_daemon.state_file.write_text(state_of(bystander.pid, before, master=bystander.pid))
    with idle_daemon.pidfile.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for command in COMMANDS:
            assert idle_daemon.jobctl(command).returncode == 6, command
    # The start sweeps what a previous run has left; but nothing has survived a reboot.
    assert idle_daemon.start().returncode == 0
    idle_daemon.wait_for_log("previous_run_unclean")
    assert "orphan_told_to_stop" not in idle_daemon.log()


def test_10_a_state_file_of_this_boot_is_believed(idle_daemon: Daemon) -> None:
    """The counterpart, without which the test above would prove nothing."""
    idle_daemon.write_app("")
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as leftover:
        idle_daemon.pidfile.write_text("4194304\n")  # above every pid
        content = state_of(leftover.pid, procs.boot_id(), master=leftover.pid)
        idle_daemon.state_file.write_text(content)
        assert idle_daemon.start().returncode == 0
        assert leftover.wait(5) < 0
    idle_daemon.wait_for_log("orphan_told_to_stop")


# -- 11: at the same instant -------------------------------------------------------------------


def race(idle_daemon: Daemon, rounds: int) -> None:
    idle_daemon.write_app("")
    for number in range(rounds):
        launchers = [
            subprocess.Popen(
                idle_daemon.command("start", "-r", "app"),
                stderr=subprocess.PIPE,
                cwd=idle_daemon.directory,
                env=environment(),
            )
            for _ in range(2)
        ]
        errors = [launcher.communicate(timeout=30)[1].decode() for launcher in launchers]
        codes = [launcher.returncode for launcher in launchers]
        assert sorted(codes) == [0, 73], (number, errors)
        loser = errors[codes.index(73)]
        assert "is already running" in loser or "another jobd is starting" in loser
        idle_daemon._master = psutil.Process(int(idle_daemon.pidfile.read_text()))
        assert idle_daemon.alive()
        assert idle_daemon.state()["pid"] == idle_daemon.pid
        done = idle_daemon.jobctl("stop")
        assert done.returncode == 0, done.stderr
        processes.reap()
        assert not idle_daemon.pidfile.exists()


def test_11_of_two_starts_at_once_one_wins(idle_daemon: Daemon) -> None:
    race(idle_daemon, 3)


@pytest.mark.minutes
@pytest.mark.timeout(1200)
def test_11_of_two_starts_at_once_one_wins_a_hundred_times(idle_daemon: Daemon) -> None:
    race(idle_daemon, 100)


# -- 12: deleted by hand -----------------------------------------------------------------------


def test_12_a_pidfile_deleted_by_hand_hides_nothing_and_comes_back(daemon: StartDaemon) -> None:
    running = daemon("")
    running.pidfile.unlink()
    answer = json.loads(running.jobctl("status", "--json").stdout)
    assert answer["pid"] == running.pid
    again = subprocess.run(
        running.command("run", "-r", "app"),
        capture_output=True,
        text=True,
        cwd=running.directory,
        env=environment(),
        timeout=20,
    )
    assert again.returncode == 73
    assert f"pid {running.pid}" in again.stderr
    # The next write of the state file heals it: the same number, and the lock with it.
    assert running.jobctl("reload", "--wait").returncode == 0
    assert running.pidfile.read_text() == f"{running.pid}\n"
    with running.pidfile.open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    assert running.jobctl("status").returncode == 0
    # And the children, those that were there before included, do not hold the lock.
    running.kill()
    with running.pidfile.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_12_a_file_that_took_the_place_of_the_pidfile_is_left_alone(daemon: StartDaemon) -> None:
    running = daemon("")
    running.pidfile.unlink()
    running.pidfile.write_text("not yours\n")
    running.signal(signal.SIGHUP)
    running.wait_for_log("generation 2 is complete")
    running.leaves_files = True
    assert running.stop() == 0
    assert running.pidfile.read_text() == "not yours\n"
    assert not running.state_file.exists()


_TURNED = """
import os, socket, sys, time

listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
os.seteuid(int(sys.argv[2]))
listener.listen()
os.seteuid(0)  # as by executing a program of root's with the set-user-ID bit
print("listening", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_12_a_socket_in_place_of_a_pidfile_has_nobody_elses_process_signalled(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", _TURNED, str(tmp_path / "jobd.sock"), str(NOBODY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as victim:
        assert victim.stdout is not None
        assert victim.stdout.readline() == b"listening\n"
        done = jobctl(tmp_path / "jobd.pid", "quiet")
        assert victim.poll() is None, "root's own process has got the signal"
        victim.kill()
    assert done.returncode == 6
    assert f"uid {NOBODY} listens on its socket as pid {victim.pid}" in done.stderr


# -- 13: no place for it -----------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["start", "run"])
def test_13_a_missing_directory_is_told_at_the_prompt(idle_daemon: Daemon, verb: str) -> None:
    path = idle_daemon.directory / "missing" / "jobd.pid"
    refused(idle_daemon, verb, path, f"does not exist; create it for uid {os.geteuid()}")


@pytest.mark.parametrize("verb", ["start", "run"])
def test_13_a_read_only_file_system_is_told_at_the_prompt(idle_daemon: Daemon, verb: str) -> None:
    place = idle_daemon.directory / "run"
    place.mkdir()
    idle_daemon.prefix = mounts(f"mount -t tmpfs -o ro none {place}")
    refused(idle_daemon, verb, place / "jobd.pid", "the file system is read-only")


@pytest.mark.parametrize("verb", ["start", "run"])
def test_13_a_directory_of_somebody_else_is_told_at_the_prompt(
    open_directory: Path, server: EmbeddedServer, nobody: Nobody, verb: str
) -> None:
    running = Daemon(open_directory, server.url)
    running.prefix = nobody.prefix
    path = open_directory / "jobd.pid"
    refused(running, verb, path, "uid 65534 may not write there", nobody.environment)


def refused(
    running: Daemon, verb: str, path: Path, why: str, env: dict[str, str] | None = None
) -> None:
    done = subprocess.run(
        [*running.command(verb, "-r", "app"), "--pidfile", str(path), "--logfile", "/dev/null"],
        capture_output=True,
        text=True,
        cwd=running.directory,
        env=env or environment(),
        timeout=20,
    )
    assert done.returncode == 73
    assert why in sentence(done.stderr)
    assert str(path) in done.stderr
    assert not path.exists()


def test_10_the_state_file_of_a_run_before_that_cannot_be_replaced(daemon: StartDaemon) -> None:
    """A disk that is full at the start kept jobctl from the daemon, also when it had room again."""
    running = daemon("")
    running.leaves_files = True
    running.signal(signal.SIGKILL)
    running.wait_ended()
    stale = running.state()
    scratch = running.pidfile.with_name(state_path(running.pidfile).name + ".new")
    scratch.mkdir()
    running.leaves_files = False
    running.run()
    running.wait_for_log("state_not_written")
    running.wait(lambda: running.jobctl("status").returncode == 0, 10, "it is known")
    assert running.state()["pid"] == stale["pid"]
    assert running.jobctl("threads").returncode == 0
    scratch.rmdir()
    running.wait(lambda: running.state()["pid"] == running.pid, 15, "it has been written")
    assert running.log().count("state_not_written") == 1
