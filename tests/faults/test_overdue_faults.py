"""Jobs that go on after their timeout, whatever is raised in them: their worker is replaced, its
other jobs are not disturbed, and the stuck ones have failed."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

import pytest
import redis as redis_py

from jobd import Client
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon
from tests.support.ledger import whereabouts

APP = """
    import asyncio, ctypes, os, time
    from pathlib import Path
    from jobd import job

    def note(text):
        with open("notes", "a") as file:
            file.write(text + "\\n")

    @job(name="stubborn", timeout=0.5)
    def stubborn():
        note("stubborn")
        while True:
            try:
                time.sleep(0.02)
            except BaseException:
                pass

    @job(name="in_c", timeout=0.5)
    def in_c():
        note("in_c")
        ctypes.CDLL(None).sleep(600)  # CDLL lets go of the interpreter

    @job(name="deaf", timeout=0.5)
    async def deaf():
        note("deaf")
        while True:
            try:
                await asyncio.sleep(0.02)
            except BaseException:
                pass

    @job(name="blocks_the_loop", timeout=0.5)
    async def blocks_the_loop():
        note("blocks_the_loop")
        time.sleep(600)

    @job(name="waits")
    def waits():
        note("waits")
        while not Path("go").exists():
            time.sleep(0.02)
        note("has waited")

    @job(name="in_time", timeout=0.3, retry=False)
    def in_time(seconds):
        time.sleep(seconds)

    @job(name="untimed")
    def untimed(seconds):
        note(f"untimed in {os.getpid()}")
        time.sleep(seconds)
