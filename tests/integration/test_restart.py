"""Rolling restarts that go wrong leave the old workers alone."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor

import redis as redis_py

from jobd import Client
from tests.conftest import StartDaemon

APP = """
from jobd import job

@job
def nothing():
    pass
"""


def test_code_that_does_not_import_aborts_the_roll(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "2")
    old = set(running.workers())
    running.write_app("this is no Python\n")
    running.expect_in_log("SyntaxError")
    done = running.jobctl("restart")
    assert done.returncode == 1
    assert "app.py, line 1" in done.stderr
    assert set(running.workers()) == old
    answer = json.loads(running.jobctl("status", "--json").stdout)
    assert answer["state"] == "running"
    assert "restart failed" in answer["cause"]
    assert [worker["state"] for worker in answer["workers"]] == ["ready", "ready"]
    Client(running.url).push({"class": "app.nothing", "args": []})
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "the old code still runs")


def test_code_that_hangs_at_import_aborts_the_roll(daemon: StartDaemon) -> None:
    running = daemon(APP, "--boot-timeout", "4")
    old = running.workers()
    running.write_app("import time\ntime.sleep(60)\n")
    done = running.jobctl("restart")
    assert done.returncode == 1
    assert "did not get ready in time" in done.stderr
    assert running.workers() == old
    assert "time.sleep(60)" in running.log() or "app.py" in running.log()


def test_a_restart_during_a_restart_is_followed_by_one_more(daemon: StartDaemon) -> None:
    running = daemon(APP, "-w", "2")
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda _: running.jobctl("restart").returncode, range(4)))
    assert codes == [0, 0, 0, 0]

    def generations() -> tuple[set[int], int]:
        answer = json.loads(running.jobctl("status", "--json").stdout)
        return {worker["generation"] for worker in answer["workers"]}, answer["generation"]

    def of_one_generation() -> bool:
        of_workers, newest = generations()
        return of_workers == {newest}

    running.wait(of_one_generation, 10, "the last old worker has left")


def test_quiet_cancels_a_restart(daemon: StartDaemon) -> None:
    running = daemon(APP, "-w", "2")
    running.write_app("import time\ntime.sleep(2)\n" + APP)
    running.signal(signal.SIGHUP)
    running.wait_for_log('"state":"reloading"')
    assert running.jobctl("quiet").returncode == 0
    running.wait_for_log("restart_cancelled")
    running.wait(lambda: running.state()["state"] == "quiet", 10, "the daemon is quiet")
