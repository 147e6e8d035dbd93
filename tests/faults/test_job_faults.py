"""Rows 42 and 43: jobs that do to their process what only its owner should, and jobs that start
many processes of their own.

The worker bears it, or is replaced; the master does not even notice.
"""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import psutil
import pytest
import redis as redis_py

from jobd import Client
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support import processes
from tests.support.daemon import Daemon
from tests.support.notes import noting

APP = noting("""
    import asyncio, signal, subprocess, sys
    from pathlib import Path

    @job(name="ok")
    def ok():
        pass

    @job(name="fork_and_return")
    def fork_and_return():
        if child := os.fork():
            os.waitpid(child, 0)
            Path("forked").touch()

    @job(name="leave", retry=False)
    async def leave(how):
        if how == "exit":
            sys.exit(3)
        asyncio.get_running_loop().stop()

    @job(name="wait_a_moment")
    async def wait_a_moment():
        await asyncio.sleep(0.01)

    @job(name="wild", retry=False)
    def wild(how):
        if how == "sys.exit":
            sys.exit(3)
        if how == "signal.signal":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # ValueError: not the main thread
        if how == "mask":
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        if how == "chdir":
            os.chdir("/")
        if how == "umask":
            os.umask(0o777)
        if how == "environ":
            os.environ.clear()
        if how == "setpgid":
            os.setpgid(0, os.getppid() and os.getpgid(os.getppid()))
        if how == "recursion":
            sys.setrecursionlimit(60)
        if how == "streams":
            for fd in (0, 1, 2):
                os.close(fd)

    @job(name="os_exit", retry=False)
    def os_exit():
        os._exit(3)

    @job(name="close_all", retry=False)
    def close_all():
        if Path("closed").exists():
            return
        Path("closed").touch()
        os.closerange(3, 1 << 16)

    @job(name="daemonize")
    def daemonize():
        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        Path("outlives").write_text(str(child.pid))
        child.returncode = 0  # so that nobody complains that it still runs

    @job(name="count_codes")
    def count_codes(first):
        codes = list(range(first, first + 8))
        children = [subprocess.Popen(["sh", "-c", f"exit {code}"]) for code in codes]
        found = [child.wait() for child in children]
        notes.rpush("test:codes" if found == codes else "test:wrong", repr(found))
""")


def push(running: Daemon, name: str, *args: object) -> str | None:
    return Client(running.url).push({"class": name, "args": list(args)})


def processed(running: Daemon, redis: redis_py.Redis, count: int) -> None:
    running.wait(
        lambda: redis.get("stat:processed") == str(count).encode(), 10, f"{count} jobs processed"
    )


# -- 42: what only the owner of a process should do --------------------------------------------

BORNE = [
    "sys.exit",
    "signal.signal",
    "mask",
    "chdir",
    "umask",
    "environ",
    "setpgid",
    "recursion",
    "streams",
]


@pytest.mark.parametrize("how", BORNE)
def test_42_a_worker_bears_what_a_job_does_to_it(
    daemon: StartDaemon, redis: redis_py.Redis, how: str
) -> None:
    running = daemon(APP, "-c", "2")
    workers = running.workers()
    push(running, "wild", how)
    processed(running, redis, 1)
    for _ in range(4):
        push(running, "ok")
        push(running, "wait_a_moment")
    processed(running, redis, 9)
    # It still hears its master, and writes its log where it should.
    running.log_file.rename(running.directory / "jobd.log.1")
    assert running.jobctl("reopen-logs").returncode == 0
    push(running, "ok")
    running.wait(lambda: '"event":"job_done"' in running.log_file.read_text(), 5, "the new log")
    assert running.jobctl("threads").returncode == 0
    assert running.workers() == workers
    assert running.stop() == 0
    assert "child_killed" not in running.log()


ODD = """
from jobd import job

class Quits(Exception):
    def __str__(self):
        raise SystemExit(3)

class Text(str):
    def __getitem__(self, key):
        raise ValueError
    encode = __getitem__

class Says(Exception):
    def __str__(self):
        return Text("something")

class Sealed(Exception):
    @property
    def __traceback__(self):
        return None

class Hides(Exception):
    @property
    def __cause__(self):
        raise ValueError

class Meta(type):
    def __getattribute__(self, name):
        if name == "__qualname__":
            raise ValueError
        return super().__getattribute__(name)

class Nameless(Exception, metaclass=Meta):
    pass

def clear(count, error, fields):
    fields.clear()

def tie(count, error, fields):
    fields["args"].append(fields)

def make(kind, *, is_async=False, retry_in=None):
    def fail():
        raise kind("x")
    async def fail_later():
        raise kind("x")
    name = f"{type.__dict__['__name__'].__get__(kind)}.{getattr(retry_in, '__name__', is_async)}"
    job(name=name, retry_in=retry_in)(fail_later if is_async else fail)

for kind in (Quits, Says, Sealed, Hides, Nameless):
    make(kind)
    make(kind, is_async=True)
make(ValueError, retry_in=clear)
make(ValueError, retry_in=tie)

@job(name="ok")
def ok():
    pass
"""


