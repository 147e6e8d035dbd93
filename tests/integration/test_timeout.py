"""Time limits of jobs, with a real worker."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
import redis as redis_py

from jobd import Client, job
from jobd.errors import ArgumentError, JobCancelled, JobTimeout, Shutdown
from jobd.runtime.ipc.shared_memory import Workplace
from jobd.store.inflight import Claimed
from jobd.worker.run import deadlines, interrupts
from jobd.worker.run.deadlines import Deadlines, Limit
from jobd.worker.run.pool import Name, Pool
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon

APP = """
import asyncio, os, time
from pathlib import Path
from jobd import job

def note(text):
    with open("notes", "a") as file:
        file.write(text + "\\n")

@job(timeout=0.3, retry=1)
def slow():
    try:
        while True:
            time.sleep(0.01)
    except Exception:
        note("swallowed")
    finally:
        note("cleaned up")

@job(timeout=0.3, retry=1)
async def coroutine():
    try:
        await asyncio.sleep(30)
    finally:
        note("cleaned up")

@job(timeout=30)
def quick():
    note("quick")

@job(timeout=30)
def forks():
    if os.fork() == 0:
        return
    note("forked")
"""


def failed(redis: redis_py.Redis) -> list[dict[str, Any]]:
    members: Any = redis.zrange("retry", 0, -1)
    return [json.loads(member) for member in members]


def push(running: Daemon, name: str) -> None:
    Client(running.url).push({"class": f"app.{name}", "args": [], "retry": 1})


@pytest.mark.parametrize("name", ["slow", "coroutine"])
def test_a_job_that_takes_too_long_fails(
    daemon: StartDaemon, redis: redis_py.Redis, name: str
) -> None:
    running = daemon(APP, "-c", "1")
    began = time.monotonic()
    push(running, name)
    running.wait(lambda: failed(redis), 10, "it is to be retried")
    assert 0.3 <= time.monotonic() - began < 5
    [entry] = failed(redis)
    assert entry["error_class"].endswith("JobTimeout")
    assert entry["error_message"] == "the job took longer than its timeout of 0.3 s"
    assert (running.directory / "notes").read_text() == "cleaned up\n"
    push(running, "quick")
    running.wait(lambda: redis.get("stat:processed") == b"2", 10, "its thread takes other jobs")


def test_jobs_in_time_are_left_alone_and_forks_do_no_harm(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-c", "4")
    for _ in range(20):
        push(running, "quick")
        push(running, "forks")
    running.wait(lambda: redis.get("stat:processed") == b"40", 20, "all ran")
    assert not failed(redis)


def test_the_exception_never_comes_after_the_limit_has_ended() -> None:
    """It would hit the worker's own code, and the job would never be acknowledged."""
    deadlines = Deadlines(lambda: None)
    timed_out = 0

    def busy(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            deadlines.enforce(time.monotonic() + 0.0005)

    for _ in range(200):
        try:
            deadlines.run(0.001, lambda: busy(0.001))
        except JobTimeout:
            timed_out += 1
        for _ in range(100):
            pass  # it would arrive here
    assert timed_out
    assert deadlines.next == float("inf")


def test_a_limit_that_a_cancellation_keeps_out_is_raised_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The job may have swallowed the cancellation."""
    limits, ident = Deadlines(lambda: None), threading.get_ident()
    seen: list[object] = []

    def swallow() -> None:
        try:
            interrupts.interrupt(ident, JobCancelled)
            for _ in range(100):
                pass  # it arrives here
        except JobCancelled:
            seen.append("swallowed")
        now = time.monotonic() + 60
        limits.enforce(now)
        seen.append(limits.next - now)
        monkeypatch.setattr(interrupts, "DELIVERED", 0.0)
        limits.enforce(limits.next)
        for _ in range(100):
            pass

    try:
        with pytest.raises(JobTimeout, match="longer than its timeout of 30 s"):
            limits.run(30, swallow)
    finally:
        interrupts.take_back(ident, JobCancelled)
    assert seen == ["swallowed", pytest.approx(deadlines.AGAIN)]
    assert limits.next == float("inf")


def test_nothing_is_left_of_a_limit_where_the_exception_comes_as_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next job of the thread would be taken for one past its deadline."""
    deadlines, workplace = Deadlines(lambda: None), Workplace(1, "test")
    page = workplace.page
    end, outcome, looked = deadlines._end, [], threading.Event()

    def end_late(limit: Limit) -> None:
        deadlines.enforce(time.monotonic() + 60)  # it comes in this line, or the next
        end(limit)

    def execute(_job: Claimed, _name: Name) -> None:
        try:
            deadlines.run(30, lambda: None)
        except JobTimeout as error:
            outcome.append((str(error), page.running()[0].deadline))
        looked.set()
        pool.interrupt()
        raise Shutdown

    monkeypatch.setattr(deadlines, "_end", end_late)
    pool = Pool(1, page)
    pool.start(execute, lambda *_: None, lambda *_: None, lambda *_: pytest.fail("it ended well"))
    pool.queue.put(Claimed(1, "default", b"{}"))
    assert looked.wait(10)
    pool._threads[0].join(10)
    workplace.close()
    assert outcome == [("the job took longer than its timeout of 30 s", 0)]
    assert deadlines.overdue(float("inf")) == []


@pytest.mark.parametrize("timeout", [0, -1, True, "1", float("nan"), float("inf")])
def test_a_limit_must_be_a_number_of_seconds(timeout: Any) -> None:
    with pytest.raises(ArgumentError, match="timeout must be a number of seconds above 0"):

        @job(name="timeout.bad", timeout=timeout)
        def bad() -> None: ...


def test_a_timedelta_is_a_limit() -> None:
    @job(name="timeout.good", timeout=timedelta(minutes=2))
    def good() -> None: ...

    assert good._call.definition.timeout == 120.0


def test_the_deadline_is_on_the_scoreboard_and_a_stop_still_gives_the_job_back(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(
        """
        import time
        from jobd import job

        @job(timeout=60)
        def slow():
            time.sleep(60)
        """,
        "-t",
        "0.2",
    )
    Client(running.url).push({"class": "app.slow", "args": []})
    running.wait(lambda: redis.llen("queue:default") == 0, 10, "it runs")
    os.kill(running.pid, signal.SIGTERM)
    assert running.wait_ended() == 0
    assert redis.llen("queue:default") == 1
