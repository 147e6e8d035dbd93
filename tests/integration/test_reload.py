"""Reloads: new settings come in, jobs finish, and what goes wrong leaves the old workers alone."""

from __future__ import annotations

import functools
import json
import os
import signal
from collections.abc import Callable

import redis as redis_py

from jobd import Client
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon

APP = """
from jobd import job

@job
def nothing():
    pass
"""


# --- settings --------------------------------------------------------------------------------


NAPS = """
import os, time
from jobd import current_job, job

@job(queue="first")
def first(seconds=0.0):
    time.sleep(seconds)

@job
def held():
    while not os.path.exists("go"):
        time.sleep(0.02)

@job(queue="second")
def second():
    pass
"""


def settings(running: Daemon, **values: object) -> None:
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in values.items()]
    (running.directory / "jobd.toml").write_text("".join(lines))


def with_settings(running: Daemon, **values: object) -> Daemon:
    running.write_app(NAPS)
    settings(running, **values)
    running.run()
    return running.wait_ready()


def push(running: Daemon, name: str, queue: str, *args: object) -> None:
    Client(running.url).push({"class": f"app.{name}", "args": list(args), "queue": queue})


def let_go(running: Daemon) -> None:
    """Ends the jobs that are held."""
    (running.directory / "go").touch()


def processed(redis: redis_py.Redis, jobs: int) -> Callable[[], bool]:
    return lambda: redis.get("stat:processed") == b"%d" % jobs


def test_new_settings_come_in(idle_daemon: Daemon, redis: redis_py.Redis) -> None:
    running = with_settings(idle_daemon, queues=["first"])
    push(running, "first", "first")
    running.wait(processed(redis, 1), 10, "the first queue is served")
    push(running, "second", "second")
    settings(running, queues=["first", "second"], poll_interval=0.1)
    before = running.keeper()
    assert running.jobctl("reload", "--wait").returncode == 0
    running.wait(processed(redis, 2), 10, "the second queue is served, too")
    running.wait(lambda: running.keeper() not in (None, before), 10, "a keeper with new settings")
    Client(running.url).push({"class": "app.first", "args": [], "queue": "first", "at": 1.0})
    running.wait(processed(redis, 3), 10, "which promotes what is due")


def test_a_reload_that_changes_no_setting_leaves_the_keeper_alone(daemon: StartDaemon) -> None:
    running = daemon(APP)
    before = running.keeper()
    assert running.jobctl("reload", "--wait").returncode == 0
    assert running.keeper() == before


