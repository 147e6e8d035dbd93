"""Signals while jobs run, to the master and to a worker directly; and logs that move meanwhile."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import psutil
import pytest
import redis as redis_py

from jobd import Client
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon
from tests.support.ledger import whereabouts

APP = """
    import os, time
    from pathlib import Path
    import redis
    from jobd import current_job, job

    @job(name="hold")
    def hold(n):
        Path(f"started-{n}").touch()
        while not Path("go").exists():
            time.sleep(0.01)

    @job(name="stubborn")
    def stubborn(n):
        notes = redis.Redis.from_url(os.environ["NOTES"])
        Path(f"started-{n}").touch()
        while True:
            try:
                time.sleep(0.01)
            except BaseException as end:
                left = [notes.llen("queue:high"), notes.llen("queue:low")]
                notes.rpush("test:interrupted", repr([type(end).__name__, *left]))

    @job(name="count")
    def count(n):
        pass
"""


class Hold(Protocol):
    """Starts a daemon with two threads and six jobs, and waits until two of them run."""

    def __call__(self, *flags: str, name: str = "hold") -> tuple[Daemon, list[str]]: ...


@pytest.fixture
def hold(daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer) -> Hold:
    """As :class:`Hold`; what it returns are the daemon, and the jobs' bytes in their order."""

    def start(*flags: str, name: str = "hold") -> tuple[Daemon, list[str]]:
        # Before the start: a worker that waits on both queues would take one of each.
        raws = push_six(redis, name)
        running = daemon(APP, *FLAGS, *flags, env={"NOTES": server.url})
        wait_started(running, 2)
        return running, raws

    return start


def wait_started(running: Daemon, number: int) -> None:
    glob = running.directory.glob
    running.wait(lambda: len(list(glob("started-*"))) == number, 10, f"{number} jobs run")


def push_six(redis: redis_py.Redis, name: str) -> list[str]:
    raws = [
        json.dumps({"class": name, "args": [n], "jid": f"j{n}", "queue": queue, "n": n})
        for n, queue in enumerate(["high", "high", "high", "low", "low", "low"])
    ]
    for raw in raws:
        redis.lpush(f"queue:{json.loads(raw)['queue']}", raw)
    return raws


def queued(redis: redis_py.Redis) -> list[str]:
    """Everything in the two queues, the next to run first."""
    found: list[Any] = []
    for queue in ("high", "low"):
        content: Any = redis.lrange(f"queue:{queue}", 0, -1)
        found += reversed(content)
    return [raw.decode() for raw in found]


def let_go(running: Daemon, redis: redis_py.Redis, executions: int = 6) -> None:
    """Let the jobs end, and see that each has run."""
    (running.directory / "go").touch()
    running.wait(
        lambda: redis.get("stat:processed") == str(executions).encode() and not whereabouts(redis),
        15,
        "all jobs have run",
    )


FLAGS = ("-q", "high", "-q", "low", "-c", "2")


def to_master(running: Daemon) -> int:
    return running.pid


def to_worker(running: Daemon) -> int:
    return running.workers()[0]


Target = Callable[[Daemon], int]
BOTH = pytest.mark.parametrize("target", [to_master, to_worker])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_stop_gives_everything_back_in_order(
    hold: Hold, redis: redis_py.Redis, number: signal.Signals
) -> None:
    running, raws = hold("-t", "60" if number == signal.SIGQUIT else "0.3")
    running.signal(number)
    assert running.wait_ended() == 0
    assert queued(redis) == raws


def test_jobs_are_back_before_anything_is_interrupted_or_killed(
    hold: Hold, redis: redis_py.Redis
) -> None:
    running, raws = hold("-t", "0.3", name="stubborn")
    running.signal(signal.SIGTERM)
    assert running.wait_ended() == 0
    assert queued(redis) == raws
    notes: Any = redis.lrange("test:interrupted", 0, -1)
    assert [note.decode() for note in notes] == ["['Shutdown', 3, 3]"] * 2, "both, all were back"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_a_worker_stopped_directly_gives_back_and_is_replaced(
    hold: Hold, redis: redis_py.Redis, number: signal.Signals
) -> None:
    running, _ = hold("-t", "60" if number == signal.SIGQUIT else "0.3")
    (worker,) = running.workers()
    os.kill(worker, number)
    running.wait(lambda: running.workers() not in ([], [worker]), 15, "a new worker")
    running.wait_for_log('"event":"jobs_given_back","logger":"jobd.fetcher","jobs":2')
    let_go(running, redis, 8)  # two executions were cut short, and count
    assert "child_backoff" not in running.log()


@BOTH
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTSTP])
def test_quiet_lets_jobs_end_and_takes_no_more(
    hold: Hold, redis: redis_py.Redis, number: signal.Signals, target: Target
) -> None:
    running, raws = hold()
    (worker,) = running.workers()
    os.kill(target(running), number)
    running.wait_for_log('"event":"worker_quiet"')
    (identity,) = redis.smembers("processes")
    running.wait(lambda: redis.hget(identity, "quiet") == b"true", 5, "dashboards know it")
    (running.directory / "go").touch()
    running.wait(lambda: redis.get("stat:processed") == b"2", 10, "what ran has ended")
    running.wait(lambda: not list(redis.scan_iter("jobd:inflight:*")), 5, "nothing is held")
    assert queued(redis) == raws[2:]
    assert running.workers() == [worker]
    assert running.jobctl("resume").returncode == 0
    let_go(running, redis)


