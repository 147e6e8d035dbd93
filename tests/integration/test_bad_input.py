"""What people, programs and machines get wrong, and what jobd answers.

A start that cannot work ends with one sentence and the code that fits, and touches nothing. A job
that cannot work costs its worker nothing, and is kept where a person finds it.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis as redis_py

from jobd import Client
from jobd.errors import PayloadError
from jobd.testing import EmbeddedServer
from jobd.wire import payload
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon, environment, wait
from tests.support.ledger import whereabouts
from tests.support.others import NOBODY, Nobody

APP = """
    import time
    from pathlib import Path
    from jobd import job

    @job(name="ok")
    def ok():
        pass

    @job(name="nap")
    def nap(seconds):
        Path("napping").touch()
        time.sleep(seconds)

    @job(name="fails")
    def fails():
        raise ValueError("no such customer")
"""


# -- starts that cannot work -------------------------------------------------------------------


def sentence(text: str) -> str:
    """The one sentence that a refused command prints."""
    (line,) = text.splitlines()
    assert line.startswith("jobd: ")
    assert "Traceback" not in line
    return line


REFUSED = {
    "pidfile with garbage": (
        ["--pidfile", "garbage.pid"],
        73,
        r".*/garbage\.pid is not a pidfile.*",
    ),
    "pidfile is a directory": (["--pidfile", "dir"], 73, "cannot open the pidfile .*directory.*"),
    "pidfile in a missing directory": (
        ["--pidfile", "none/a.pid"],
        73,
        r"cannot create the pidfile .*none/a\.pid: .* does not exist; create it .*",
    ),
    "log in a missing directory": (
        ["--logfile", "none/a.log"],
        73,
        r"cannot open the log file .*none/a\.log: .* does not exist; create it",
    ),
    "log is a directory": (["--logfile", "dir"], 73, "cannot open the log file .*a directory.*"),
    "directory that does not exist": (
        ["--directory", "none"],
        78,
        "directory: .*/none does not exist; create it, or give another one with --directory",
    ),
    "directory is a file": (
        ["--directory", "garbage.pid"],
        78,
        r"directory: .*/garbage\.pid is not a directory; give another one with --directory",
    ),
    "module that does not exist": (
        ["-r", "nowhere"],
        66,
        "cannot import the application nowhere: there is no module nowhere in .*",
    ),
    "module that does not import": (
        ["-r", "broken"],
        66,
        r"cannot import the application broken: .*not_installed.* \(.*broken\.py, line 1\)",
    ),
    "file that does not exist": (["-r", "./none.py"], 66, r".*there is no file .*none\.py"),
    "queue name with a space": (["-q", "two words"], 78, '-q/--queue has .*"two words".*'),
    "negative weight": (["-q", "a,-1"], 78, "-q/--queue has the weight -1 .*"),
    "negative concurrency": (["-c", "-3"], 78, '-c/--concurrency must be at least 1, not "-3"'),
    "concurrency that is no number": (["-c", "ten"], 78, '-c/--concurrency .*"ten".*'),
    "no worker": (["-w", "0"], 78, "-w/--workers must be at least 1.*"),
    "option that does not exist": (["--bogus"], 64, "No such option:? '?--bogus.*"),
    "configuration that does not exist": (["-C", "none.toml"], 78, r".* none\.toml: .*"),
    "address that is no address": (["--redis", "ftp://x"], 78, "--redis .*redis://.*"),
    "nothing listens there": (
        ["--redis", "redis://127.0.0.1:1/0", "--start-timeout", "5"],
        69,
        r"not ready within 5 seconds .*waiting for Redis: .*refused.*",
    ),
}


@pytest.mark.parametrize("verb", ["run", "start"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_start_that_cannot_work_says_why(
    idle_daemon: Daemon, redis: redis_py.Redis, case: str, verb: str
) -> None:
    flags, code, message = REFUSED[case]
    directory = idle_daemon.directory
    idle_daemon.write_app(APP)
    (directory / "broken.py").write_text("import not_installed\n")
    (directory / "garbage.pid").write_text("not a pid\n")
    (directory / "dir").mkdir()
    redis.lpush("queue:default", '{"class":"ok","args":[],"jid":"waiting"}')
    require = [] if "-r" in flags else ["-r", "app"]
    done = subprocess.run(
        idle_daemon.command(verb, *require, *flags),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=directory,
        env=environment(),
    )
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert re.fullmatch(f"jobd: {message}", sentence(done.stderr))
    assert (directory / "garbage.pid").read_text() == "not a pid\n"
    # Only a daemon that has come far enough to import the application has a log to write to.
    idle_daemon.expect_in_log("worker_cannot_start")
    assert whereabouts(redis) == {"waiting": ["queue:default"]}


# -- jobs that cannot work ---------------------------------------------------------------------

HOPELESS: dict[str, tuple[bytes, str, dict[str, Any]]] = {
    # payload: the set where it ends, what is noted in it
    "raises": (
        b'{"class":"fails","args":[],"jid":"a1","retry":true,"queue":"default"}',
        "retry",
        {"error_class": "ValueError", "error_message": "no such customer", "retry_count": 0},
    ),
    "raises, and never said whether to retry": (
        b'{"class":"fails","args":[]}',
        "retry",
        {"error_class": "ValueError", "retry_count": 0},
    ),
    "raises, for the last time": (
        b'{"class":"fails","args":[],"jid":"a2","retry":0}',
        "dead",
        {"error_class": "ValueError", "retry_count": 0},
    ),
    "class that nobody knows": (
        b'{"class":"Nobody::Knows","args":[1],"jid":"a3"}',
        "retry",
        {"error_class": "jobd.errors.UnknownJobError", "args": [1]},
    ),
    "arguments that do not fit": (
        b'{"class":"ok","args":[1,2,3],"jid":"a4"}',
        "retry",
        {"error_class": "TypeError", "args": [1, 2, 3]},
    ),
    "arguments are an object": (
        b'{"class":"ok","args":{"a":1},"jid":"a5"}',
        "retry",  # its pairs are the arguments, as in Ruby, and do not fit
        {"error_class": "TypeError", "args": {"a": 1}},
    ),
    "class is a number": (
        b'{"class":5,"args":[],"jid":"a7"}',
        "dead",
        {"error_class": "jobd.errors.PayloadError", "class": 5},
    ),
    "no class": (b'{"args":[],"jid":"a6"}', "dead", {"jid": "a6"}),
    "no object": (b'["ok"]', "dead", {}),
    "not JSON": (b"not json {", "dead", {}),
    "not text": (b"\xff\xfe\x00", "dead", {}),
    "nested beyond reason": (
        b'{"class":"ok","args":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        "dead",
        {},
    ),
}


def fields(raw: bytes) -> dict[str, Any]:
    try:
        return payload.decode(raw)
    except PayloadError:
        return {"jid": raw}


def test_jobs_that_cannot_work_are_kept_and_hinder_nobody(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-c", "2")
    workers = running.workers()
    for raw, _, _ in HOPELESS.values():
        redis.lpush("queue:default", raw)
    redis.lpush("queue:default", '{"class":"ok","args":[],"jid":"last"}')
    kept = {key: sum(at == key for _, at, _ in HOPELESS.values()) for key in ("retry", "dead")}
    running.wait(
        lambda: (
            all(redis.zcard(key) == number for key, number in kept.items())
            and not list(redis.scan_iter("jobd:inflight:*"))
        ),
        20,
        "every job has found its place",
    )
    for case, (raw, key, noted) in HOPELESS.items():
        members: list[Any] = redis.zrange(key, 0, -1)
        if noted:
            (found,) = (m for m in map(fields, members) if m.get("jid") == fields(raw).get("jid"))
            assert {name: found.get(name) for name in noted} == noted, case
        else:
            wrapped = b'"args":[' + raw + b'],"class":"NotAJob"'  # JSON, but not an object
            kept_as = [one for one in members if raw == one or wrapped in one]
            assert len(kept_as) == 1, f"{case}: the bytes are kept as they were"
    assert running.workers() == workers, "no worker had to be replaced"
    assert int(redis.get("stat:failed") or 0) == kept["retry"] + 1
    assert running.stop() == 0


# -- Redis goes away ---------------------------------------------------------------------------


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server of this test alone, which may be killed and started again."""
    with EmbeddedServer(options={"appendfsync": "always"}) as server:
        yield server


