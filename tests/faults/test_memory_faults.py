"""Workers that grow, and workers that have done their share: replaced, one at a time."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis as redis_py

from jobd import Client
from tests.conftest import StartDaemon
from tests.faults.memorygroup import MemoryGroup
from tests.support.daemon import Daemon

APP = """
    import time
    from jobd import job

    kept = []

    @job(name="leak")
    def leak(megabytes, seconds):
        kept.append(b"x" * (megabytes << 20))
        linger(seconds)

    def linger(seconds):
        time.sleep(seconds)

    @job(name="nap")
    def nap(milliseconds):
        time.sleep(milliseconds / 1000)
"""


def events(running: Daemon, *names: str) -> list[dict[str, Any]]:
    return [record for record in running.records() if record["event"] in names]


def test_33_above_the_soft_limit_a_worker_is_replaced_once(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "1", "--memory-soft", "150", "--memory-hard", "900")
    (old,) = running.workers()
    Client(running.url).push({"class": "leak", "args": [300, 0]})
    running.wait_for_log(f'"event":"child_exited".*"child_pid":{old},', 20)
    assert [record["child_pid"] for record in events(running, "worker_recycled")] == [old]
    (recycled,) = events(running, "worker_recycled")
    assert "(memory_soft is 150)" in recycled["reason"]
    # First the new one was ready, and then the old one was told to stop.
    (new,) = running.workers()
    story = [
        (record["event"], record.get("child_pid", record["pid"]))
        for record in events(running, "child_ready", "worker_stopping")
    ]
    assert story.index(("child_ready", new)) < story.index(("worker_stopping", old))
    (left,) = events(running, "child_exited")
    assert (left["cause"], left["reason"]) == ("exit code 0", "recycled")
    Client(running.url).push({"class": "nap", "args": [0]})
    running.wait(lambda: redis.get("stat:processed") == b"2", 10, "the new one works")
    assert len(events(running, "worker_recycled")) == 1

    def memory() -> int:
        (worker,) = json.loads(running.jobctl("status", "--json").stdout)["workers"]
        return int(worker["memory"])

    assert 1 << 20 < running.wait(memory, 10, "it has been measured") < 150 << 20


@pytest.mark.timeout(60)
def test_33_above_the_hard_limit_it_is_killed_and_its_jobs_come_back(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "1", "-c", "2", "--memory-hard", "200")
    Client(running.url).push({"class": "leak", "args": [400, 600]})
    running.wait_for_log("memory_hard_exceeded")
    # The next worker does not know the job: it comes to rest in the retry set, with its mark.
    running.write_app("from jobd import job\n\n@job(name='other')\ndef other(): ...\n")
    running.wait_for_log('"event":"child_stacks".* in (leak|linger)')
    running.wait_for_log('"event":"child_died"', 20)
    (death,) = events(running, "child_died")
    assert death["cause"] == "over memory_hard, killed by signal 9 (SIGKILL)"
    assert len(events(running, "memory_hard_exceeded")) == 1
    running.wait(lambda: redis.zcard("retry") == 1, 15, "the job was recovered")
    members: Any = redis.zrange("retry", 0, -1)
    assert json.loads(members[0])["crashes"] == 1


def test_33_above_the_hard_limit_jobs_that_end_in_time_are_done(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "1", "-c", "2", "--memory-hard", "200")
    Client(running.url).push({"class": "leak", "args": [400, 3]})
    running.wait_for_log("memory_hard_exceeded")
    running.wait_for_log('"event":"child_died".*"cause":"exit code 0"', 8)
    assert redis.get("stat:processed") == b"1"


def test_34_of_workers_that_reach_their_limit_together_one_at_a_time_is_replaced(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "3", "-c", "2", "--max-jobs", "20")
    jids = Client(running.url).push_bulk({"class": "nap", "args": [[5]] * 2000})
    running.wait(lambda: len(events(running, "child_exited")) >= 3, 40, "three were replaced")
    running.wait(lambda: redis.get("stat:processed") == b"2000", 40, "all jobs are done")
    assert len(jids) == 2000
    recycling = 0
    for record in events(running, "worker_recycled", "child_exited"):
        recycling += 1 if record["event"] == "worker_recycled" else -1
        assert 0 <= recycling <= 1
    assert not events(running, "child_died")


def test_a_limit_below_the_start_size_is_said_and_harms_nobody(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    """Workers were recycled without end, and an innocent job was buried as a poison pill."""
    running = daemon(APP, "-w", "1", "--memory-soft", "3", "--memory-hard", "4")
    running.wait_for_log('"event":"memory_limit_too_low".*"setting":"memory_soft"')
    running.wait_for_log('"event":"memory_limit_too_low".*"setting":"memory_hard"')
    (worker,) = running.workers()
    Client(running.url).push({"class": "nap", "args": [4000]})
    running.wait(lambda: redis.get("stat:processed") == b"1", 15, "the job is done")
    assert running.workers() == [worker]


HUNGRY = """
    from pathlib import Path
    from jobd import job

    @job(name="eat")
    def eat(megabytes):
        if not Path("eaten").exists():
            Path("eaten").touch()
            b"x" * (megabytes << 20)
"""


def test_50_a_worker_that_the_kernel_kills_for_want_of_memory(
    memory_group: MemoryGroup, daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(HUNGRY, "-w", "2", "-c", "1")
    before = running.workers()
    keeper = running.keeper()
    memory_group.add([running.pid, *(child.pid for child in running.children())])
    Client(running.url).push({"class": "eat", "args": [400]})
    running.wait_for_log('"event":"child_died"', 20)
    (death,) = events(running, "child_died")
    assert memory_group.kills == 1
    assert death["child_pid"] in before
    assert death["cause"] == "killed by signal 9 (SIGKILL)"
    assert death["reason"].startswith("by the kernel, perhaps out of memory (see dmesg), or")
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "the job runs again")
    running.wait(lambda: len(running.workers()) == 2, 10, "there is a new worker")
    assert set(before) - set(running.workers()) == {death["child_pid"]}
    assert running.keeper() == keeper
    assert memory_group.kills == 1
