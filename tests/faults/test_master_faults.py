"""Rows 2, 3 and 32: the master is killed, or gets nothing more from the kernel."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import redis as redis_py

from jobd import Client
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support import processes
from tests.support.daemon import Daemon
from tests.support.ledger import assert_conserved, whereabouts
from tests.support.notes import noting
from tests.support.others import Nobody
from tests.support.processes import freeze

# Each execution is noted by the identity of its worker: who fetches under which name.
APP = noting("""
    @job(name="note")
    def note(milliseconds):
        notes.rpush("test:begun", f"{current_job().jid} {os.getpid()}")
        time.sleep(milliseconds / 1000)
        notes.rpush("test:ran", current_job().jid)

    @job(name="hog")
    def hog():
        # Nothing of its process runs while it does, once.
        if notes.incr("test:hogs") == 1:
            sum(range(10**12))
""")


def push(url: str, milliseconds: int, jobs: int) -> list[str]:
    calls: list[list[object]] = [[milliseconds]] * jobs
    return [jid for jid in Client(url).push_bulk({"class": "note", "args": calls}) if jid]


def ran(redis: redis_py.Redis) -> Counter[str]:
    jids: Any = redis.lrange("test:ran", 0, -1)
    return Counter(jid.decode() for jid in jids)


def test_02_workers_of_a_killed_master_give_back_and_leave(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    running = daemon(APP, "-w", "2", "-c", "2", "-t", "2", env={"NOTES": server.url})
    running.leaves_files = True
    running.exit_codes = None
    jids = push(server.url, 60_000, 6)
    running.wait(lambda: redis.llen("test:begun") >= 4, 10, "four jobs run")
    workers = [psutil.Process(pid) for pid in running.workers()]
    running.signal(signal.SIGKILL)
    running.wait_ended()
    with running.pidfile.open() as file:  # free at once: no child holds it
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    running.wait(lambda: running.log().count('"event":"master_gone"') == 2, 1.5, "both noticed")
    running.wait(lambda: not any(map(lives, workers)), 20, "they have left")
    # They have given everything back themselves: no keeper is alive to do it for them.
    assert redis.llen("queue:default") == 6
    assert_conserved(redis, jids, [])

    running.leaves_files = False
    running.exit_codes = {0}
    running.run("-w", "2", "-t", "0", env={"NOTES": server.url})
    running.wait_ready()
    running.wait_for_log("previous_run_unclean")
    running.wait(lambda: redis.llen("test:begun") >= 8, 10, "they run again")


def lives(process: psutil.Process) -> bool:
    processes.reap()
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_03_a_start_in_the_second_of_the_kill_ends_the_old_workers_first(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    running = daemon(APP, "-w", "2", "-c", "2", "-t", "10", env={"NOTES": server.url})
    jids = push(server.url, 300, 60)
    running.wait(lambda: redis.llen("test:ran") >= 4, 10, "jobs run")
    Client(server.url).push({"class": "hog", "args": []})  # this one will not notice the death
    running.wait(lambda: redis.get("test:hogs") == b"1", 20, "the hog runs")
    old = [psutil.Process(child.pid) for child in running.children()]
    running.signal(signal.SIGKILL)
    running.wait_ended()
    running.run("-w", "2", "-c", "2", env={"NOTES": server.url})
    running.wait(running.children, 20, "the new master forks")  # after the 5 s that all may have
    assert not [process for process in old if lives(process)], "before that the old ones had gone"
    running.wait_ready()
    running.wait(lambda: set(ran(redis)) == set(jids), 30, "all jobs ran")
    running.wait(lambda: whereabouts(redis) == {}, 10, "nothing is held any more")
    # Only what ran at the kill has run twice.
    assert sum(ran(redis).values()) - 60 <= 4
    assert redis.get("test:hogs") == b"2"
    assert "orphan_killed" in running.log()


def test_03_a_detached_daemon_too(idle_daemon: Daemon, redis: redis_py.Redis) -> None:
    idle_daemon.write_app("")
    assert idle_daemon.start().returncode == 0
    keeper = idle_daemon.keeper()
    (worker,) = idle_daemon.workers()
    freeze(worker)
    os.kill(idle_daemon.pid, signal.SIGKILL)
    idle_daemon.wait_ended()
    assert idle_daemon.pidfile.exists()
    assert idle_daemon.start("-w", "2").returncode == 0
    assert not psutil.pid_exists(worker) or psutil.Process(worker).status() == "zombie"
    assert keeper not in [child.pid for child in idle_daemon.children()]
    assert "previous_run_unclean" in idle_daemon.log()


# -- 32: the kernel gives nothing more ---------------------------------------------------------


def cpu(pid: int) -> float:
    """Seconds of processor time that the process has used."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def test_32_a_master_without_descriptors_waits_and_recovers(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon("", "-w", "2")
    master = psutil.Process(running.pid)
    worker, other = running.workers()
    soft, hard = master.rlimit(psutil.RLIMIT_NOFILE)
    master.rlimit(psutil.RLIMIT_NOFILE, (3, hard))
    try:
        os.kill(worker, signal.SIGKILL)
        running.wait_for_log('"event":"fork_failed".*Too many open files')
        # A client that cannot be accepted stays in the queue: that must not make the loop spin.
        began = cpu(running.pid), time.monotonic()
        asked = running.jobctl("status", timeout=20)
        assert asked.returncode == 5, asked.stderr
        used = (cpu(running.pid) - began[0]) / (time.monotonic() - began[1])
        assert used < 0.3, f"the master uses {used:.0%} of a processor"
        assert running.workers() == [other]
        assert running.alive()
    finally:
        master.rlimit(psutil.RLIMIT_NOFILE, (soft, hard))
    running.wait(lambda: len(running.workers()) == 2, 40, "the slot is filled again")
    assert running.jobctl("status").returncode == 0
    assert other in running.workers()


def test_32_a_master_that_cannot_fork_waits_and_recovers(
    open_directory: Path, server: EmbeddedServer, redis: redis_py.Redis, nobody: Nobody
) -> None:
    """RLIMIT_NPROC does not bind root, hence the other user. The kernel's ENOMEM comes out of the
    same call as its EAGAIN, as an OSError; there is no way to ask for it."""
    running = Daemon(open_directory, server.tcp_url)
    open_directory.chmod(0o777 | 0o1000)
    running.prefix = nobody.prefix
    running.write_app("")
    running.run("-w", "2", env=nobody.environment)
    running.wait_ready()
    try:
        worker, other = running.workers()
        limit_processes(nobody, running.pid, "1")
        os.kill(worker, signal.SIGKILL)
        running.wait_for_log('"event":"fork_failed".*temporarily unavailable')
        assert running.workers() == [other]
        assert running.jobctl("status").returncode == 0
        limit_processes(nobody, running.pid, "hard")
        running.wait(lambda: len(running.workers()) == 2, 40, "the slot is filled again")
        assert other in running.workers()
    finally:
        running.check()


def limit_processes(nobody: Nobody, pid: int, soft: str) -> None:
    """Set how many processes the user of *pid* may have, for *pid*; by that user itself, because
    not every root may do it."""
    script = (
        "import resource\n"
        f"_, hard = resource.prlimit({pid}, resource.RLIMIT_NPROC)\n"
        f"resource.prlimit({pid}, resource.RLIMIT_NPROC, ({soft}, hard))\n"
    )
    done = nobody("-c", script)
    assert done.returncode == 0, done.stderr
