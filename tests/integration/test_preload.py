"""``preload``: workers that are forked from a process that has imported the application."""

from __future__ import annotations

import json
import os
import random
import re
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis as redis_py

from jobd import Client
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon
from tests.support.ledger import whereabouts
from tests.support.processes import freeze

APP = """
    import os, random, subprocess, time
    from jobd import job, on

    VERSION = 1

    with open("imports.txt", "a") as file:
        file.write(f"{os.getpid()}\\n")

    @on("startup")
    def started():
        with open("startups.txt", "a") as file:
            file.write(f"{os.getpid()}\\n")

    @job
    def tell(text):
        with open("told.txt", "a") as file:
            file.write(f"{text} {VERSION} {os.getpid()} {random.random()}\\n")

    @job
    def slow(text):
        time.sleep(0.01)
        tell.perform_inline(text)

    @job
    def nap(seconds):
        tell.perform_inline("nap")
        time.sleep(seconds)

    @job
    def leave_an_orphan():
        subprocess.run(["sh", "-c", "sleep 600 & echo $! > orphan.txt"], check=True)
"""
BROKEN = "this is no Python\n"


def zygotes(running: Daemon) -> list[int]:
    """Process ids of the zygotes that live (the state file is a moment behind)."""
    living = {child.pid for child in running.children()}
    return [one["pid"] for one in running.state().get("zygotes", []) if one["pid"] in living]


def lines(running: Daemon, name: str) -> list[str]:
    file = running.directory / name
    return file.read_text().splitlines() if file.exists() else []


def told(running: Daemon) -> list[list[str]]:
    """Text, version, pid and a random number of each job that was done."""
    return [line.split() for line in lines(running, "told.txt")]


def push(running: Daemon, name: str, *calls: list[int]) -> None:
    Client(running.url).push_bulk({"class": f"app.{name}", "args": list(calls)})


def status(running: Daemon) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(running.jobctl("status", "--json").stdout)
    return answer


def descriptors(pid: int) -> list[str]:
    return [str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()]


def wait_for_other_workers(running: Daemon, old: list[int], count: int) -> None:
    def replaced() -> bool:
        workers = running.workers()
        return len(workers) == count and workers != old and status(running)["degraded"] is False

    running.wait(replaced, 15, f"{count} workers, others than {old}")
    running.wait(
        lambda: all(worker["state"] == "ready" for worker in status(running)["workers"]),
        15,
        "they are ready",
    )


def test_the_application_is_imported_once_and_jobs_run(daemon: StartDaemon) -> None:
    running = daemon(APP, "--preload", "-w", "3", "-c", "2")
    [zygote] = zygotes(running)
    workers = running.workers()
    assert lines(running, "imports.txt") == [str(zygote)]
    assert sorted(lines(running, "startups.txt")) == sorted(map(str, workers))
    push(running, "tell", *[[number] for number in range(60)])
    running.wait(lambda: len(told(running)) == 60, 10, "all jobs are done")
    assert {int(pid) for _text, _version, pid, _random in told(running)} <= set(workers)
    # Each worker has a random sequence of its own.
    assert len({number for *_, number in told(running)}) == 60


def test_a_worker_of_the_zygote_is_a_child_of_the_master_like_any_other(
    daemon: StartDaemon,
) -> None:
    running = daemon(APP, "--preload", "-w", "2")
    [zygote] = zygotes(running)
    own = int(Path(f"/proc/{running.pid}/oom_score_adj").read_text())
    for pid in [zygote, *running.workers()]:
        assert psutil.Process(pid).ppid() == running.pid
        assert os.getpgid(pid) == pid
        score = int(Path(f"/proc/{pid}/oom_score_adj").read_text())
        assert score == min(1000, own + 200)
        targets = descriptors(pid)
        assert not [one for one in targets if re.search(r"jobd\.pid|jobd\.sock|pidfd", one)]
        for memory in ("jobd-dump", "jobd-page"):
            assert len([one for one in targets if memory in one]) == 1
    assert psutil.Process(zygote).num_threads() == 1
    shared = set.intersection(
        *({one for one in descriptors(pid) if "socket" in one} for pid in running.workers())
    )
    assert not shared, "the workers have the same sockets"