def test_redis_that_dies_is_waited_for_and_no_job_is_lost(
    tmp_path: Path, mortal: EmbeddedServer
) -> None:
    running = Daemon(tmp_path, mortal.url)
    running.write_app(APP)
    running.run("-c", "2")
    running.wait_ready()
    workers, keeper = running.workers(), running.keeper()
    jids = Client(mortal.url).push_bulk({"class": "nap", "args": [[0.5]] * 6})
    try:
        running.wait((tmp_path / "napping").exists, 10, "jobs run")
        mortal.kill()
        running.wait_for_log("redis_unavailable")
        time.sleep(0.7)  # the jobs that run end while there is nobody to tell
        mortal.start()
        running.wait_for_log("redis_back")
        with redis_py.Redis.from_url(mortal.url) as client:
            running.wait(
                lambda: int(client.get("stat:processed") or 0) >= 6, 20, "all jobs have run"
            )
            running.wait(lambda: whereabouts(client) == {}, 10, "none is left anywhere")
        assert len(jids) == 6
        assert (running.workers(), running.keeper()) == (workers, keeper)
        assert running.stop() == 0
    finally:
        running.check()


# -- other users -------------------------------------------------------------------------------


def test_a_pidfile_that_belongs_to_another_user_is_refused(
    open_directory: Path, server: EmbeddedServer, redis: redis_py.Redis, nobody: Nobody
) -> None:
    running = Daemon(open_directory, server.url)
    running.write_app(APP)
    running.pidfile.write_text("")
    os.chown(running.pidfile, NOBODY, NOBODY)
    done = running.start()
    assert done.returncode == 73
    assert "it belongs to uid 65534" in sentence(done.stderr)
    assert running.pidfile.stat().st_uid == NOBODY


