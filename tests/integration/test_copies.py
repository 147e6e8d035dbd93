"""What jobs fork: with os.fork, multiprocessing, and at the import of the application."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import psutil
import pytest
import redis as redis_py

from jobd import Client
from tests.conftest import StartDaemon
from tests.support import processes
from tests.support.daemon import Daemon, descriptors

APP = """
import asyncio, concurrent.futures, contextlib, faulthandler, json, multiprocessing, os, signal
import sys, time
from pathlib import Path
from setproctitle import getproctitle
import jobd
from jobd import job

FORKS = {"fork": os.fork, "forkpty": lambda: os.forkpty()[0]}

def write(name, value):
    Path(name + ".new").write_text(json.dumps(value))
    os.replace(name + ".new", name)

def described():
    names = ["SIGTERM", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGHUP",
             "SIGCHLD", "SIGRTMAX"]
    handlers = {name: signal.getsignal(getattr(signal, name)) is signal.SIG_DFL for name in names}
    return {
        "pid": os.getpid(),
        "title": getproctitle(),
        "default": [name for name, default in handlers.items() if default],
        "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "wakeup": signal.set_wakeup_fd(-1),
        "faulthandler": faulthandler.is_enabled(),
    }

def look_and_wait():
    if os.fork() == 0:
        try:
            write("copy", described())
        finally:
            time.sleep(600)

@job(name="leave_a_copy")
def leave_a_copy():
    look_and_wait()

@job(name="leave_a_copy_async")
async def leave_a_copy_async():
    look_and_wait()

def ending(how, fork="fork"):
    pid = FORKS[fork]()
    if pid == 0:
        if how == "exit":
            sys.exit(3)
        if how == "text":
            sys.exit("said at the end")
        if how == "raise":
            raise ValueError("raised in the copy")
        return
    _, status = os.waitpid(pid, 0)
    write("ended", os.waitstatus_to_exitcode(status))

@job(name="plain", retry=0)
def plain(how, fork="fork"):
    ending(how, fork)

@job(name="timed", retry=0, timeout=60)
def timed(how):
    ending(how)

@job(name="coroutine", retry=0)
async def coroutine(how):
    ending(how)

@job(name="timed_coroutine", retry=0, timeout=60)
async def timed_coroutine(how):
    await asyncio.create_task(asyncio.sleep(0))
    ending(how)

@job(name="awaiting", retry=0)
async def awaiting(others):
    tasks = [asyncio.create_task(tick()) for _ in range(others)]
    await asyncio.sleep(0.05)
    if (pid := os.fork()) == 0:
        await asyncio.sleep(0)
        Path("went-on").touch()
    for task in tasks:
        task.cancel()
    _, status = os.waitpid(pid, 0)
    write("ended", os.waitstatus_to_exitcode(status))


async def tick():
    mine = os.getpid()
    while True:
        await asyncio.sleep(0)
        if os.getpid() != mine:
            Path("doubled").touch()

@job(name="pushes", retry=0)
def pushes(number):
    for _ in range(number):
        if (pid := os.fork()) == 0:
            count.perform_async()
            return
        count.perform_async()
        os.waitpid(pid, 0)

@job(name="count")
def count():
    pass

@job(name="imports", retry=0)
def imports():
    before = set(sys.modules)
    count.perform_async()
    count.perform_in(60)
    count.perform_bulk([[], []])
    count.set(queue="other").perform_async()
    with contextlib.suppress(jobd.ArgumentError):
        count.set(retry_fro=60).perform_async()
    write("imports", sorted(set(sys.modules) - before))

@job(name="multi", retry=0)
def multi(method):
    context = multiprocessing.get_context(method)
    process = context.Process(target=time.sleep, args=(600,))
    process.start()
    process.terminate()
    process.join(30)
    with context.Pool(2) as pool:
        doubled = pool.map(abs, [-1, -2])
        pool.apply_async(time.sleep, (600,))
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        futures = list(executor.map(abs, [-3, -4]))
    write("multi", [process.exitcode, doubled, futures])

@job(name="multi_async", retry=0)
async def multi_async(method):
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        loop = asyncio.get_running_loop()
        write("multi", await loop.run_in_executor(executor, abs, -5))

@job(name="left_behind", retry=0)
def left_behind():
    global kept
    context = multiprocessing.get_context("fork")
    kept = concurrent.futures.ProcessPoolExecutor(1, mp_context=context)
    inner = kept.submit(os.getpid).result()
    daemonic = context.Process(target=time.sleep, args=(600,), daemon=True)
    daemonic.start()
    plain = context.Process(target=time.sleep, args=(600,))
    plain.start()
    write("left", [inner, daemonic.pid, plain.pid])


@jobd.on("quiet")
def when_quiet():
    if os.environ.get("FORK_AT") == "quiet":
        if os.fork() == 0:
            return
        write("quiet", os.waitstatus_to_exitcode(os.wait()[1]))

if os.environ.get("FORK_AT") == "import":
    if os.fork() == 0:
        write("imported", os.getpid())
    else:
        os.wait()
