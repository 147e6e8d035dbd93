"""Workers that crash soon after each start, for ever."""

from __future__ import annotations

import json

import redis as redis_py

from jobd import Client
from tests.conftest import StartDaemon

APP = """
    import os, threading, time
    from pathlib import Path
    from jobd import job, on

    @on("startup")
    def crash_when_told():
        def wait():
            while not Path("crash").exists():
                time.sleep(0.02)
            time.sleep(0.7)  # so long that it is ready before
            os._exit(3)
        threading.Thread(target=wait, daemon=True).start()

    @job(name="nap")
    def nap(seconds):
        time.sleep(seconds)
"""


def test_30_a_crash_loop_is_shown_and_slowed_down(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "2")
    keeper = running.keeper()
    (running.directory / "crash").touch()
    running.wait_for_log('"event":"crash_loop"', 50)
    status = json.loads(running.jobctl("status", "--json").stdout)
    assert status["state"] == "running"
    assert status["degraded"]
    assert "! DEGRADED" in running.jobctl("status").stdout
    running.wait(lambda: running.state()["degraded"], 5, "the state file says so")

    def all_wait() -> bool:
        answer = json.loads(running.jobctl("status", "--json").stdout)
        waiting = {slot["role"]: slot["seconds"] for slot in answer["backing_off"]}
        return len(waiting) == 2 and min(waiting.values()) > 15

    running.wait(all_wait, 20, "both slots wait at the cap")
    assert running.keeper() == keeper, "the others are not concerned"
    (running.directory / "crash").unlink()
    running.wait(lambda: len(running.workers()) == 2, 40, "they come back")
    Client(running.url).push({"class": "nap", "args": [0]})
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "and work")
    crashes = [r for r in running.records() if r["event"] == "child_died"]
    assert 10 <= len(crashes) <= 12


def test_30_the_daemon_may_end_instead_and_gives_its_jobs_back(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "1", "--exit-on-crash-loop", "-t", "0")
    running.exit_codes = {70}
    (running.directory / "crash").touch()
    jid = Client(running.url).push(
        {"class": "nap", "args": [600]},
    )
    assert jid
    assert running.wait_ended(60) == 70
    assert "exit_on_crash_loop" in running.log()
    assert redis.llen("queue:default") + redis.zcard("dead") == 1
    assert not list(redis.scan_iter("jobd:inflight:*"))
