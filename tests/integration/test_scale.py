"""Another number of workers, or of their threads, while the daemon runs."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import redis as redis_py

from jobd import Client
from tests.conftest import StartDaemon
from tests.integration.test_reload import processed, settings
from tests.support.daemon import Daemon

APP = """
import os, time
from pathlib import Path
from jobd import job

@job
def nap(seconds):
    Path(f"napping.{os.getpid()}").touch()
    time.sleep(seconds)
"""


def serving(running: Daemon) -> list[int]:
    """The slots with a worker that is ready."""
    workers = running.state().get("workers", ())
    return sorted(worker["slot"] for worker in workers if worker["state"] == "ready")


def wait_serving(running: Daemon, slots: int) -> None:
    running.wait(lambda: serving(running) == list(range(slots)), 10, f"{slots} workers serve")


def push_naps(running: Daemon, seconds: float, count: int = 1) -> None:
    Client(running.url).push_bulk({"class": "app.nap", "args": [[seconds]] * count})


def napping(running: Daemon) -> set[int]:
    """Process ids of the workers that have begun a job."""
    return {int(path.suffix[1:]) for path in running.directory.glob("napping.*")}


@pytest.mark.parametrize("flags", [(), ("--preload",)], ids=["plain", "preload"])
def test_more_and_fewer_workers(
    daemon: StartDaemon, redis: redis_py.Redis, flags: tuple[str, ...]
) -> None:
    running = daemon(APP, "-c", "1", *flags)
    (first,) = running.workers()
    done = running.jobctl("scale", "3")
    assert (done.returncode, done.stdout) == (0, "1 -> 3 workers\n")
    wait_serving(running, 3)
    assert first in running.workers()
    push_naps(running, 0.5, 3)
    running.wait(lambda: len(napping(running)) == 3, 10, "all three work")

    by_slot = {worker["slot"]: worker["pid"] for worker in running.state()["workers"]}
    done = running.jobctl("scale", "1")
    assert done.returncode == 0
    assert done.stdout == "3 -> 1 workers\n" + "".join(
        f"worker.{slot}, pid {by_slot[slot]}, will exit when its jobs have ended\n"
        for slot in (1, 2)
    )
    running.wait(processed(redis, 3), 10, "the jobs end")
    running.wait(lambda: running.workers() == [first], 10, "the first alone stays")
    assert "jobs_given_back" not in running.log()
    running.assert_flat()


@pytest.mark.parametrize("flags", [(), ("--preload",)], ids=["plain", "preload"])
def test_fewer_before_the_new_ones_are_there(daemon: StartDaemon, flags: tuple[str, ...]) -> None:
    running = daemon(APP, *flags)
    (first,) = running.workers()
    for number in ("6", "1", "4", "2", "5", "1"):
        assert running.jobctl("scale", number).returncode == 0
    running.wait(lambda: running.workers() == [first], 15, "the first alone stays")
    running.assert_flat()


def test_one_too_many_that_hangs_in_its_boot_is_not_waited_for_as_for_jobs(
    daemon: StartDaemon,
) -> None:
    running = daemon(f"import os, time\nwhile os.path.exists('hold'): time.sleep(0.05)\n{APP}")
    first = running.workers()
    (running.directory / "hold").touch()
    assert running.jobctl("scale", "2").returncode == 0
    running.wait(lambda: len(running.workers()) == 2, 10, "another one boots")
    assert running.jobctl("scale", "1").returncode == 0
    running.wait(lambda: running.workers() == first, 20, "it has gone")
    assert "child_hung" not in running.log()


def test_a_number_beyond_all_bounds_is_refused(daemon: StartDaemon) -> None:
    """It ended the master."""
    running = daemon(APP)
    done = running.jobctl("scale", "1" + 400 * "0")
    assert done.returncode == 1
    assert "must be at most" in done.stderr
    assert running.alive()


def test_a_worker_that_dies_while_it_leaves_is_not_replaced_and_loses_nothing(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "2", "-c", "1")
    running.wait(lambda: serving(running) == [0, 1], 10, "both serve")
    push_naps(running, 2.0, 2)
    running.wait(lambda: len(napping(running)) == 2, 10, "both work")
    (second,) = (one["pid"] for one in running.state()["workers"] if one["slot"] == 1)
    assert running.jobctl("scale", "1").returncode == 0
    running.expect_in_log("child_died")
    os.kill(second, signal.SIGKILL)
    running.wait(processed(redis, 2), 15, "both jobs are done")
    assert len(running.workers()) == 1


def test_it_lasts_until_the_settings_say_otherwise(idle_daemon: Daemon) -> None:
    running = idle_daemon
    running.write_app(APP)
    settings(running, workers=1, concurrency=1)
    running.run()
    running.wait_ready()
    assert running.jobctl("scale", "2").returncode == 0
    wait_serving(running, 2)
    assert running.jobctl("reload", "--wait").returncode == 0
    wait_serving(running, 2)
    settings(running, workers=3, concurrency=4)
    assert running.jobctl("reload", "--wait").returncode == 0
    wait_serving(running, 3)
    push_naps(running, 60.0, 12)

    def busy() -> Any:
        status = running.jobctl("status", "--json").stdout
        return status.count('"busy": 4') == 3

    running.wait(busy, 10, "four threads in each of three")
    assert running.jobctl("stop", "--timeout", "0").returncode == 0


def test_with_preload_the_threads_change_too(idle_daemon: Daemon) -> None:
    running = idle_daemon
    running.write_app(APP)
    settings(running, workers=1, concurrency=1, preload=True)
    running.run()
    running.wait_ready()
    settings(running, workers=2, concurrency=3, preload=True)
    assert running.jobctl("reload", "--wait").returncode == 0
    wait_serving(running, 2)
    push_naps(running, 60.0, 6)
    running.wait(
        lambda: running.jobctl("status", "--json").stdout.count('"busy": 3') == 2, 10, "all work"
    )
    assert running.jobctl("stop", "--timeout", "0").returncode == 0


def test_while_quiet_the_new_ones_wait_for_the_resume(daemon: StartDaemon) -> None:
    running = daemon(APP)
    assert running.jobctl("quiet").returncode == 0
    assert running.jobctl("scale", "2").returncode == 0
    assert len(running.workers()) == 1
    assert running.jobctl("resume").returncode == 0
    wait_serving(running, 2)


def test_what_cannot_be_is_refused(daemon: StartDaemon) -> None:
    running = daemon(APP, "-c", "1", "-t", "5")
    done = running.jobctl("scale", "100000")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "jobctl: scale: the number of workers must be at most 256, not 100000\n"
    assert running.jobctl("scale", "0").returncode == 2
    push_naps(running, 4.0)
    running.wait(lambda: napping(running), 10, "a job runs")
    running.signal(signal.SIGTERM)
    running.wait_for_log('"state":"stopping"')
    done = running.jobctl("scale", "2")
    assert (done.returncode, done.stderr) == (1, "jobctl: scale: the daemon is stopping\n")