"""


def push(running: Daemon, name: str, *args: object) -> None:
    Client(running.url).push({"class": name, "args": list(args)})


def content(running: Daemon, name: str, timeout: float = 20.0) -> Any:
    file = running.directory / name
    running.wait(file.exists, timeout, f"the file {name}")
    value = json.loads(file.read_text())
    file.unlink()
    return value


@pytest.mark.parametrize("job", ["leave_a_copy", "leave_a_copy_async"])
def test_a_copy_has_nothing_of_the_daemon_and_can_be_ended(
    daemon: StartDaemon, redis: redis_py.Redis, job: str
) -> None:
    running = daemon(APP, "-c", "2", "--tag", "shop")
    push(running, job)
    found = content(running, "copy")
    copy = psutil.Process(found["pid"])
    (worker,) = running.workers()
    try:
        assert found["title"] == "jobd child of worker.0 [shop]"
        assert len(found["default"]) == 10
        assert found["interrupt"]
        assert (found["blocked"], found["wakeup"], found["faulthandler"]) == (0, -1, False)
        files = {one for one in descriptors(copy.pid) if one.startswith("/")}
        assert files == {os.devnull, str(running.log_file), str(running.output)}
        lines = {one for one in descriptors(running.pid) if one.startswith("socket:")}
        assert not lines & set(descriptors(copy.pid))
        # It keeps neither the worker in the eyes of the master or of Redis, nor a restart away.
        os.kill(worker, signal.SIGKILL)
        running.wait(lambda: running.workers() not in ([], [worker]), 15, "a new worker")
        assert running.stop() == 0
        running.wait(
            lambda: not [one for one in redis.client_list() if "b" in one["flags"]],
            10,
            "nobody waits for jobs any more",
        )
        running.run()
        running.wait_ready()
        assert running.stop() == 0
        assert copy.is_running()
        copy.terminate()
        running.wait(lambda: not copy.is_running(), 10, "it ends")
    finally:
        if copy.is_running():
            copy.kill()
        processes.reap()


@pytest.mark.parametrize("job", ["plain", "timed", "coroutine", "timed_coroutine"])
def test_a_copy_ends_as_its_function_does_and_none_of_our_code_notices(
    daemon: StartDaemon, redis: redis_py.Redis, job: str
) -> None:
    running = daemon(APP, "-c", "1")
    running.expect_in_log("raised in the copy")
    for how, code in {"return": 0, "exit": 3, "text": 1, "raise": 1}.items():
        push(running, job, how)
        assert content(running, "ended") == code, how
    running.wait(lambda: redis.get("stat:processed") == b"4", 10, "four jobs")
    assert redis.get("stat:failed") is None
    log = running.log()
    assert "said at the end" in log
    assert log.count("ValueError: raised in the copy") == 1
    assert "job_failed" not in log


def test_a_copy_of_a_pseudo_terminal_is_one_too(daemon: StartDaemon) -> None:
    running = daemon(APP, "-c", "1")
    push(running, "plain", "exit", "forkpty")
    assert content(running, "ended") == 3


def test_no_coroutine_of_the_worker_goes_on_in_a_copy(daemon: StartDaemon) -> None:
    running = daemon(APP, "-c", "2")
    running.expect_in_log("cannot await")
    push(running, "awaiting", 20)
    assert content(running, "ended") == 1
    assert not (running.directory / "doubled").exists()
    assert not (running.directory / "went-on").exists()


def test_a_copy_can_push_whatever_the_other_threads_do(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-c", "4")
    for _ in range(4):
        push(running, "pushes", 10)
    running.wait(lambda: redis.get("stat:processed") == b"84", 60, "all pushed jobs are done")


@pytest.mark.parametrize("preload", [(), ("--preload",)])
def test_a_push_of_a_job_imports_nothing(daemon: StartDaemon, preload: tuple[str, ...]) -> None:
    running = daemon(APP, "-c", "1", *preload, env={"PYTHONUNBUFFERED": "1"})
    push(running, "imports")
    assert content(running, "imports") == []


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("job", ["multi", "multi_async"])
def test_multiprocessing_works(daemon: StartDaemon, job: str, method: str) -> None:
    running = daemon(APP, "-c", "1")
    push(running, job, method)
    expected: Any = [-15, [1, 2], [3, 4]] if job == "multi" else 5
    assert content(running, "multi", 60) == expected
    assert running.stop() == 0


def test_what_multiprocessing_has_left_behind_ends_with_the_worker(daemon: StartDaemon) -> None:
    running = daemon(APP, "-c", "1")
    push(running, "left_behind")
    left = [psutil.Process(pid) for pid in content(running, "left")]
    assert running.stop() == 0
    processes.reap()
    assert not [one for one in left if one.is_running()]
    assert "SIGKILL" not in running.log()


@pytest.mark.parametrize("preload", [(), ("--preload",)])
def test_a_copy_made_by_the_import_does_not_become_a_worker(
    daemon: StartDaemon, preload: tuple[str, ...]
) -> None:
    running = daemon(APP, "-w", "2", *preload, env={"FORK_AT": "import"})
    copy = content(running, "imported")
    running.wait(lambda: not psutil.pid_exists(copy), 10, "the copy has left")
    assert len(running.log().split('"event":"worker_ready"')) == 3
    assert running.stop() == 0


def test_a_copy_made_by_a_hook_does_not_go_on(daemon: StartDaemon) -> None:
    running = daemon(APP, env={"FORK_AT": "quiet"})
    assert running.jobctl("quiet").returncode == 0
    assert content(running, "quiet") == 0
    assert running.stop() == 0
    assert running.log().count('"event":"worker_stopped"') == 1
