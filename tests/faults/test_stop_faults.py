"""Rows 24, 25 and 39: stops that meet jobs that do not end, no Redis, or an impatient operator."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis as redis_py

from jobd import Client
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.faults.deaddisk import READ, DeadDisk, waiting
from tests.faults.proxy import Proxy
from tests.support.daemon import Daemon, environment
from tests.support.ledger import whereabouts
from tests.support.processes import freeze

APP = """
    import os, time
    from pathlib import Path
    from jobd import job

    def begin(what):
        Path(what).touch()

    @job(name="nap")
    def nap(seconds):
        begin("napping")
        time.sleep(seconds)

    @job(name="stubborn")
    def stubborn():
        begin("stubborn")
        while True:
            try:
                time.sleep(0.01)
            except BaseException:
                pass

    @job(name="asleep")
    def asleep():
        begin("asleep")
        time.sleep(600)

    @job(name="hog")
    def hog():
        begin("hog")
        sum(range(10**12))

    @job(name="stuck")
    def stuck():
        begin("stuck")
        READ
""".replace("READ", READ)


# -- 24: jobs that do not end ------------------------------------------------------------------


def test_24_jobs_that_nothing_ends_are_given_back_once_and_the_stop_is_in_time(
    dead_disk: DeadDisk, daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "4", "-c", "1", "-t", "1", ready=False)
    dead_disk.attach()
    running.wait_ready()
    jids = {}
    for name in ("stubborn", "asleep", "hog", "stuck"):
        jids[name] = Client(running.url).push({"class": name, "args": []})
        running.wait((running.directory / name).exists, 15, f"{name} runs")
    running.wait(
        lambda: any(waiting(worker) for worker in running.workers()),
        5,
        "one worker is in an uninterruptible sleep",
    )
    began = time.monotonic()
    running.signal(signal.SIGTERM)
    # The timeout, 5 s to give back, 6 s to clean up, and then the KILL and the recovery.
    code = running.wait_ended(25)
    assert time.monotonic() - began < 1 + 5 + 6 + 4
    assert code == 0
    assert whereabouts(redis) == {jid: ["queue:default"] for jid in jids.values()}
    killed = [r["child_pid"] for r in running.records() if r["event"] == "child_killed"]
    assert len(killed) == 2, "the two that could not hear; the others have left by themselves"
    stacks = "".join(r["stack"] for r in running.records() if r["event"] == "child_last_stacks")
    assert "in hog" in stacks


# -- 25: no Redis ------------------------------------------------------------------------------


def test_25_a_stop_without_redis_says_that_jobs_are_left(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    running = daemon(APP, "-t", "0")
    running.exit_codes = {75}
    jid = Client(running.url).push({"class": "nap", "args": [60]})
    running.wait((running.directory / "napping").exists, 10, "the job runs")
    assert server.pid is not None
    freeze(server.pid)
    try:
        running.signal(signal.SIGTERM)
        assert running.wait_ended(30) == 75
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert not running.pidfile.exists()
    running.exit_codes = {0}
    running.run("-t", "0")
    running.wait_ready()
    running.wait_for_log("recovery_complete")
    assert running.stop() == 0
    assert whereabouts(redis) == {jid: ["queue:default"]}
    assert not running.state_file.exists()


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """One that the test may end."""
    with EmbeddedServer(tcp=True) as server:
        yield server


@pytest.fixture
def here(tmp_path: Path, own_server: EmbeddedServer) -> Iterator[Daemon]:
    """A daemon that talks to it."""
    made = Daemon(tmp_path, own_server.url)
    made.write_app(APP)
    yield made
    made.check()


def wait_idle(running: Daemon, redis: redis_py.Redis, waits: int) -> None:
    """Until the daemon blocks in the server with so many claims."""

    def blocked() -> int:
        return sum(client["cmd"] == "blmove" for client in redis.client_list())

    running.wait(lambda: blocked() == waits, 10, "it is idle")


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_25_a_stop_without_redis_and_without_jobs_is_a_good_one(
    here: Daemon, own_server: EmbeddedServer, how: str
) -> None:
    here.run("-w", "2", "-q", "one", "-q", "two", "-q", "three", "-t", "60")
    here.wait_ready()
    with redis_py.Redis.from_url(own_server.url) as redis:
        Client(own_server.url).push({"class": "nap", "args": [0], "queue": "two"})
        here.wait(lambda: redis.get("stat:processed") == b"1", 10, "the job has run")
        wait_idle(here, redis, 2 * 3)
    own_server.kill() if how == "kill" else own_server.stop()
    for worker in ("worker.0", "worker.1"):
        here.wait_for_log(f"redis_unavailable.*{worker}|{worker}.*redis_unavailable")
    began = time.monotonic()
    done = here.jobctl("stop")
    assert (done.returncode, done.stdout, done.stderr) == (0, "stopped\n", "")
    assert here.wait_ended() == 0
    # Nobody waits for a server that is not there: not for the timeout, and not to sign off.
    assert time.monotonic() - began < 10


def test_25_a_quiet_daemon_holds_nothing_also_if_redis_hangs(
    here: Daemon, own_server: EmbeddedServer
) -> None:
    here.run("-t", "0")
    here.wait_ready()
    with redis_py.Redis.from_url(own_server.url) as redis:
        wait_idle(here, redis, 1)
        assert here.jobctl("quiet").returncode == 0
        wait_idle(here, redis, 0)
    freeze(own_server.pid)
    try:
        assert here.stop() == 0
    finally:
        own_server.send(signal.SIGCONT)


@pytest.mark.parametrize("arrived", [0, 20], ids=["nothing", "its beginning"])
def test_25_a_job_that_was_delivered_to_a_dead_connection_may_be_left(
    tmp_path: Path, own_server: EmbeddedServer, arrived: int
) -> None:
    """No worker holds it, and yet it is in no queue any more."""
    port = urlsplit(own_server.tcp_url).port or 0
    with Proxy(port) as proxy, redis_py.Redis.from_url(own_server.url) as redis:
        running = Daemon(tmp_path, proxy.url)
        running.write_app(APP)
        running.run("-t", "0")
        running.wait_ready()
        wait_idle(running, redis, 1)
        proxy.cut(after=arrived)
        jid = Client(own_server.url).push({"class": "nap", "args": [60]})
        running.wait(lambda: redis.llen("queue:default") == 0, 5, "it has been delivered")
        freeze(own_server.pid)
        running.exit_codes = {75}
        try:
            assert running.stop() == 75
        finally:
            own_server.send(signal.SIGCONT)
        (place,) = whereabouts(redis)[str(jid)]
        assert place.startswith(("jobd:claim:", "jobd:inflight:"))
        # The next start knows whose it was, and does not wait for the lease to end.
        running.exit_codes = {0}
        running.run("-t", "0", "-q", "other")
        running.wait_ready()
        running.wait_for_log("recovery_complete")
        assert whereabouts(redis) == {jid: ["queue:default"]}
        assert running.stop() == 0
        running.check()


# -- 39: an impatient operator -----------------------------------------------------------------


def heed_interrupts() -> None:
    """Tests that a shell runs in its background inherit an ignored Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_39_a_stop_goes_on_when_whoever_asked_for_it_has_left(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-t", "20")
    Client(running.url).push({"class": "nap", "args": [2]})
    running.wait((running.directory / "napping").exists, 10, "the job runs")
    asking = subprocess.Popen(
        [sys.executable, "-m", "jobctl.cli", "--pidfile", str(running.pidfile), "stop"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
        preexec_fn=heed_interrupts,
    )
    running.wait_for_log('"state":"stopping"')
    asking.send_signal(signal.SIGINT)
    said, told = asking.communicate(timeout=10)
    assert (asking.returncode, said) == (130, "")
    assert told.splitlines()[-1] == ("jobctl: interrupted; the daemon continues with the request")
    assert running.alive()
    assert running.wait_ended() == 0
    assert redis.get("stat:processed") == b"1"


def test_39_a_reload_goes_on_when_whoever_asked_for_it_has_left(daemon: StartDaemon) -> None:
    running = daemon("import time\ntime.sleep(0.5)\n", "-w", "2")
    asking = subprocess.Popen(
        [sys.executable, "-m", "jobctl.cli", "--pidfile", str(running.pidfile), "reload", "--wait"],
        stdout=subprocess.DEVNULL,
        env=environment(),
        preexec_fn=heed_interrupts,
    )
    running.wait_for_log('"state":"reloading"')
    asking.send_signal(signal.SIGINT)
    assert asking.wait(10) == 130
    running.wait_for_log("generation 2 is complete")