def test_everybody_can_see_the_zygote(daemon: StartDaemon) -> None:
    running = daemon(APP, "--preload")
    [zygote] = zygotes(running)
    [shown] = status(running)["zygotes"]
    assert (shown["role"], shown["pid"], shown["state"]) == ("zygote", zygote, "ready")
    assert shown["rss"] > 10_000_000
    assert re.search(rf"^zygote +{zygote} +ready ", running.jobctl("status").stdout, re.MULTILINE)
    dump = running.jobctl("threads")
    assert dump.returncode == 0
    assert f"== zygote, pid {zygote}, ready, generation 1 ==" in dump.stdout
    running.log_file.rename(running.directory / "jobd.log.1")
    assert running.jobctl("reopen-logs").returncode == 0
    assert str(running.log_file) in descriptors(zygote)
    assert running.jobctl("quiet").returncode == 0
    assert running.jobctl("resume").returncode == 0
    assert not [one for one in running.records() if one["event"] == "message_unknown"]


def test_a_reload_brings_new_code_by_a_new_zygote(daemon: StartDaemon) -> None:
    running = daemon(APP, "--preload", "-w", "2")
    [old], workers = zygotes(running), running.workers()
    running.write_app(APP.replace("VERSION = 1", "VERSION = 22"))
    running.signal(signal.SIGHUP)
    running.wait_for_log("generation 2 is complete", 15)
    running.wait(lambda: len(zygotes(running)) == 1, 10, "the old zygote has left")
    [new] = zygotes(running)
    assert new != old
    assert lines(running, "imports.txt") == [str(old), str(new)]
    running.wait(lambda: not set(workers) & set(running.workers()), 10, "the old workers left")
    push(running, "tell", *[[1]] * 10)
    running.wait(lambda: len(told(running)) == 10, 10, "all jobs are done")
    assert {version for _text, version, *_ in told(running)} == {"22"}
    assert {worker["generation"] for worker in status(running)["workers"]} == {2}


def test_code_that_does_not_import_leaves_the_old_workers_and_the_old_zygote(
    daemon: StartDaemon,
) -> None:
    running = daemon(APP, "--preload", "-w", "2")
    [zygote], workers = zygotes(running), running.workers()
    running.write_app(BROKEN)
    running.expect_in_log("SyntaxError")
    done = running.jobctl("reload", "--wait")
    assert done.returncode == 1
    assert "app.py, line 1" in done.stderr
    assert running.workers() == workers
    assert zygotes(running) == [zygote]
    # What dies now comes back with the code that works.
    os.kill(workers[0], signal.SIGKILL)
    wait_for_other_workers(running, workers, 2)
    push(running, "tell", *[[1]] * 20)
    running.wait(lambda: len(told(running)) == 20, 10, "all jobs are done")
    assert {worker["generation"] for worker in status(running)["workers"]} == {1}


def test_workers_that_do_not_boot_leave_the_old_zygote(daemon: StartDaemon) -> None:
    running = daemon(APP, "--preload", "-w", "2")
    [zygote], workers = zygotes(running), running.workers()
    # Not of the same length: Python tells files of one second apart by that only.
    running.write_app(APP.replace('"startups.txt", "a"', '"no/such/directory", "a"'))
    running.expect_in_log("startup_hook_failed", "startup hook")
    done = running.jobctl("reload", "--wait")
    assert done.returncode == 1
    assert "startup hook" in done.stderr
    running.wait(lambda: zygotes(running) == [zygote], 10, "the new zygote has left")
    assert running.workers() == workers


def test_code_that_does_not_import_ends_the_start(daemon: StartDaemon) -> None:
    running = daemon(BROKEN, "--preload", ready=False)
    running.expect_in_log("SyntaxError")
    running.exit_codes = {66}
    assert running.wait_ended() == 66
    assert "app.py, line 1" in running.output.read_text()


def test_an_application_that_starts_a_thread_is_refused(daemon: StartDaemon) -> None:
    app = """
        import threading, time

        def measure():
            time.sleep(600)

        threading.Thread(target=measure, name="metrics", daemon=True).start()
    """
    running = daemon(app, "--preload", ready=False)
    running.exit_codes = {66}
    running.expect_in_log("metrics")
    assert running.wait_ended() == 66
    said = running.output.read_text()
    assert re.search(r"metrics, started in \S+/app\.py, line 7\)", said), said
    assert "preload = false" in said


def test_a_thread_that_has_ended_is_no_hindrance(daemon: StartDaemon) -> None:
    app = """
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(str, range(100)))
    """
    daemon(app, "--preload")