"""


def push(running: Daemon, name: str, *args: object, **fields: Any) -> str:
    jid = Client(running.url).push({"class": name, "args": list(args), **fields})
    assert jid is not None
    return jid


def noted(running: Daemon) -> list[str]:
    path = running.directory / "notes"
    return path.read_text().splitlines() if path.exists() else []


def begun(running: Daemon, *names: str) -> None:
    for name in names:
        running.wait(lambda: name in noted(running), 10, f"{name} runs")  # noqa: B023


def records(running: Daemon, event: str) -> list[dict[str, Any]]:
    return [record for record in running.records() if record["event"] == event]


def entry(redis: redis_py.Redis, key: str) -> dict[str, Any]:
    """The only job of a sorted set."""
    members: Any = redis.zrange(key, 0, -1)
    [member] = members
    found: dict[str, Any] = json.loads(member)
    return found


def gone(running: Daemon, worker: int) -> None:
    running.wait_for_log(
        f'"event":"child_exited".*"child_pid":{worker},"cause":"exit code 0","reason":"recycled"',
        20,
    )


def test_the_worker_of_a_job_that_nothing_ends_is_replaced_and_its_other_job_finishes(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "1", "-c", "3", "--job-kill-grace", "1")
    (old,) = running.workers()
    jid = push(running, "stubborn", backtrace=True)
    sibling = push(running, "waits")
    begun(running, "stubborn", "waits")
    running.wait(
        lambda: f"job {jid} is " in running.jobctl("status").stdout, 10, "status tells of it"
    )
    running.wait_for_log('"event":"worker_stopping"', 15)
    (new,) = (worker for worker in running.workers() if worker != old)
    # The new one works, and the old one waits for the job that is well.
    quick = push(running, "in_time", 0)
    running.wait(lambda: quick not in whereabouts(redis), 10, "the new one works")
    places = whereabouts(redis)
    assert sorted(places) == sorted([jid, sibling])
    assert all(place.startswith("jobd:inflight:") for [place] in places.values())
    (running.directory / "go").touch()
    gone(running, old)
    assert running.workers() == [new]
    *first, last = noted(running)
    assert (sorted(first), last) == (["stubborn", "waits"], "has waited")
    assert whereabouts(redis) == {jid: ["retry"]}
    failure = entry(redis, "retry")
    assert failure["error_class"] == "jobd.errors.JobTimeout"
    assert failure["error_message"].startswith("the job took longer than its timeout of 0.5 s")
    assert failure["retry_count"] == 0
    assert "crashes" not in failure
    [told] = records(running, "job_overdue")
    assert (told["class"], told["jid"], told["child_pid"]) == ("stubborn", jid, old)
    assert told["seconds"] >= 1
    [stacks] = records(running, "child_stacks")
    assert f"stubborn {jid} from default" in stacks["stack"]
    [failed] = records(running, "job_failed")
    assert (failed["class"], failed["jid"], failed["outcome"]) == ("stubborn", jid, "retry")
    assert "in stubborn" in json.dumps(failed), "it says where the job was"
    # The two that were done, and this one.
    assert (redis.get("stat:processed"), redis.get("stat:failed")) == (b"3", b"1")


@pytest.mark.parametrize("name", ["in_c", "deaf", "blocks_the_loop"])
def test_it_is_the_same_whatever_the_job_is_stuck_in(
    daemon: StartDaemon, redis: redis_py.Redis, name: str
) -> None:
    running = daemon(APP, "-w", "1", "-c", "2", "--job-kill-grace", "1")
    (old,) = running.workers()
    jid = push(running, name)
    begun(running, name)
    gone(running, old)
    assert whereabouts(redis) == {jid: ["retry"]}
    assert entry(redis, "retry")["error_class"] == "jobd.errors.JobTimeout"
    assert noted(running) == [name]


def test_without_retries_it_is_buried(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "-w", "1", "-c", "2", "--job-kill-grace", "1")
    (old,) = running.workers()
    jid = push(running, "stubborn", retry=0)
    gone(running, old)
    assert whereabouts(redis) == {jid: ["dead"]}
    assert entry(redis, "dead")["error_class"] == "jobd.errors.JobTimeout"


def test_a_worker_without_a_free_thread_is_replaced_as_well(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "1", "-c", "2", "--job-kill-grace", "1", "-t", "600")
    (old,) = running.workers()
    jids = [push(running, "stubborn"), push(running, "in_c")]
    begun(running, "stubborn", "in_c")
    behind = push(running, "untimed", 0)
    running.wait(lambda: behind not in whereabouts(redis), 20, "the new worker takes what waits")
    gone(running, old)
    assert whereabouts(redis) == {jid: ["retry"] for jid in jids}
    # A stop does not wait for such a job either, though the time of a stop is ten minutes here.
    jid = push(running, "stubborn")
    running.wait(lambda: noted(running).count("stubborn") == 2, 10, "one more runs")
    assert running.stop(20) == 0
    assert whereabouts(redis) == {jid: ["retry"] for jid in [*jids, jid]}


def test_jobs_without_a_timeout_are_not_touched(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "-w", "1", "-c", "1", "--job-kill-grace", "1")
    (worker,) = running.workers()
    # On the thread of jobs that had one: the first ends in time, the second does not.
    push(running, "in_time", 0)
    push(running, "in_time", 1)
    push(running, "untimed", 4)
    running.wait(lambda: redis.get("stat:processed") == b"3", 20, "all have ended")
    assert redis.get("stat:failed") == b"1"
    assert noted(running) == [f"untimed in {worker}"]
    assert running.workers() == [worker]
    assert records(running, "job_overdue") == records(running, "worker_recycled") == []


def test_a_stop_fails_a_job_past_its_timeout_and_gives_the_others_back(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "1", "-c", "2", "-t", "1")
    stuck = push(running, "stubborn")
    waits = push(running, "waits")
    begun(running, "stubborn", "waits")
    began = time.monotonic()
    running.signal(signal.SIGTERM)
    assert running.wait_ended() == 0
    assert time.monotonic() - began >= 1, "within the grace it might still have ended"
    assert whereabouts(redis) == {stuck: ["retry"], waits: ["queue:default"]}
    assert entry(redis, "retry")["error_class"] == "jobd.errors.JobTimeout"
    assert (redis.get("stat:processed"), redis.get("stat:failed")) == (b"2", b"2")


def test_a_quiet_daemon_keeps_its_workers_until_it_is_resumed(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "1", "-c", "1", "--job-kill-grace", "1")
    (old,) = running.workers()
    jid = push(running, "stubborn")
    begun(running, "stubborn")
    assert running.jobctl("quiet").returncode == 0
    running.wait_for_log('"event":"job_overdue"', 15)
    assert records(running, "worker_recycled") == []
    assert running.jobctl("resume").returncode == 0
    gone(running, old)
    assert whereabouts(redis) == {jid: ["retry"]}
    [recycled] = records(running, "worker_recycled")
    assert recycled["reason"] == "a job of it goes on after its timeout"


def test_of_a_worker_that_is_killed_it_is_recovered_like_any_other(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "1", "-c", "1", "--job-kill-grace", "600")
    (old,) = running.workers()
    jid = push(running, "stubborn")
    begun(running, "stubborn")
    # The next worker does not know the job: it comes to rest in the retry set, with its mark.
    running.write_app("from jobd import job\n\n@job(name='other')\ndef other(): ...\n")
    os.kill(old, signal.SIGKILL)
    running.wait(lambda: whereabouts(redis) == {jid: ["retry"]}, 15, "it was recovered")
    assert entry(redis, "retry")["crashes"] == 1
