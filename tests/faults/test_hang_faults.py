"""Processes that do not move: hung ones are ended, stopped ones are not, and a pause of the whole
machine is nobody's fault."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import psutil
import pytest
import redis as redis_py

from jobd import Client
from tests.conftest import StartDaemon
from tests.faults.deaddisk import READ, DeadDisk, waiting
from tests.support.daemon import Daemon
from tests.support.processes import freeze

LIMIT = 4.0
"""``worker_timeout`` of these daemons."""

PAUSE = 8.0
"""Seconds, longer than that limit, and than any turn of a master that runs."""

APP = """
    import ctypes, time
    from pathlib import Path
    from jobd import job

    @job(name="hold")
    def hold(seconds):
        Path("begun").touch()
        ctypes.PyDLL(None).sleep(seconds)  # PyDLL does not let go of the interpreter

    @job(name="nap")
    def nap(seconds):
        Path("begun").touch()
        time.sleep(seconds)
"""


def push(running: Daemon, name: str, seconds: int) -> None:
    Client(running.url).push({"class": name, "args": [seconds]})
    running.wait((running.directory / "begun").exists, 10, "the job runs")


def shown(running: Daemon) -> dict[str, Any]:
    """The first worker in ``jobctl status``."""
    worker: dict[str, Any] = json.loads(running.jobctl("status", "--json").stdout)["workers"][0]
    return worker


def events(running: Daemon) -> list[str]:
    return [record["event"] for record in running.records()]


def signals_sent(running: Daemon) -> list[str]:
    return [r["signal"] for r in running.records() if r["event"] == "child_signalled"]


def test_35_the_gil_held_in_c_costs_the_worker_its_life_and_the_job_one_attempt(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "1", "-c", "2", "--worker-timeout", str(LIMIT))
    running.expect_in_log("Fatal Python error: Aborted")
    (old,) = running.workers()
    push(running, "hold", 300)
    # The next worker does not know the job: it comes to rest in the retry set, with its mark.
    running.write_app("from jobd import job\n\n@job(name='other')\ndef other(): ...\n")
    running.wait(lambda: "does not react" in shown(running)["reason"], 10, "status tells of it")
    running.wait_for_log('"event":"child_stacks".* in hold')
    running.wait(lambda: shown(running)["trouble"] == "hung", 10, "status tells more")
    running.wait_for_log('"event":"child_died"', 20)
    (death,) = (record for record in running.records() if record["event"] == "child_died")
    assert death["cause"] == "hung, killed by signal 6 (SIGABRT)"
    assert signals_sent(running) == ["SIGTERM", "SIGABRT"]
    assert_recovered(running, redis)
    assert running.workers() != [old]
    assert [event for event in events(running) if event == "child_hung"] == ["child_hung"]


def test_35_c_code_that_ends_after_the_term_costs_no_attempt(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "1", "-c", "2", "--worker-timeout", str(LIMIT))
    # Longer than it takes to the TERM, shorter than to the ABRT.
    push(running, "hold", int(LIMIT) + 5)
    running.wait_for_log('"event":"child_died"', 20)
    assert signals_sent(running) == ["SIGTERM"]
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "the job was done")
    assert redis.llen("queue:default") == redis.zcard("retry") == 0


DEAF = """
    import ctypes
    from pathlib import Path
    from jobd import job

    IGNORE = ctypes.c_void_p(1)

    @job(name="hold")
    def hold(seconds):
        # As a library does that has handlers of its own. Only the process itself can do it.
        ctypes.CDLL(None).signal(6, IGNORE)
        Path("begun").touch()
        ctypes.PyDLL(None).sleep(seconds)
"""


def assert_recovered(running: Daemon, redis: redis_py.Redis) -> None:
    """The one job was running when its worker died, and is in the retry set for it."""
    running.wait(lambda: redis.zcard("retry") == 1, 15, "the job was recovered")
    members: Any = redis.zrange("retry", 0, -1)
    assert json.loads(members[0])["crashes"] == 1
    running.wait(lambda: len(running.workers()) == 1, 10, "there is a new worker")


def test_35_one_that_hears_neither_term_nor_abrt_is_killed(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(DEAF, "-w", "1", "-c", "2", "--worker-timeout", str(LIMIT))
    (old,) = running.workers()
    push(running, "hold", 300)
    running.write_app("from jobd import job\n\n@job(name='other')\ndef other(): ...\n")
    running.wait_for_log('"event":"child_died"', 30)
    (death,) = (record for record in running.records() if record["event"] == "child_died")
    assert death["cause"] == "hung, killed by signal 9 (SIGKILL)"
    assert death["child_pid"] == old
    assert signals_sent(running) == ["SIGTERM", "SIGABRT", "SIGKILL"]
    assert_recovered(running, redis)
    assert "Fatal Python error" not in running.log()


# A job reaches the main thread by a pending call only.
DEAD_DISK = """
    import ctypes, os, threading
    from pathlib import Path
    from jobd import job

    read = threading.Event()

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
    def read_disk(_nothing):
        os.waitpid(READ, 0)
        read.set()
        return 0

    @job(name="load")
    def load(_seconds):
        ctypes.pythonapi.Py_AddPendingCall(read_disk, None)
        Path("begun").touch()
        read.wait()
