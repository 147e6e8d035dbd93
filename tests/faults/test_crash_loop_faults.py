"""Workers that crash soon after each start, for ever."""

from __future__ import annotations

import json
import re

import pytest
import redis as redis_py

from jobd import Client
from jobd.api import Api
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

    @job(name="die")
    def die(padding):
        os._exit(3)
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
    first = running.jobctl("status").stdout.splitlines()[0]
    assert re.match(r"DEGRADED: 1\d crashes within 60 s; the last: worker\.\d exit code 3$", first)
    running.wait(lambda: running.state()["degraded"], 5, "the state file says so")

    api = Api(running.url)
    (told,) = running.wait(api.troubles, 5, "dashboards are told")
    assert told.daemon.endswith(f":{running.pid}")
    assert re.match(r"1\d crashes within 60 s", told.text)

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
    running.wait(lambda: not api.troubles(), 70, "the loop is over, as dashboards are told")


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


@pytest.mark.parametrize("padding", ["", "x" * 100_000], ids=["short", "long"])
def test_30_everything_that_tells_of_a_crash_names_the_job(
    daemon: StartDaemon, redis: redis_py.Redis, padding: str
) -> None:
    running = daemon(APP, "-w", "1", "-c", "2")
    client = Client(running.url)
    # A crash counts for both that ran, and each is buried at its third: six make nine crashes at
    # least, a loop of one worker takes six.
    jids = [client.push({"class": "die", "args": [padding]}) for _ in range(6)]
    running.wait_for_log('"event":"crash_loop"', 60)
    records = running.records()
    for event in ("child_died", "jobs_recovered"):
        told = [record["running"] for record in records if record["event"] == event]
        assert told
        assert all(any(f"die {jid}" in text for jid in jids) for text in told), (event, told)
    (pill, *_) = [one for one in records if one["event"] == "job_buried_as_poison_pill"]
    assert (pill["class"], pill["queue"], pill["crashes"]) == ("die", "default", 3)
    assert pill["jid"] in jids
    status = running.jobctl("status").stdout
    assert re.match(r"DEGRADED: \d+ crashes within 60 s, all of them while die ran; ", status)
    assert re.search(r"^worker\.0 .* is started again in ", status, re.M)
    crash = r"^! worker\.0 has crashed: exit code 3 while it ran die \w{24}"
    assert re.search(crash, status, re.M)