@BOTH
def test_dumps_name_the_job_of_every_thread(
    hold: Hold, redis: redis_py.Redis, target: Target
) -> None:
    running, _ = hold()
    os.kill(target(running), signal.SIGTTIN)
    of_master = target is to_master
    running.wait_for_log("thread_dump_complete" if of_master else '"event":"thread_dump"')
    (stack,) = (
        record["stack"]
        for record in running.records()
        if record["event"] == "thread_dump" and record.get("of", record["role"]) == "worker.0"
    )
    for n in (0, 1):
        assert re.search(rf"Thread job-\d \(0x[0-9a-f]+\): hold j{n} from high, for \d", stack)
    assert stack.count("in hold") == 2
    assert "Thread MainThread" in stack
    let_go(running, redis)


@BOTH
def test_reopening_the_log_does_not_disturb_jobs(
    hold: Hold, redis: redis_py.Redis, target: Target
) -> None:
    running, _ = hold()
    old = running.log_file.with_suffix(".old")
    running.log_file.rename(old)
    os.kill(target(running), signal.SIGUSR2)
    (worker,) = running.workers()
    running.wait(lambda: not has_open(worker, old), 5, "the worker has let go of the old log")
    let_go(running, redis)
    running.wait_for_log('"event":"job_done"')
    assert '"event":"job_done"' not in old.read_text()


def has_open(pid: int, path: Path) -> bool:
    return any(Path(file.path) == path for file in psutil.Process(pid).open_files())


def test_hup_lets_jobs_end_in_the_old_worker(hold: Hold, redis: redis_py.Redis) -> None:
    running, _ = hold("-t", "60")
    (worker,) = running.workers()
    running.signal(signal.SIGHUP)
    running.wait_for_log("generation 2 is complete")
    wait_started(running, 4)
    assert len(running.children()) == 3, "keeper, the new worker, and the old one with its jobs"
    let_go(running, redis)
    running.wait(lambda: worker not in [c.pid for c in running.children()], 10, "it has left")
    assert redis.get("stat:failed") is None


# -- logs that move under load -----------------------------------------------------------------


def pushing(url: str, jobs: int) -> threading.Thread:
    """Push *jobs* in the background, in portions."""

    def push() -> None:
        client = Client(url)
        for first in range(0, jobs, 100):
            calls = [[n] for n in range(first, first + 100)]
            client.push_bulk({"class": "count", "queue": "high", "args": calls})

    thread = threading.Thread(target=push)
    thread.start()
    return thread


def wait_processed(running: Daemon, redis: redis_py.Redis, least: int) -> None:
    running.wait(lambda: int(redis.get("stat:processed") or 0) >= least, 20, f"{least} jobs")


def done_in(*logs: Path) -> Counter[str]:
    lines = "".join(log.read_text() for log in logs).splitlines()
    records = [json.loads(line) for line in lines]  # each is whole
    return Counter(record["jid"] for record in records if record["event"] == "job_done")


@pytest.mark.skipif(
    not shutil.which("logrotate", path=f"{os.environ.get('PATH')}:/usr/sbin"),
    reason="logrotate is not installed",
)
def test_the_shipped_logrotate_configuration(
    daemon: StartDaemon, redis: redis_py.Redis, tmp_path: Path
) -> None:
    running = daemon(APP, *FLAGS, "-w", "2", "--log-level", "info")
    jobctl = tmp_path / "jobctl"
    checkout = Path(__file__).parents[2]
    program = f"cd {checkout} && exec {running.command('run')[0]} -m jobctl"
    jobctl.write_text(f'#!/bin/sh\n{program} "$@"\n')
    jobctl.chmod(0o755)
    shipped = (checkout / "etc/logrotate.d/jobd").read_text()
    config = shipped.replace("/opt/jobd/bin/jobctl", str(jobctl))
    config = config.replace("/var/log/jobd/*.log", str(running.log_file))
    config = config.replace("/run/jobd/jobd.pid", str(running.pidfile))
    user = f"{pwd.getpwuid(os.geteuid()).pw_name} {grp.getgrgid(os.getegid()).gr_name}"
    config = config.replace("jobd jobd", user)
    (tmp_path / "logrotate.conf").write_text(config)
    pusher = pushing(running.url, 1000)
    program_path = shutil.which("logrotate", path=f"{os.environ.get('PATH')}:/usr/sbin")
    for number in range(3):
        wait_processed(running, redis, 200 * number + 100)
        done = subprocess.run(
            [str(program_path), "-f", "-s", "logrotate.state", "logrotate.conf"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
    pusher.join()
    running.wait(lambda: redis.get("stat:processed") == b"1000", 20, "all jobs have run")
    assert running.stop() == 0
    names = sorted(path.name for path in running.directory.glob("jobd.log*"))
    assert names == ["jobd.log", "jobd.log.1", "jobd.log.2.gz", "jobd.log.3.gz"]
    subprocess.run(["gzip", "-d", *running.directory.glob("*.gz")], check=True)
    done_jobs = done_in(*running.directory.glob("jobd.log*"))
    assert len(done_jobs) == 1000
    assert set(done_jobs.values()) == {1}
    assert running.log_file.stat().st_mode & 0o777 == 0o640