""".replace("READ", READ)


def test_35_one_that_waits_in_the_kernel_gets_twice_the_time(
    dead_disk: DeadDisk, daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(DEAD_DISK, "-w", "1", "-c", "2", "--worker-timeout", str(LIMIT))
    dead_disk.attach()
    (worker,) = running.workers()
    push(running, "load", 0)
    running.wait(lambda: waiting(worker) == [worker], 5, "the main thread waits in the kernel")
    running.wait_for_log('"event":"child_waits_in_kernel"', 2 * LIMIT)
    assert shown(running)["trouble"] == "waits in the kernel"
    assert waiting(worker) == [worker]
    dead_disk.answer()
    running.wait_for_log('"event":"child_reacts_again"')
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "the job was done")
    assert running.workers() == [worker]
    assert shown(running)["trouble"] == ""
    assert signals_sent(running) == []
    assert "child_hung" not in events(running)


def test_35_one_that_waits_in_the_kernel_for_longer_is_ended(
    dead_disk: DeadDisk, daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(DEAD_DISK, "-w", "1", "-c", "2", "--worker-timeout", str(LIMIT))
    running.expect_in_log("Fatal Python error: Aborted")
    dead_disk.attach()
    (worker,) = running.workers()
    push(running, "load", 0)
    running.write_app("from jobd import job\n\n@job(name='other')\ndef other(): ...\n")
    running.wait(lambda: waiting(worker) == [worker], 5, "the main thread waits in the kernel")
    running.wait_for_log('"event":"child_died"', 2 * LIMIT + 20)
    silence = {r["event"]: r["seconds"] for r in running.records() if "seconds" in r}
    assert LIMIT <= silence["child_waits_in_kernel"] < 2 * LIMIT <= silence["child_hung"]
    # The main thread hears nothing there, but for an ABRT any thread will do.
    assert signals_sent(running) == ["SIGTERM", "SIGABRT"]
    (death,) = (record for record in running.records() if record["event"] == "child_died")
    assert death["cause"] == "hung, killed by signal 6 (SIGABRT)"
    assert " in read_disk\n" in death["stack"], "where it has waited"
    assert_recovered(running, redis)


def test_05_a_stopped_worker_is_reported_and_left_alone(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "1", "--worker-timeout", str(LIMIT))
    (worker,) = running.workers()
    freeze(worker)
    running.wait(lambda: shown(running)["trouble"] == "stopped", 10, "status tells of it")
    assert running.state()["workers"][0]["trouble"] == "stopped"
    threads = running.jobctl("threads")
    assert threads.returncode == 4
    assert "it is stopped (SIGSTOP or a terminal)" in threads.stdout
    running.wait(lambda: shown(running)["beat_age"] > 2.5 * LIMIT, 30, "the limit has long passed")
    assert psutil.Process(worker).status() == psutil.STATUS_STOPPED
    os.kill(worker, signal.SIGTERM)
    assert psutil.Process(worker).status() == psutil.STATUS_STOPPED
    assert running.workers() == [worker]
    os.kill(worker, signal.SIGCONT)
    running.wait_for_log(f'"event":"child_exited".*"child_pid":{worker},"cause":"exit code 0"')
    assert signals_sent(running) == []
    assert events(running).count("child_stopped") == 1
    running.wait(lambda: len(running.workers()) == 1, 10, "there is a new worker")


def test_05_a_stopped_worker_does_not_hold_up_the_end(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "1", "-t", "0", "--worker-timeout", str(LIMIT))
    push(running, "nap", 300)
    (worker,) = running.workers()
    freeze(worker)
    assert running.stop(30) == 0
    assert redis.llen("queue:default") == 1, "its job was recovered"


def test_06_a_master_that_was_stopped_kills_nobody(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "2", "--worker-timeout", str(LIMIT))
    before = running.workers()
    freeze(running.pid)
    time.sleep(PAUSE)  # It is the time itself that matters.
    running.signal(signal.SIGCONT)
    running.wait_for_log("master_was_paused")
    assert running.jobctl("status").returncode == 0
    assert running.workers() == before
    assert "child_silent" not in events(running)


@pytest.mark.parametrize("first", ["master", "workers"])
def test_41_a_pause_of_all_processes_kills_nobody(
    daemon: StartDaemon, redis: redis_py.Redis, first: str
) -> None:
    running = daemon(APP, "-w", "3", "--worker-timeout", str(LIMIT))
    before = running.workers()
    push(running, "nap", 1)
    group = [running.pid, *(child.pid for child in running.children())]
    for pid in group:
        freeze(pid)
    time.sleep(PAUSE)
    for pid in group if first == "master" else reversed(group):
        os.kill(pid, signal.SIGCONT)
    running.wait_for_log("master_was_paused")
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "the job went on")
    running.wait(lambda: shown(running)["beat_age"] < 2, 10, "all is well")
    assert running.workers() == before
    assert signals_sent(running) == []


def test_41_a_pause_does_not_count_as_time_to_boot(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon("", "-w", "1", "--boot-timeout", "5")
    running.write_app("""
        import time
        from pathlib import Path
        while not Path("go").exists():
            time.sleep(0.02)
    """)
    os.kill(running.workers()[0], signal.SIGKILL)
    running.wait_for_log(
        '"event":"child_forked".*"child":"worker.0".*\n(.*\n)*.*"event":"child_died"'
    )
    running.wait(lambda: len(running.workers()) == 1, 10, "the next one boots")
    (booting,) = running.workers()
    group = [running.pid, *(child.pid for child in running.children())]
    for pid in group:
        freeze(pid)
    time.sleep(PAUSE)
    for pid in group:
        os.kill(pid, signal.SIGCONT)
    running.wait_for_log("master_was_paused")
    (running.directory / "go").touch()
    running.wait_for_log(f'"event":"child_ready".*"child_pid":{booting}')