def test_51_sockets_threads_and_an_ssl_context(daemon: StartDaemon, tmp_path: Path) -> None:
    opened = """
        import socket, ssl, threading, time
        from concurrent.futures import ThreadPoolExecutor

        context = ssl.create_default_context()
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(server.getsockname())
    """
    running = daemon(opened, "--preload")
    assert len(running.workers()) == 1
    running.stop()
    threads = """
        pool = ThreadPoolExecutor(2, thread_name_prefix="pool")
        pool.submit(time.sleep, 0.01)
        threading.Timer(600, print).start()
    """
    refused = daemon(opened + threads, "--preload", ready=False)
    refused.exit_codes = {66}
    assert refused.wait_ended() == 66
    said = refused.output.read_text()
    assert re.search(r"pool_0, started in \S+/app\.py, line 10; Thread-\d+\S*, started in ", said)
    assert "line 11" in said


def test_connections_of_the_import_are_not_shared(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    pushes = """
    tell.perform_async("import")

    @job
    def double(number):
        tell.perform_async(number)
    """
    running = daemon(APP + pushes, "--preload", "-w", "3", "-c", "4")
    push(running, "double", *[[number] for number in range(300)])
    running.wait(lambda: len(told(running)) == 301, 15, "all jobs are done")
    assert len({text for text, *_ in told(running)}) == 301
    assert redis.get("stat:failed") in (None, b"0")


def test_after_its_zygote_is_killed_a_worker_is_still_replaced(daemon: StartDaemon) -> None:
    running = daemon(APP, "--preload", "-w", "2")
    [zygote], workers = zygotes(running), running.workers()
    os.kill(zygote, signal.SIGKILL)
    os.kill(workers[0], signal.SIGKILL)
    running.wait(lambda: zygotes(running) not in ([], [zygote]), 10, "a new zygote")
    wait_for_other_workers(running, workers, 2)
    assert workers[1] in running.workers(), "a worker was lost with the zygote"
    push(running, "tell", *[[1]] * 10)
    running.wait(lambda: len(told(running)) == 10, 10, "all jobs are done")


def test_a_signal_to_the_zygotes_group_hits_no_worker(daemon: StartDaemon) -> None:
    running = daemon(APP, "--preload", "-w", "2")
    [zygote], workers = zygotes(running), running.workers()
    os.killpg(zygote, signal.SIGTERM)
    running.wait(lambda: zygotes(running) not in ([], [zygote]), 10, "a new zygote")
    assert running.workers() == workers


@pytest.mark.timeout(90)
def test_a_long_import_is_no_hang(daemon: StartDaemon) -> None:
    running = daemon(APP + "\n    time.sleep(5)\n", "--preload", "--worker-timeout", "3", "-w", "1")
    assert "child_silent" not in running.log()
    assert len(lines(running, "imports.txt")) == 1


def test_a_recycled_worker_is_followed_by_one_of_the_same_zygote(daemon: StartDaemon) -> None:
    running = daemon(APP, "--preload", "-w", "1", "-c", "1", "--max-jobs", "10")
    old = running.workers()
    push(running, "tell", *[[number] for number in range(12)])
    push(running, "nap", [2])
    running.wait_for_log('"event":"child_exited".*"reason":"recycled"', 20)
    wait_for_other_workers(running, old, 1)
    running.wait(lambda: len(told(running)) == 13, 10, "all jobs are done")
    assert lines(running, "imports.txt") == [str(zygotes(running)[0])]


def test_a_zygote_that_hangs_holds_nobody_up(daemon: StartDaemon) -> None:
    running = daemon(APP, "--preload", "-w", "2")
    [zygote], workers = zygotes(running), running.workers()
    freeze(zygote)
    os.kill(workers[0], signal.SIGKILL)
    running.wait(lambda: status(running)["workers"][0]["pid"] != workers[0], 5, "it answers")
    running.wait(lambda: zygotes(running) not in ([], [zygote]), 20, "a new zygote")
    wait_for_other_workers(running, workers, 2)
    assert "the zygote did not answer within" in running.log()


def test_when_the_master_is_killed_all_leave_and_give_their_jobs_back(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "--preload", "-w", "2", "-c", "2", "-t", "0.5")
    push(running, "nap", *[[600]] * 4)
    running.wait(lambda: len(told(running)) == 4, 10, "four jobs run")
    left = running.children()
    assert len(left) == 4
    running.leaves_files = True
    running.exit_codes = None
    running.signal(signal.SIGKILL)
    running.wait_ended()
    running.wait(lambda: not any(child.is_running() for child in left), 15, "all have left")
    assert list(whereabouts(redis).values()) == [["queue:default"]] * 4


@pytest.mark.timeout(120)
def test_no_job_is_lost_while_zygotes_and_workers_are_killed(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    chance = random.Random(20261123)
    running = daemon(APP, "--preload", "-w", "3", "-c", "4")
    push(running, "slow", *[[number] for number in range(3000)])
    for _ in range(12):
        before = len(told(running))
        if doomed := zygotes(running) if chance.random() < 0.3 else running.workers():
            os.kill(chance.choice(doomed), signal.SIGKILL)
        running.wait(lambda: len(told(running)) >= before + 50, 30, "fifty jobs more")  # noqa: B023
    running.wait(lambda: len({text for text, *_ in told(running)}) == 3000, 60, "all jobs ran")
    running.wait(lambda: whereabouts(redis) == {}, 10, "none is held any more")


def test_a_stop_in_the_middle_of_births_leaves_nobody(daemon: StartDaemon) -> None:
    """What is left behind is found by the fixture."""
    running = daemon(APP, "--preload", "-w", "8", ready=False)
    running.wait_for_log('"child":"worker.0"')
    running.stop()


def test_orphans_of_jobs_are_reaped_and_no_exit_code_is_stolen(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "--preload", "-w", "2")
    push(running, "leave_an_orphan", [])
    running.wait(lambda: lines(running, "orphan.txt"), 10, "the orphan")
    # Else the job would run again, and leave another one.
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "the job is done")
    orphan = psutil.Process(int(lines(running, "orphan.txt")[0]))
    running.wait(lambda: orphan.ppid() == running.pid, 5, "the master has it")
    workers = running.workers()
    for pid in [orphan.pid, workers[0]]:
        os.kill(pid, signal.SIGKILL)
    running.wait(lambda: not orphan.is_running(), 10, "it is reaped")
    running.wait_for_log(rf'"child_pid":{workers[0]},"cause":"killed by signal 9')
    wait_for_other_workers(running, workers, 2)


@pytest.mark.timeout(180)
def test_twenty_reloads_leave_nothing_behind(daemon: StartDaemon) -> None:
    running = daemon(APP, "--preload", "-w", "1")

    def settled() -> bool:
        return len(running.children()) == 3

    def processes_and_descriptors() -> tuple[int, int]:
        running.wait(settled, 10, "master, keeper, zygote, worker")
        return len(psutil.Process(running.pid).children()), len(descriptors(running.pid))

    before = processes_and_descriptors()
    for _ in range(20):
        assert running.jobctl("reload", "--wait").returncode == 0
    running.wait(lambda: processes_and_descriptors() == before, 20, "the last ones have ended")
    assert len(lines(running, "imports.txt")) == 21


def test_after_a_reload_that_failed_half_way_all_workers_have_the_old_code(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    """The new zygote had taken over, so that they had the new code for good."""
    app = """
        from pathlib import Path
        from jobd import job, on

        VERSION = {version}

        @on("startup")
        def fail_the_fourth():
            with open("boots", "a") as file:
                file.write("x")
            if Path("boots").stat().st_size == 4:
                raise RuntimeError("the fourth boot fails")

        @job(name="version")
        def version():
            with open("versions", "a") as file:
                file.write(str(VERSION))
    """
    running = daemon(app.format(version=1), "--preload", "-w", "2", "-c", "1")
    running.expect_in_log("the fourth boot fails")
    running.write_app(app.format(version=2))
    assert running.jobctl("reload", "--wait").returncode == 1
    running.wait_for_log('"event":"worker_recycled"')

    def recycled() -> bool:
        return (running.directory / "boots").stat().st_size >= 5 and len(running.workers()) == 2

    running.wait(recycled, 10, "the new worker was replaced back")
    running.wait(lambda: "child_exited" in running.log(), 10, "and has left")
    for _ in range(40):
        Client(running.url).push({"class": "version", "args": []})
    running.wait(lambda: redis.get("stat:processed") == b"40", 10, "jobs ran in both")
    assert (running.directory / "versions").read_text() == 40 * "1"
