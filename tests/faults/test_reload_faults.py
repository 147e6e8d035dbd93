"""Rows 18 to 20: reloads again and again, with code that does not work, and beside other
requests.

A reload that fails leaves the old workers alone; one that is asked for during another one follows
it, once; and a stop or a quiet is stronger.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest
import redis as redis_py

from jobd import Client
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon
from tests.support.ledger import whereabouts
from tests.support.notes import noting

APP = noting("""
    @job
    def nothing():
        pass

    @job(name="note")
    def note(milliseconds):
        time.sleep(milliseconds / 1000)
        notes.rpush("test:ran", current_job().jid)
""")


class Load(threading.Thread):
    """Pushes *rate* jobs a second until told to end."""

    def __init__(self, url: str, milliseconds: int, rate: int) -> None:
        super().__init__(daemon=True)
        self.jids: list[str] = []
        self._client = Client(url)
        self._milliseconds = milliseconds
        self._pause = 0.05
        self._portion = max(1, round(rate * self._pause))
        self._ending = threading.Event()

    def run(self) -> None:
        calls: list[list[object]] = [[self._milliseconds]] * self._portion
        while not self._ending.wait(self._pause):
            jids = self._client.push_bulk({"class": "note", "args": calls})
            self.jids.extend(jid for jid in jids if jid is not None)

    def stop(self) -> None:
        self._ending.set()
        self.join()


def ran(redis: redis_py.Redis) -> Counter[str]:
    jids: Any = redis.lrange("test:ran", 0, -1)
    return Counter(jid.decode() for jid in jids)


def generations(running: Daemon) -> tuple[set[int], int]:
    """The generations that workers are of, and the newest one."""
    answer = json.loads(running.jobctl("status", "--json").stdout)
    return {worker["generation"] for worker in answer["workers"]}, answer["generation"]


def wait_for_one_generation(running: Daemon, seconds: float = 10) -> int:
    def one() -> int:
        of_workers, newest = generations(running)
        return newest if of_workers == {newest} else 0

    found: int = running.wait(one, seconds, "the last old worker has left")
    return found


def memory(pid: int) -> int:
    return int(psutil.Process(pid).memory_full_info().uss)


# -- 18: again and again -----------------------------------------------------------------------


def reload_again_and_again(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer, times: int
) -> None:
    running = daemon(APP, "-w", "2", "-c", "2", "--log-level", "info", env={"NOTES": server.url})
    load = Load(server.url, 5, 100)
    load.start()
    sizes: list[int] = []
    for number in range(1, times + 1):
        running.signal(signal.SIGHUP)
        running.wait_for_log(f'"cause":"generation {number + 1} is complete"', 30)
        running.assert_flat()
        sizes.append(memory(running.pid))
    load.stop()
    assert wait_for_one_generation(running) == times + 1
    running.wait(lambda: len(running.children()) == 3, 10, "two workers and the keeper")
    running.wait(lambda: set(ran(redis)) == set(load.jids), 30, "all jobs ran")
    running.wait(lambda: whereabouts(redis) == {}, 10, "nothing is held")
    assert set(ran(redis).values()) == {1}, "none was given back"
    assert not [r for r in running.records() if r["event"] in ("child_died", "child_killed")]
    # The master's own memory settles in the first few reloads.
    if times >= 20:
        assert sizes[-1] < sizes[times // 10] + (2 << 20), sizes


def test_18_five_reloads_leave_no_trace(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    reload_again_and_again(daemon, redis, server, 5)


@pytest.mark.minutes
@pytest.mark.timeout(1800)
def test_18_two_hundred_reloads_leave_no_trace(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    reload_again_and_again(daemon, redis, server, 200)


def test_18_two_hundred_hups_at_once_are_one_reload_and_one_more(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    running = daemon(APP, "-w", "2", "-c", "2", env={"NOTES": server.url})
    load = Load(server.url, 5, 100)
    load.start()
    for _ in range(200):
        running.signal(signal.SIGHUP)
    running.wait(
        lambda: running.state()["state"] == "running" and running.state()["generation"] > 1,
        30,
        "the last reload is complete",
    )
    load.stop()
    # The first, and one for all that came while it went on; a signal more if it came in between.
    assert 2 <= wait_for_one_generation(running) <= 4
    running.wait(lambda: set(ran(redis)) == set(load.jids), 30, "all jobs ran")


def test_18_a_reload_during_a_reload_is_followed_by_one_more(daemon: StartDaemon) -> None:
    running = daemon(APP, "-w", "2")
    with ThreadPoolExecutor(4) as pool:
        codes = list(pool.map(lambda _: running.jobctl("reload", "--wait").returncode, range(4)))
    assert codes == [0, 0, 0, 0]
    wait_for_one_generation(running)


# -- 19: code that does not work ---------------------------------------------------------------

BROKEN = {
    "syntax error": ("this is no Python\n", "app.py, line 1"),
    "sys.exit": ("import sys\nsys.exit(3)\n", "app"),
    "os._exit": ("import os\nos._exit(3)\n", "exit code 3"),
    "killed": ("import os\nos.kill(os.getpid(), 9)\n", "SIGKILL"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_19_code_that_cannot_be_imported_aborts_the_roll(
    daemon: StartDaemon, redis: redis_py.Redis, case: str
) -> None:
    running = daemon(APP, "-w", "2")
    old = set(running.workers())
    source, why = BROKEN[case]
    running.write_app(source)
    running.expect_in_log("SyntaxError", "SystemExit")
    done = running.jobctl("reload", "--wait")
    assert done.returncode == 1
    assert why in done.stderr
    assert set(running.workers()) == old
    answer = json.loads(running.jobctl("status", "--json").stdout)
    assert answer["state"] == "running"
    assert "reload failed" in answer["cause"]
    assert answer["reload_trouble"] == answer["cause"]
    assert [worker["state"] for worker in answer["workers"]] == ["ready", "ready"]
    Client(running.url).push({"class": "app.nothing", "args": []})
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "the old code still runs")


def test_19_code_that_hangs_at_import_aborts_the_roll(daemon: StartDaemon) -> None:
    running = daemon(APP, "--boot-timeout", "4")
    old = running.workers()
    running.write_app("import time\ntime.sleep(60)\n")
    began = time.monotonic()
    done = running.jobctl("reload", "--wait")
    assert done.returncode == 1
    assert 4 <= time.monotonic() - began < 20, "not the minute that it hangs"
    assert "did not get ready in time" in done.stderr
    assert running.workers() == old
    assert "time.sleep(60)" in running.log() or "app.py" in running.log()


# -- 20: beside other requests -----------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.3])
def test_20_the_stop_wins_over_a_reload(daemon: StartDaemon, seconds: float) -> None:
    running = daemon(APP, "-w", "2")
    running.signal(signal.SIGHUP)
    if seconds:
        time.sleep(seconds)  # another moment of the roll each time
    else:
        running.wait_for_log('"state":"reloading"')
    running.signal(signal.SIGTERM)
    running.signal(signal.SIGHUP)
    assert running.wait_ended() == 0
    log = running.log()
    after_stop = log[log.index('"state":"stopping"') :]
    assert "child_forked" not in after_stop
    assert '"state":"reloading"' not in after_stop


def test_20_a_hup_during_a_stop_is_refused(daemon: StartDaemon) -> None:
    running = daemon(
        """
        import time
        from pathlib import Path
        from jobd import job

        @job(name="nap")
        def nap():
            Path("began").touch()
            time.sleep(1.5)
        """,
        "-t",
        "10",
    )
    Client(running.url).push({"class": "nap", "args": []})
    running.wait((running.directory / "began").exists, 5, "the job runs")
    running.signal(signal.SIGTERM)
    running.wait_for_log('"state":"stopping"')
    running.signal(signal.SIGHUP)
    running.wait_for_log('"event":"reload_refused".*it is stopping')
    assert running.jobctl("reload", "--wait").returncode == 1
    assert running.wait_ended() == 0
    assert "generation 2" not in running.log()


def test_20_quiet_cancels_a_reload(daemon: StartDaemon) -> None:
    running = daemon(APP, "-w", "2")
    running.write_app("import time\ntime.sleep(2)\n" + APP)
    running.signal(signal.SIGHUP)
    running.wait_for_log('"state":"reloading"')
    assert running.jobctl("quiet").returncode == 0
    running.wait_for_log("reload_cancelled")
    running.wait(lambda: running.state()["state"] == "quiet", 10, "the daemon is quiet")