def test_a_mistake_in_the_settings_changes_nothing(
    idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    running = with_settings(idle_daemon, queues=["first"])
    workers = running.workers()
    settings(running, queues=["first"], timout=3)
    done = running.jobctl("reload", "--wait")
    assert done.returncode == 1
    assert "timout is not a setting" in done.stderr
    assert "the settings stay as they were" in done.stderr
    running.wait_for_log('"event":"reload_refused".*control socket.*timout is not a setting')
    running.signal(signal.SIGHUP)
    running.wait_for_log('"event":"reload_refused".*signal HUP.*timout is not a setting')
    assert "! reload refused: the settings stay" in running.jobctl("status").stdout
    assert running.workers() == workers
    push(running, "first", "first")
    running.wait(processed(redis, 1), 10, "it works as before")
    settings(running, queues=["first"])
    assert running.jobctl("reload", "--wait").returncode == 0
    assert "refused" not in running.jobctl("status").stdout


def test_nobody_is_told_of_a_daemon_that_has_stopped(
    idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    running = with_settings(idle_daemon, queues=["first"])
    settings(running, timout=3)
    assert running.jobctl("reload", "--wait").returncode == 1
    told = ("jobd:keepers", "jobd:troubles")
    for key in told:
        running.wait(functools.partial(redis.exists, key), 10, f"it writes {key}")
    assert running.jobctl("stop").returncode == 0
    assert [key for key in told if redis.exists(key)] == []


def test_some_settings_cannot_change(idle_daemon: Daemon) -> None:
    running = with_settings(idle_daemon, prefix="a:")
    workers = running.workers()
    settings(running, prefix="b:")
    done = running.jobctl("reload")
    assert done.returncode == 1
    assert "prefix cannot change while the daemon runs" in done.stderr
    assert running.workers() == workers


def test_relative_paths_mean_the_same_at_a_reload(idle_daemon: Daemon) -> None:
    """They are read from another working directory then."""
    (idle_daemon.directory / "code").mkdir()
    (idle_daemon.directory / "code" / "app.py").write_text(NAPS)
    settings(idle_daemon, directory="code")
    idle_daemon.run()
    idle_daemon.wait_ready()
    assert idle_daemon.jobctl("reload", "--wait").returncode == 0


def test_settings_whose_workers_do_not_start_are_taken_back(idle_daemon: Daemon) -> None:
    running = with_settings(idle_daemon, queues=["first"])
    settings(running, queues=["second"])
    running.write_app("this is no Python\n")
    running.expect_in_log("SyntaxError")
    assert running.jobctl("reload", "--wait").returncode == 1
    running.write_app(NAPS)
    (worker,) = running.workers()
    os.kill(worker, signal.SIGKILL)
    running.wait(lambda: running.workers() not in ([], [worker]), 10, "there is a new worker")

    def served() -> list[str]:
        return [one["queues"] for one in running.records() if one["event"] == "worker_ready"]

    running.wait(lambda: len(served()) == 2, 10, "it is ready")
    assert served() == ["first", "first"]


SLOW_TO_BOOT = "import time\ntime.sleep(0.7)\n" + NAPS


def postponed(running: Daemon) -> Callable[[], bool]:
    return lambda: "reload_postponed" in running.log()


def test_a_reload_during_a_reload_brings_the_new_settings_to_everybody(
    idle_daemon: Daemon,
) -> None:
    """The second one took the settings of the first for what the keeper had."""
    running = with_settings(idle_daemon, queues=["first"], workers=2)
    before = running.keeper()
    running.write_app(SLOW_TO_BOOT)
    settings(running, queues=["second"], workers=2)
    running.signal(signal.SIGHUP)
    running.wait_for_log('"state":"reloading"')
    running.signal(signal.SIGHUP)
    running.wait(postponed(running), 10, "one more is owed")
    running.wait_for_log("generation 3 is complete")
    running.wait(lambda: running.keeper() not in (None, before), 10, "the keeper was replaced")


def test_a_mistake_in_the_second_of_two_reloads_does_not_stop_the_first(
    idle_daemon: Daemon,
) -> None:
    running = with_settings(idle_daemon, queues=["first"], workers=2)
    running.write_app(SLOW_TO_BOOT)
    settings(running, queues=["second"], workers=2)
    running.signal(signal.SIGHUP)
    running.wait_for_log('"generation":2')  # it has read its settings
    running.signal(signal.SIGHUP)
    running.wait(postponed(running), 10, "one more is owed")
    settings(running, nonsense=1)
    running.wait_for_log("reload_refused")
    running.wait_for_log("generation 2 is complete")

    def served() -> list[str]:
        return [one["queues"] for one in running.records() if one["event"] == "worker_ready"]

    assert served() == ["first", "first", "second", "second"]


def test_a_reload_interrupts_no_job(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(NAPS, "-t", "0.2", "-w", "2", "-c", "2")
    old = set(running.workers())
    for _ in range(4):
        push(running, "held", "default")
    running.wait(lambda: redis.llen("queue:default") == 0, 10, "four jobs run")
    assert running.jobctl("reload", "--wait").returncode == 0
    assert not redis.get("stat:processed"), "the new generation was ready before the jobs ended"
    let_go(running)
    running.wait(processed(redis, 4), 10, "all four have ended")
    running.wait(lambda: not old & set(running.workers()), 10, "the old workers have left")
    assert "jobs_given_back" not in running.log()


def test_max_extra_bounds_the_old_workers(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(NAPS, "-w", "3", "-c", "1", "--max-extra", "1")
    for _ in range(3):
        push(running, "held", "default")
    running.wait(lambda: redis.llen("queue:default") == 0, 10, "three jobs run")
    running.jobctl("reload")
    running.wait(lambda: len(running.workers()) == 4, 10, "one more has started")
    let_go(running)
    most = 0

    def through() -> bool:
        nonlocal most
        most = max(most, len(running.workers()))
        return "generation 2 is complete" in running.log()

    running.wait(through, 20, "the reload is through")
    assert most == 4


def test_the_next_keeper_finds_a_place_while_old_workers_leave(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    """A second reload waits for want of places, and must not take the one that a crash empties."""
    running = daemon(NAPS, "-w", "2", "-c", "1")

    def occupy() -> None:
        for _ in range(2):
            push(running, "held", "default")
        running.wait(lambda: redis.llen("queue:default") == 0, 5, "both workers are busy")

    def stages() -> list[str]:
        return [worker["state"] for worker in running.state()["workers"]]

    occupy()
    assert running.jobctl("reload", "--wait").returncode == 0
    occupy()
    assert running.jobctl("reload").returncode == 0
    # The first generation and half of the second finish their jobs, half of the third is there.
    running.wait(lambda: stages().count("stopping") == 3, 10, "the reload has used all places")
    assert stages().count("ready") == 2
    keeper = running.keeper()
    assert keeper is not None
    os.kill(keeper, signal.SIGKILL)
    running.wait(lambda: running.keeper() not in (None, keeper), 3, "there is a new keeper")
    assert "generation 3 is complete" not in running.log()
    let_go(running)
    running.wait(processed(redis, 4), 20, "no job was interrupted")
    running.wait(lambda: "generation 3 is complete" in running.log(), 20, "the reload is through")


def test_failed_reloads_are_no_crashes_of_the_worker_that_serves(daemon: StartDaemon) -> None:
    """They filled its back-off, and with exit_on_crash_loop ended the daemon."""
    running = daemon(APP, "--exit-on-crash-loop")
    running.expect_in_log("SyntaxError")
    running.write_app("this is no Python\n")
    for _ in range(7):
        assert running.jobctl("reload", "--wait").returncode == 1
    running.write_app(APP)
    (worker,) = running.workers()
    os.kill(worker, signal.SIGKILL)
    running.wait(lambda: running.workers() not in ([], [worker]), 3, "a new worker, at once")


def test_a_settings_file_that_would_block_is_refused(idle_daemon: Daemon) -> None:
    """A FIFO that nobody writes to: the master hung in open() for ever."""
    running = with_settings(idle_daemon, queues=["first"])
    (running.directory / "jobd.toml").unlink()
    os.mkfifo(running.directory / "jobd.toml")
    done = running.jobctl("reload", timeout=10)
    assert done.returncode == 1
    assert "is not a regular file" in done.stderr
    assert running.jobctl("status").returncode == 0


# --- while the daemon is quiet ---------------------------------------------------------------


def test_a_reload_of_a_quiet_daemon_follows_its_resume(
    idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    running = with_settings(idle_daemon, queues=["first"], workers=2)
    old, keeper = running.workers(), running.keeper()
    assert running.jobctl("quiet").returncode == 0
    push(running, "second", "second")
    settings(running, queues=["second"], workers=3)
    running.signal(signal.SIGHUP)
    running.wait_for_log('"event":"reload_postponed".*the resume')
    shown = running.jobctl("status").stdout
    assert "a reload was requested; it will begin on resume" in shown
    assert (running.workers(), running.keeper()) == (old, keeper)
    assert running.jobctl("resume").returncode == 0
    running.wait_for_log("generation 2 is complete")
    running.wait(processed(redis, 1), 10, "new workers serve the other queue")
    running.wait(lambda: not {*old, keeper} & set(pids(running)), 10, "the old ones have left")
    running.wait(lambda: len(running.workers()) == 3, 10, "there is one more")
    answer = json.loads(running.jobctl("status", "--json").stdout)
    assert (answer["generation"], answer["reload_postponed"]) == (2, False)


def pids(running: Daemon) -> list[int]:
    return [child.pid for child in running.children()]


def test_jobctl_does_not_wait_for_the_resume(idle_daemon: Daemon) -> None:
    running = with_settings(idle_daemon, queues=["first"])
    running.jobctl("quiet")
    done = running.jobctl("reload")
    assert done.returncode == 0
    assert "replace its workers on resume" in done.stdout
    done = running.jobctl("reload", "--wait", timeout=10)
    assert done.returncode == 4
    assert "replace its workers on resume" in done.stderr
    running.jobctl("resume")
    running.wait_for_log("generation 2 is complete")
    assert running.jobctl("quiet").returncode == running.jobctl("resume").returncode == 0
    assert running.jobctl("reload", "--wait").returncode == 0
    assert running.state()["generation"] == 3, "what was owed was done once"


def test_a_mistake_in_the_settings_of_a_quiet_daemon_is_told_at_once(idle_daemon: Daemon) -> None:
    running = with_settings(idle_daemon, queues=["first"])
    workers = running.workers()
    running.jobctl("quiet")
    settings(running, queues=["first"], timout=3)
    done = running.jobctl("reload")
    assert done.returncode == 1
    assert "timout is not a setting" in done.stderr
    running.wait_for_log('"event":"reload_refused".*timout is not a setting')
    running.jobctl("resume")
    running.wait(lambda: running.state()["state"] == "running", 10, "it is resumed")
    assert (running.workers(), running.state()["generation"]) == (workers, 1)


def test_the_settings_that_a_quiet_daemon_has_read_hold_for_its_stop(
    idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    running = with_settings(idle_daemon, queues=["first"], timeout=60)
    push(running, "first", "first", 30.0)
    running.wait(lambda: redis.llen("queue:first") == 0, 10, "the job runs")
    running.jobctl("quiet")
    settings(running, queues=["first"], timeout=0.2)
    assert running.jobctl("reload").returncode == 0
    assert running.jobctl("stop", timeout=20).returncode == 0
    assert redis.llen("queue:first") == 1, "the job has gone back"
    assert "child_forked" not in running.log().partition('"state":"quieting"')[2]


def test_a_reload_at_the_resume_that_fails_takes_the_settings_back(idle_daemon: Daemon) -> None:
    running = with_settings(idle_daemon, queues=["first"])
    (old,) = running.workers()
    running.jobctl("quiet")
    settings(running, queues=["second"])
    running.write_app("this is no Python\n")
    running.expect_in_log("SyntaxError")
    assert running.jobctl("reload").returncode == 0
    running.jobctl("resume")
    running.wait_for_log("reload_failed")
    assert running.workers() == [old]
    answer = json.loads(running.jobctl("status", "--json").stdout)
    assert (answer["state"], answer["queues"]) == ("running", ["first"])
    assert [worker["state"] for worker in answer["workers"]] == ["ready"]
