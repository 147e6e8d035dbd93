"""Rows 14 to 17: the log's disk is full, the log is gone, or moves all the time.

A log costs no job, whatever happens to it; and what could not be written is counted.
"""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
import redis as redis_py

from jobd import Client
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon, descriptors
from tests.support.others import Nobody, mounts

APP = """
    from jobd import job

    @job(name="count")
    def count(n):
        pass
"""


def push(url: str, jobs: int, first: int = 0) -> None:
    client = Client(url)
    for start in range(first, first + jobs, 100):
        calls: list[list[object]] = [[n] for n in range(start, min(start + 100, first + jobs))]
        client.push_bulk({"class": "count", "args": calls})


def processed(redis: redis_py.Redis) -> int:
    return int(redis.get("stat:processed") or 0)


def wait_processed(running: Daemon, redis: redis_py.Redis, least: int, seconds: float = 20) -> None:
    running.wait(lambda: processed(redis) >= least, seconds, f"{least} jobs")


def inside(running: Daemon, path: Path) -> Path:
    """*path* as the daemon sees it, which has mounts of its own."""
    return Path(f"/proc/{running.pid}/root{path}")


def records(*logs: Path) -> list[dict[str, object]]:
    lines = "".join(log.read_text() for log in logs).splitlines()
    return [json.loads(line) for line in lines]  # each is whole


# -- 14: no space left -------------------------------------------------------------------------


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def full_disk(running: Daemon, redis: redis_py.Redis, seconds: float) -> None:
    """Have the disk of the log full for *seconds*, while jobs run all the time."""
    logs = running.directory / "logs"
    logs.mkdir()
    running.prefix = mounts(f"mount -t tmpfs -o size=64k none {logs}")
    running.log_file = logs / "jobd.log"
    running.write_app(APP)
    running.run("-c", "2", "--log-level", "info")
    running.wait_ready()
    log = inside(running, running.log_file)
    filler = inside(running, logs / "filler")
    with pytest.raises(OSError, match="No space"):
        fill(filler)
    # The last page of the log itself still has room; a page of records is 20 or so.
    jobs = 200
    push(running.url, jobs)
    wait_processed(running, redis, jobs)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        push(running.url, 100, jobs)
        jobs += 100
        wait_processed(running, redis, jobs)
    workers = running.workers()
    trouble = f"log records are lost: {running.log_file}: No space left on device"
    checked = running.jobctl("status", "--check")
    assert (checked.returncode, trouble in checked.stdout) == (10, True), checked.stdout
    assert trouble in running.jobctl("status").stdout
    filler.unlink()
    push(running.url, 100, jobs)
    jobs += 100
    wait_processed(running, redis, jobs)
    pattern = re.compile(r"(\d+) log records were lost: the file could not be written")
    running.wait(lambda: pattern.search(log.read_text()), 15, "the number of lost records")
    assert running.workers() == workers
    told = running.output.read_text()
    why = "(No space left on device|the write was incomplete)"
    assert re.search(rf"cannot write to the log file {running.log_file}: {why}; \d+ records", told)
    content = log.read_text()
    found = [json.loads(line) for line in content.splitlines() if line.endswith("}")]
    done = sum(record["event"] == "job_done" for record in found)
    lost = sum(
        int(match[1])
        for record in found
        if record["role"] == "worker.0" and (match := pattern.search(json.dumps(record)))
    )
    # Every record is either there or counted; the worker may have lost one or two others as well.
    assert 0 < done < jobs
    assert jobs <= done + lost <= jobs + 5
    # No line but a cut-off one is damaged.
    assert len(content.splitlines()) - len(found) <= 2
    assert running.stop() == 0


