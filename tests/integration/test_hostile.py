"""Jobs, applications, clients and operators that do what they should not."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis as redis_py

from jobd import Client
from jobd.runtime.process import processes
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon, environment
from tests.support.processes import freeze

APP = """
import asyncio, os, subprocess, sys, time
from pathlib import Path
from jobd import job

@job
def nap(seconds):
    Path("napping").touch()
    time.sleep(seconds)

@job
def terminate_a_child():
    child = subprocess.Popen(["sleep", "60"])
    child.terminate()
    try:
        child.wait(5)
        Path("terminated").touch()
    finally:
        child.kill()
        child.wait()

@job
def fork_and_return():
    if child := os.fork():
        os.waitpid(child, 0)
        Path("forked").touch()

@job(retry=False)
async def leave(how):
    if how == "exit":
        sys.exit(3)
    asyncio.get_running_loop().stop()

@job
async def wait_a_moment():
    await asyncio.sleep(0.01)

def channel():
    import gc
    from jobd.runtime.ipc.channel import Channel
    return next(one for one in gc.get_objects() if isinstance(one, Channel) and one.fileno() > 0)

@job(retry=False)
def write_to_the_master(text):
    os.write(channel().fileno(), text.encode())

@job(retry=False)
def close_the_channel():
    os.close(channel().fileno())
