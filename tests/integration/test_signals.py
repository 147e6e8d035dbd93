"""What the signals do to a running daemon."""

from __future__ import annotations

import os
import signal

import psutil
import pytest
import redis as redis_py

from jobd import Client
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon
from tests.support.processes import freeze

APP = """
import time
from pathlib import Path
from jobd import job

@job
def nap(seconds):
    Path("napping").touch()
    time.sleep(seconds)
"""


def push_nap(running: Daemon, seconds: float) -> None:
    Client(running.url).push({"class": "app.nap", "args": [seconds]})
    running.wait((running.directory / "napping").exists, 10, "the job runs")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop(daemon: StartDaemon, number: signal.Signals) -> None:
    running = daemon(APP, "-w", "2")
    for _ in range(5):
        running.signal(number)
    assert running.wait_ended() == 0


def test_ctrl_c_says_what_it_waits_for_and_what_another_one_does(daemon: StartDaemon) -> None:
    running = daemon(APP, "-t", "60")
    push_nap(running, 60)
    running.signal(signal.SIGINT)
    running.wait_for_log("waiting_for_jobs.*worker.0 runs app.nap [0-9a-f]{24}.*Ctrl-C again")
    running.signal(signal.SIGQUIT)
    assert running.wait_ended() == 0


def test_a_stop_without_jobs_waits_for_none(daemon: StartDaemon) -> None:
    running = daemon(APP)
    running.signal(signal.SIGINT)
    assert running.wait_ended() == 0
    assert "waiting_for_jobs" not in running.log()


def test_stop_lets_jobs_end(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP)
    push_nap(running, 1.0)
    running.signal(signal.SIGTERM)
    assert running.wait_ended() == 0
    assert redis.get("stat:processed") == b"1"
    assert redis.llen("queue:default") == 0


def test_stop_gives_unfinished_jobs_back_at_the_deadline(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-t", "0.3")
    push_nap(running, 30)
    running.signal(signal.SIGTERM)
    assert running.wait_ended() == 0
    assert redis.llen("queue:default") == 1


def test_a_stopped_worker_is_killed_without_being_let_go(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    """It was let go for a last dump, ran on while that looked at its threads, and crashed."""
    running = daemon(APP, "-t", "0")
    (worker,) = running.workers()
    freeze(worker)
    running.signal(signal.SIGTERM)
    assert running.wait_ended(30) == 0
    assert "killed by signal 9 (SIGKILL)" in running.log()
    assert '"held":"it is stopped' in running.log()
    assert "child_last_stacks" not in running.log()


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTSTP])
def test_quiet_and_resume(
    daemon: StartDaemon, redis: redis_py.Redis, number: signal.Signals
) -> None:
    running = daemon(APP)
    running.signal(number)
    running.wait(lambda: running.state()["state"] == "quiet", 10, "the daemon is quiet")
    Client(running.url).push({"class": "app.nap", "args": [0]})
    assert running.jobctl("resume").returncode == 0
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "the job has run")
    running.wait(lambda: running.state()["state"] == "running", 5, "the state file says so")


def test_usr2_reopens_the_logs_of_all_processes(daemon: StartDaemon) -> None:
    running = daemon(APP, "-w", "2")
    moved = running.log_file.with_suffix(".log.1")
    running.log_file.rename(moved)
    running.signal(signal.SIGUSR2)
    running.wait_for_log("logs_reopened")
    new = running.log_file.stat().st_ino
    for child in [psutil.Process(running.pid), *running.children()]:
        inodes = {os.stat(f"/proc/{child.pid}/fd/{f}").st_ino for f in fds(child.pid)}  # noqa: PTH116
        assert new in inodes
        assert moved.stat().st_ino not in inodes


def fds(pid: int) -> list[str]:
    return os.listdir(f"/proc/{pid}/fd")  # noqa: PTH208


def test_ttin_dumps_every_process_into_the_log(daemon: StartDaemon) -> None:
    running = daemon(APP, "-w", "2")
    push_nap(running, 1)
    running.signal(signal.SIGTTIN)
    running.wait_for_log("thread_dump_complete")
    dumps = {
        r["of"]: r["stack"]
        for r in running.records()
        if r["event"] == "thread_dump" and r["role"] == "master"
    }
    assert set(dumps) == {"master", "keeper", "worker.0", "worker.1"}
    assert "app.nap" in dumps["worker.0"] + dumps["worker.1"]


def test_hup_replaces_every_worker(daemon: StartDaemon) -> None:
    running = daemon(APP, "-w", "2")
    old = running.workers()
    running.signal(signal.SIGHUP)
    running.wait_for_log("generation 2 is complete")
    running.wait(
        lambda: len(running.workers()) == 2 and not set(old) & set(running.workers()),
        10,
        "only new workers",
    )


def test_a_worker_stops_by_its_own_signal_and_is_replaced_at_once(daemon: StartDaemon) -> None:
    running = daemon(APP)
    (worker,) = running.workers()
    os.kill(worker, signal.SIGTERM)
    running.wait(lambda: running.workers() not in ([], [worker]), 5, "a new worker")
    assert '"event":"child_backoff"' not in running.log()


def test_a_killed_keeper_is_replaced(daemon: StartDaemon) -> None:
    running = daemon(APP)
    keeper = running.keeper()
    assert keeper is not None
    os.kill(keeper, signal.SIGKILL)
    running.wait(lambda: running.keeper() not in (None, keeper), 5, "a new keeper")