def test_14_a_full_disk_costs_no_job_and_the_lost_lines_are_counted(
    idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    full_disk(idle_daemon, redis, 0)


@pytest.mark.minutes
def test_14_a_disk_that_is_full_for_half_a_minute(
    idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    full_disk(idle_daemon, redis, 30)


# -- 15: gone ----------------------------------------------------------------------------------


def test_15_a_log_that_was_removed_or_renamed_is_made_anew(daemon: StartDaemon) -> None:
    removed, renamed = daemon("", "-w", "2"), daemon("", "-w", "2")
    removed.log_file.unlink()
    renamed.log_file.rename(renamed.directory / "moved.log")

    def all_write_to(running: Daemon) -> bool:
        """Whether every process has the new file open, and none the old one."""
        pids = [running.pid, *(child.pid for child in running.children())]
        logs = [
            [path for path in descriptors(pid) if "jobd.log" in path or "moved.log" in path]
            for pid in pids
        ]
        return all(paths == [str(running.log_file)] for paths in logs)

    began = time.monotonic()
    for running in removed, renamed:
        left = began + 12 - time.monotonic()
        running.wait(lambda: all_write_to(running), left, "all have the new file")  # noqa: B023
        assert running.log_file.exists()


# -- 16: the new one cannot be opened ----------------------------------------------------------


def test_16_a_log_that_cannot_be_opened_leaves_the_old_one_in_use(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP)
    old = running.directory / "old.log"
    running.log_file.rename(old)
    running.log_file.mkdir()
    old_stays(running, redis, old, "it is a directory")
    running.log_file.rmdir()


def old_stays(running: Daemon, redis: redis_py.Redis, old: Path, why: str) -> None:
    """The reopening fails in every process, and each goes on with the *old* file."""
    done = running.jobctl("reopen-logs")
    assert done.returncode == 1
    assert "cannot open the log file" in done.stderr
    for name in ("worker.0", "keeper"):
        assert re.search(rf"cannot open the log file .*{why}.*{name} \(pid \d+\)", done.stderr)
    running.signal(signal.SIGUSR2)
    running.wait(lambda: "logs_not_reopened" in old.read_text(), 5, "it is told in the old log")
    before = old.read_text().count('"event":"job_done"')
    push(running.url, 10)
    wait_processed(running, redis, 10)
    running.wait(
        lambda: old.read_text().count('"event":"job_done"') == before + 10, 5, "the old log goes on"
    )
    running.assert_flat()


def test_16_a_disk_without_room_for_another_file(
    idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    running = idle_daemon
    logs = running.directory / "logs"
    logs.mkdir()
    # The root directory of the file system is one file, the log another.
    running.prefix = mounts(f"mount -t tmpfs -o nr_inodes=2 none {logs}")
    running.log_file = logs / "jobd.log"
    running.write_app(APP)
    running.run()
    running.wait_ready()
    old = inside(running, logs / "old.log")
    inside(running, running.log_file).rename(old)
    old_stays(running, redis, old, "No space left on device")


def test_16_a_directory_in_which_a_service_user_may_not_write(
    open_directory: Path, server: EmbeddedServer, redis: redis_py.Redis, nobody: Nobody
) -> None:
    running = Daemon(open_directory, server.tcp_url)
    running.write_app(APP)
    run, logs = open_directory / "run", open_directory / "logs"
    for directory in run, logs:
        directory.mkdir()
        os.chown(directory, 65534, 65534)
    running.pidfile, running.state_file, running.socket = (
        run / f"jobd.{suffix}" for suffix in ("pid", "state", "sock")
    )
    running.log_file = logs / "jobd.log"
    running.prefix = nobody.prefix
    running.run(env=nobody.environment)
    running.wait_ready()
    try:
        # As logrotate without `create`, in a directory that somebody has made root's.
        os.chown(logs, 0, 0)
        old = logs / "old.log"
        running.log_file.rename(old)
        old_stays(running, redis, old, "uid 65534 may not write there")
    finally:
        running.check()


# -- 17: moving all the time -------------------------------------------------------------------


def rotations(
    daemon: StartDaemon, redis: redis_py.Redis, *, jobs: int, moves: int, signals: int
) -> None:
    """Move the log *moves* times under load, and send *signals* USR2, in bursts after each."""
    running = daemon(APP, "-w", "2", "-c", "2", "--log-level", "info")
    pusher = threading.Thread(target=push, args=(running.url, jobs))
    pusher.start()
    old: list[Path] = []
    sent = 0
    for number in range(moves):
        wait_processed(running, redis, (number + 1) * jobs // (moves + 2), 60)
        old.append(running.directory / f"log.{number}")
        running.log_file.rename(old[-1])
        for _ in range(signals // moves):
            running.signal(signal.SIGUSR2)
            sent += 1
        running.wait(running.log_file.exists, 5, "a new file")
    pusher.join()
    assert sent == signals
    wait_processed(running, redis, jobs, 60)
    children = [running.pid, *(child.pid for child in running.children())]
    running.wait(
        lambda: all(str(running.log_file) in descriptors(pid) for pid in children),
        5,
        "all processes have the newest file",
    )
    running.assert_flat()
    assert running.stop() == 0
    found = records(*old, running.log_file)
    done = Counter(record["jid"] for record in found if record["event"] == "job_done")
    assert len(done) == jobs
    assert set(done.values()) == {1}


def test_17_no_line_is_lost_while_the_log_moves_and_usr2_rains(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    rotations(daemon, redis, jobs=3000, moves=10, signals=100)


@pytest.mark.minutes
def test_17_a_thousand_usr2_and_ten_rotations(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    rotations(daemon, redis, jobs=20_000, moves=10, signals=1000)


def test_17_a_flood_of_usr2_and_ttin_leaves_no_descriptor(daemon: StartDaemon) -> None:
    running = daemon("")
    for _ in range(300):
        running.signal(signal.SIGUSR2)
        running.signal(signal.SIGTTIN)
    running.wait_for_log("thread_dump_complete")
    running.assert_flat(10)