"""


def push(running: Daemon, name: str, *args: object) -> None:
    Client(running.url).push({"class": f"app.{name}", "args": list(args)})


def processed(running: Daemon, redis: redis_py.Redis, count: int) -> None:
    running.wait(
        lambda: redis.get("stat:processed") == str(count).encode(), 10, f"{count} jobs processed"
    )


def test_what_a_job_starts_can_be_terminated(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "-c", "1")
    push(running, "terminate_a_child")
    running.wait((running.directory / "terminated").exists, 8, "the child has ended")


@pytest.mark.parametrize(
    "text",
    [
        "no JSON\n",
        "[]\n",
        "{}\n",
        '{"type":[]}\n',
        '{"type":"failed"}\n',
        '{"type":"booting","note":5}\n',
        '{"type":' + "[" * 3000 + "]" * 3000 + "}\n",
    ],
)
def test_nothing_that_a_worker_says_harms_the_master(
    daemon: StartDaemon, redis: redis_py.Redis, text: str
) -> None:
    running = daemon(APP, "-t", "1")
    (worker,) = running.workers()
    push(running, "write_to_the_master", text)
    running.wait_for_log("child_sent_invalid_message")
    running.wait(lambda: running.workers() not in ([], [worker]), 10, "a new worker")
    push(running, "nap", 0)
    running.wait((running.directory / "napping").exists, 10, "it works on")


def test_a_worker_that_cannot_hear_leaves_in_good_order(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-t", "4", "-c", "2")
    (worker,) = running.workers()
    push(running, "nap", 1.5)
    push(running, "close_the_channel")
    running.wait(lambda: running.workers() not in ([], [worker]), 8, "a new worker")
    processed(running, redis, 2)
    assert "SIGKILL" not in running.log()


def test_jobctl_does_not_hang_before_a_master_that_hangs(daemon: StartDaemon) -> None:
    running = daemon(APP)
    freeze(running.pid)
    waiting = []
    for _ in range(64):  # what tools that gave up have left in the queue of the socket
        sock = socket.socket(socket.AF_UNIX)
        sock.setblocking(False)
        waiting.append(sock)
        try:
            sock.connect(str(running.socket))
        except BlockingIOError:
            break
    assert running.jobctl("status", timeout=10).returncode == 5
    assert running.jobctl("stop", timeout=20).returncode == 0
    for sock in waiting:
        sock.close()


def test_a_stop_that_finds_no_place_is_graceful_all_the_same(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-t", "10")
    push(running, "nap", 6)
    running.wait((running.directory / "napping").exists, 10, "the job runs")
    crowd = [socket.socket(socket.AF_UNIX) for _ in range(16)]
    for sock in crowd:
        sock.connect(str(running.socket))
        sock.sendall(b'{"command":"stop","timeout":-1')  # no end: it sits there for its 5 s
    refused = running.jobctl("status")
    assert refused.returncode == 5
    assert "16 clients" in refused.stderr
    done = running.jobctl("stop")
    assert (done.returncode, done.stderr) == (0, "")
    assert redis.get("stat:processed") == b"1"
    for sock in crowd:
        sock.close()


@pytest.mark.parametrize("seconds", ["inf", "nan", "1e10", "-1"])
def test_a_stop_with_an_absurd_timeout_is_refused(tmp_path: Path, seconds: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jobctl", "-P", str(tmp_path / "x"), "stop", "--timeout", seconds],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a process of another user")
def test_a_pidfile_of_a_user_cannot_name_a_process_of_another(tmp_path: Path) -> None:
    """Else whoever may write to the run directory could have root kill anything."""
    pidfile = tmp_path / "jobd.pid"
    with subprocess.Popen(["sleep", "60"]) as victim:
        known = {
            "pid": victim.pid,
            "ticks": processes.start_ticks(victim.pid),
            "boot_id": processes.boot_id(),
            "uid": 0,
            "version": "0",
            "state": "running",
            "generation": 1,
        }
        pidfile.write_text(f"{victim.pid}\n")
        (tmp_path / "jobd.state").write_text(json.dumps(known))
        for file in (pidfile, tmp_path / "jobd.state"):
            os.chown(file, 65534, 65534)
        with pidfile.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = subprocess.run(
                [sys.executable, "-m", "jobctl", "-P", str(pidfile), "stop"],
                capture_output=True,
                text=True,
                env=environment(),
                check=False,
                timeout=100,
            )
        assert done.returncode == 6, done.stderr
        assert victim.poll() is None
        victim.kill()


def test_a_start_that_was_stopped_is_no_success(idle_daemon: Daemon) -> None:
    idle_daemon.write_app("import time\ntime.sleep(3)\n")
    command = idle_daemon.command("start", "-r", "app")
    with subprocess.Popen(
        command,
        cwd=idle_daemon.directory,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as launcher:
        idle_daemon.wait(lambda: idle_daemon.state().get("workers"), 10, "a worker boots")
        os.kill(idle_daemon.state()["pid"], signal.SIGTERM)
        said = launcher.communicate(timeout=20)[1]
    assert launcher.returncode == 130
    assert "before it was ready" in said


def test_daemons_whose_pidfiles_share_a_stem_do_not_meet(daemon: StartDaemon) -> None:
    running = daemon(APP)
    other = running.directory / "jobd.two"
    flags = ("--pidfile", str(other), "--logfile", str(running.directory / "two.log"))
    second = Daemon(running.directory, running.url)
    command = [*second.command("run", "-r", "app"), *flags]
    with subprocess.Popen(command, cwd=running.directory, env=environment()) as process:
        running.wait(
            lambda: process.poll() is not None or (running.directory / "jobd.two.state").exists(),
            10,
            "the second one is there",
        )
        assert process.poll() is None
        process.terminate()


def test_no_working_directory_is_said_in_a_sentence(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    for module, arguments in (("jobd", "run -r app"), ("jobctl", "status")):
        script = f"cd {gone} && rmdir {gone} && exec {sys.executable} -m {module} {arguments}"
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, env=environment(), check=False
        )
        gone.mkdir()
        assert done.returncode != 0
        assert "Traceback" not in done.stderr
        assert "directory" in done.stderr


def test_an_application_that_takes_the_signals_does_not_get_them(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    greedy = "import signal\nfor s in (15, 10, 12): signal.signal(s, signal.SIG_DFL)\n"
    greedy += "signal.set_wakeup_fd(-1)\n"
    running = daemon(greedy + APP)
    push(running, "nap", 1)
    running.wait((running.directory / "napping").exists, 10, "the job runs")
    (worker,) = running.workers()
    os.kill(worker, signal.SIGTERM)
    running.wait_for_log("worker_told_to_stop")
    processed(running, redis, 1)


def test_a_bad_sentinel_url_is_said_in_a_sentence(idle_daemon: Daemon) -> None:
    idle_daemon.write_app("")
    idle_daemon.leaves_files = True
    idle_daemon.url = "redis+sentinel://h"
    done = idle_daemon.start()
    assert done.returncode == 78, done.stderr
    assert "does not name a service" in done.stderr


def test_nothing_polls_while_a_worker_is_awaited(daemon: StartDaemon) -> None:
    running = daemon(APP)
    (worker,) = running.workers()
    assert running.jobctl("quiet").returncode == 0
    os.kill(worker, signal.SIGKILL)
    running.wait(lambda: not running.workers(), 5, "it has gone")
    before = turns(running.pid)
    time.sleep(2)
    assert turns(running.pid) - before < 12


def turns(pid: int) -> int:
    """How often the process has slept."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