@pytest.mark.parametrize("verb", ["run", "start", "check"])
def test_a_directory_that_this_user_may_not_enter_is_named(
    open_directory: Path, server: EmbeddedServer, redis: redis_py.Redis, nobody: Nobody, verb: str
) -> None:
    running = Daemon(open_directory, server.tcp_url)
    closed = open_directory / "closed"
    (closed / "app").mkdir(parents=True)
    closed.chmod(0o700)
    for directory in (closed, closed / "app"):
        flags = running.command(verb, "-r", "app", "--directory", str(directory))[1:]
        refused = nobody(*flags)
        assert (refused.returncode, refused.stdout) == (78, ""), refused.stderr
        said = f"directory: uid {NOBODY} may not read {directory}; grant it access, or give another"
        # A check goes on, and finds what else such a user may not do.
        assert said in (refused.stderr if verb == "check" else sentence(refused.stderr))


def test_a_service_user_needs_its_own_directories(
    open_directory: Path, server: EmbeddedServer, redis: redis_py.Redis, nobody: Nobody
) -> None:
    running = Daemon(open_directory, server.tcp_url)
    running.write_app(APP)
    log = open_directory / "jobd.log"
    log.write_text("")  # root's, as after a first start by hand
    own = open_directory / "run"
    own.mkdir(mode=0o750)
    os.chown(own, NOBODY, NOBODY)
    running.pidfile, running.state_file, running.socket = (
        own / f"jobd.{suffix}" for suffix in ("pid", "state", "sock")
    )
    flags = running.command("start", "-r", "app", "--directory", str(open_directory))[1:]
    refused = nobody(*flags)
    assert refused.returncode == 73
    assert "uid 65534 may not write there; change its owner or mode" in sentence(refused.stderr)
    assert not running.pidfile.exists()

    os.chown(log, NOBODY, NOBODY)
    started = nobody(*flags)
    assert (started.returncode, started.stderr) == (0, "")
    running._master = psutil.Process(int(running.pidfile.read_text()))
    try:
        for process in psutil.Process(running.pid), *running.children():
            assert process.uids() == (NOBODY, NOBODY, NOBODY)
        Client(server.tcp_url).push({"class": "ok", "args": []})
        wait(lambda: redis.get("stat:processed") == b"1", 10, "its job has run")
        assert running.jobctl("status").returncode == 0, "root may always ask"
        assert running.jobctl("stop").returncode == 0
    finally:
        running.check()