def test_42_errors_that_cannot_be_looked_at_cost_no_thread_and_no_job(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    """Each kept its job in flight, and with it a thread's place, over restarts as well."""
    running = daemon(ODD, "-c", "1")
    running.expect_in_log("job_thread_failed")
    kinds = ["Quits", "Says", "Sealed", "Hides", "Nameless"]
    names = [f"{kind}.{how}" for kind in kinds for how in (False, True)]
    names += ["ValueError.clear", "ValueError.tie"]
    jids = {push(running, name) for name in names}
    push(running, "ok")
    running.wait(lambda: not redis.keys("queue:*"), 10, "all are taken")
    running.wait(lambda: not redis.keys("jobd:inflight:*"), 10, "none is held")
    kept: list[bytes] = [*redis.zrange("retry", 0, -1), *redis.zrange("dead", 0, -1)]
    assert {json.loads(each)["jid"] for each in kept} == jids
    assert all(json.loads(each)["error_class"] for each in kept)
    assert redis.get("stat:processed") == str(len(names) + 1).encode()


def test_42_a_worker_whose_descriptors_are_all_closed_is_replaced(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-c", "2", "-t", "1")
    running.expect_in_log("Bad file descriptor", "process_failed", "signal wakeup fd")
    running.expect_in_log("Exception in thread")  # whatever a thread wanted of a descriptor
    (worker,) = running.workers()
    push(running, "close_all")
    running.wait(lambda: running.workers() not in ([], [worker]), 20, "a new worker")
    push(running, "ok")
    processed(running, redis, 2)  # that one, and the second run of the other


def test_42_os_exit_costs_one_worker_at_a_time(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    running = daemon(APP, "-w", "2", "-c", "1")
    push(running, "os_exit")
    running.wait(lambda: redis.zcard("dead") == 1, 30, "it is buried after three")
    push(running, "ok")
    running.wait(lambda: redis.llen("queue:default") == 0, 10, "others run")
    running.wait(lambda: len(running.workers()) == 2, 15, "two workers again")
    assert running.log().count('"event":"child_died"') == 3


@pytest.mark.parametrize("how", ["exit", "stop"])
def test_42_an_async_job_cannot_end_the_event_loop(
    daemon: StartDaemon, redis: redis_py.Redis, how: str
) -> None:
    running = daemon(APP, "-c", "2")
    push(running, "leave", how)
    running.wait(lambda: redis.llen("queue:default") == 0, 5, "it has been taken")
    for _ in range(4):
        push(running, "wait_a_moment")
    processed(running, redis, 5)


def test_42_the_copy_of_a_worker_that_a_job_forks_ends_with_the_job(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-c", "1")
    for _ in range(3):  # claimed ahead, so that a copy would find jobs to run
        push(running, "fork_and_return")
    processed(running, redis, 3)
    assert (running.directory / "forked").exists()
    assert redis.llen("queue:default") == 0


def test_42_a_process_that_outlives_its_job_keeps_nothing_of_the_daemon_alive(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    """Without systemd nobody ends it: it is in a session of its own. With systemd the end of the
    unit does (KillMode=mixed), which cannot be seen here."""
    running = daemon(APP)
    push(running, "daemonize")
    running.wait((running.directory / "outlives").exists, 10, "the job has run")
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "the job has ended")
    left = psutil.Process(int((running.directory / "outlives").read_text()))
    try:
        assert running.stop() == 0
        assert left.is_running()
        # No lock, no socket and no descriptor of the log is held by it.
        running.run()
        running.wait_ready()
        assert running.stop() == 0
        assert [fd for fd in os.listdir(f"/proc/{left.pid}/fd") if int(fd) > 2] == []  # noqa: PTH208
    finally:
        left.kill()
        processes.reap()


# -- 43: many processes of jobs ----------------------------------------------------------------


def deaths(running: Daemon) -> list[dict[str, Any]]:
    return [record for record in running.records() if record["event"] == "child_died"]


def test_43_every_exit_code_is_right_while_workers_die(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    running = daemon(APP, "-w", "3", "-c", "3", env={"NOTES": server.url})
    jobs = 60
    calls: list[list[object]] = [[8 * (n % 30)] for n in range(jobs)]
    Client(server.url).push_bulk({"class": "count_codes", "args": calls})
    for number, share in enumerate((10, 25, 40), 1):
        running.wait(lambda: redis.llen("test:codes") >= share, 30, f"{share} jobs")  # noqa: B023
        os.kill(running.workers()[-1], signal.SIGKILL)
        running.wait(lambda: len(deaths(running)) == number, 15, "the death is seen")  # noqa: B023
        running.wait(lambda: len(running.workers()) == 3, 15, "three workers")
    running.wait(lambda: redis.llen("queue:default") == 0, 30, "all jobs are taken")
    running.wait(lambda: not list(redis.scan_iter("jobd:inflight:*")), 30, "and have ended")
    wrong: Any = redis.lrange("test:wrong", 0, -1)
    assert wrong == []
    assert redis.llen("test:codes") >= jobs
    causes = [death["cause"] for death in deaths(running)]
    assert causes == ["killed by signal 9 (SIGKILL)"] * 3
