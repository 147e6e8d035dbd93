"""Async jobs in a real daemon: stop, crash, dump, hooks, both event loops."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from typing import Any

import psutil
import pytest
import redis as redis_py

from jobd import Client
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon

APP = """
import asyncio, os, signal, subprocess, sys, time
from pathlib import Path
from jobd import death_handlers, job, on

def note(text):
    with open("notes", "a") as file:
        file.write(text + "\\n")

pool = []

@on("startup")
async def begin():
    await asyncio.sleep(0)
    pool.append(asyncio.get_running_loop())
    note("startup")

@on("exit")
async def finish():
    await asyncio.sleep(0)
    note("exit")

@job(name="sleeps")
async def sleeps(name):
    note(f"sleeps {name}")
    try:
        await asyncio.sleep(600)
    finally:
        note(f"woken {name}")

@job(name="deaf")
async def deaf():
    note("deaf")
    while True:
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            note("swallowed")

@job(name="quick")
async def quick(name):
    assert pool == [asyncio.get_running_loop()]
    note(f"quick {name} on {type(pool[0]).__module__.partition('.')[0]}")

@job(name="leaves")
async def leaves():
    asyncio.create_task(asyncio.sleep(600))
    generator = ticks()
    await anext(generator)
    kept.append(generator)
    note("leaves")

kept = []

async def ticks():
    try:
        while True:
            yield 1
    finally:
        note("generator closed")

@job(name="child")
async def child():
    done = await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")
    note(f"child {await done.wait()}")

@job(name="plain")
def plain():
    note("plain")
"""


def push(running: Daemon, name: str, *args: object) -> str:
    jid = Client(running.url).push({"class": name, "args": list(args)})
    assert jid is not None
    return jid


def noted(running: Daemon) -> list[str]:
    path = running.directory / "notes"
    return path.read_text().splitlines() if path.exists() else []


def begun(running: Daemon, *notes: str) -> None:
    for one in notes:
        running.wait(lambda: one in noted(running), 20, one)  # noqa: B023


def waiting(redis: redis_py.Redis) -> list[dict[str, Any]]:
    found: Any = redis.lrange("queue:default", 0, -1)
    return [json.loads(raw) for raw in found]


LOOPS = [
    "asyncio",
    pytest.param(
        "uvloop",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed"
        ),
    ),
]


@pytest.mark.parametrize("loop", LOOPS)
def test_coroutines_run_beside_threads_and_end_with_the_worker(
    daemon: StartDaemon, redis: redis_py.Redis, loop: str
) -> None:
    running = daemon(APP, "-c", "1", "--async-concurrency", "20", "--loop", loop, "-t", "0.5")
    jids = {push(running, "sleeps", number) for number in range(10)}
    begun(running, *[f"sleeps {number}" for number in range(10)])
    push(running, "quick", 1)
    push(running, "child")
    push(running, "plain")
    push(running, "leaves")
    begun(running, f"quick 1 on {loop}", "child 0", "plain", "leaves")
    running.wait(lambda: "0/1+10" in running.jobctl("status").stdout, 10, "status counts them")
    dump = running.jobctl("threads").stdout
    assert "10 of 20 coroutines" in dump
    assert dump.count("in sleeps\n") == 10
    running.wait_for_log('"event":"tasks_left_behind"', 10)
    deaf = push(running, "deaf")
    begun(running, "deaf")
    assert running.stop() == 0
    assert {job["jid"] for job in waiting(redis)} == jids | {deaf}
    assert not redis.zcard("retry")
    notes = noted(running)
    assert {f"woken {number}" for number in range(10)} <= set(notes)
    assert "swallowed" in notes
    assert {"exit", "generator closed"} <= set(notes)
    [told] = [one for one in running.records() if one["event"] == "jobs_do_not_end"]
    assert (told["running"], told["jobs"]) == (1, f"deaf {deaf}")


def test_a_crash_marks_the_coroutines_that_had_started(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-c", "1", "--async-concurrency", "2")
    jids = {push(running, "sleeps", number) for number in range(2)}
    begun(running, "sleeps 0", "sleeps 1")
    late = push(running, "sleeps", 2)
    [worker] = running.workers()
    os.kill(worker, signal.SIGKILL)
    running.wait(lambda: running.workers() and running.workers() != [worker], 20, "another worker")
    running.wait(lambda: len(noted(running)) >= 6, 20, "two run again")

    def crashes() -> dict[str, int]:
        places: Any = [*redis.lrange("queue:default", 0, -1)]
        for key in redis.scan_iter("jobd:inflight:*"):
            places += redis.hvals(key)
        return {job["jid"]: job.get("crashes", 0) for job in map(json.loads, places)}

    running.wait(lambda: len(crashes()) == 3, 10, "all are there")
    assert crashes() == {**dict.fromkeys(jids, 1), late: 0}


def test_middleware_that_needs_threads_is_named_at_the_start(daemon: StartDaemon) -> None:
    app = f"""{APP}
from jobd import server_middleware

def around(job, payload, queue, call_next):
    return call_next()

server_middleware.add(around)
"""
    running = daemon(app, "-c", "1")
    [told] = [one for one in running.records() if one["event"] == "async_jobs_need_threads"]
    assert told["middleware"] == "around"
    running.expect_in_log("async_jobs_need_threads")


def test_a_worker_without_async_jobs_has_no_loop(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon("from jobd import job\n@job(name='plain')\ndef plain(): ...\n", "-c", "1")
    push(running, "plain")
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "it ran")
    dump = running.jobctl("threads").stdout
    assert "asyncio" not in dump
    assert "decider" not in dump
    [worker] = running.workers()
    assert psutil.Process(worker).num_threads() < 10
