"""What `jobctl status` shows is so: an outage of Redis, places without a process, since when."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon

WITHIN = 8.0
"""Seconds; the longest pause between attempts to reach Redis is five."""


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """One that the test may end."""
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def here(tmp_path: Path, own_server: EmbeddedServer) -> Iterator[Daemon]:
    """A daemon that talks to it."""
    made = Daemon(tmp_path, own_server.url)
    made.write_app("")
    yield made
    made.check()


def answer(running: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(running.jobctl("status", "--json").stdout)
    return found


def missing(running: Daemon) -> set[str]:
    """Who misses Redis, as the daemon says."""
    shown = answer(running)
    children = [*shown["workers"], shown["keeper"]]
    found = {child["role"] for child in children if child["outage"]}
    assert found == set(shown["outage"]["processes"] if shown["outage"] else ())
    return found


@pytest.mark.parametrize("before", ["running", "quiet"])
def test_redis_goes_away_and_comes_back(
    here: Daemon, own_server: EmbeddedServer, before: str
) -> None:
    here.run("-w", "2")
    here.wait_ready()
    if before == "quiet":
        assert here.jobctl("quiet").returncode == 0
    assert missing(here) == set()
    assert "unavailable" not in here.jobctl("status").stdout
    own_server.stop()
    # What is quiet asks for nothing but its lease, every ten seconds.
    here.wait(
        lambda: missing(here) == {"worker.0", "worker.1", "keeper"},
        WITHIN if before == "running" else 20,
        "all processes miss it",
    )
    lines = here.jobctl("status").stdout.splitlines()
    assert " · Redis unavailable · " in lines[0]
    assert re.fullmatch(rf"redis   {own_server.url}  unavailable for \d+s: Error .*", lines[2])
    rows = [line for line in lines if line.startswith(("worker.", "keeper"))]
    assert len(rows) == 3
    assert all(row.endswith("  Redis unavailable") for row in rows)
    own_server.start()
    here.wait(lambda: not missing(here), WITHIN, "none of them misses it any more")
    assert "unavailable" not in here.jobctl("status").stdout


def test_systemd_is_told_of_an_outage(here: Daemon, own_server: EmbeddedServer) -> None:
    address = f"{here.directory}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(address)
        line.settimeout(15)
        here.run(env={"NOTIFY_SOCKET": address})
        here.wait_ready()
        own_server.stop()
        while "; Redis unavailable: Error" not in (said := line.recv(4096).decode()):
            pass
        assert said.startswith("STATUS=running gen 1: 1/1 workers, 0 busy")
        own_server.start()
        while "Redis unavailable" in (said := line.recv(4096).decode()):
            pass
        assert said.startswith("STATUS=running gen 1: 1/1 workers, 0 busy")


def test_a_refusal_of_the_server_is_shown_as_well(daemon: StartDaemon, redis: Any) -> None:
    running = daemon("", "--poll-interval", "0.1")
    # A full server refuses nothing that a daemon needs: test_full_server.py.
    redis.execute_command("ACL", "SETUSER", "default", "-evalsha")
    try:
        running.wait(lambda: answer(running)["outage"], 20, "the refusal")
        assert "no permissions to run the 'evalsha' command" in running.jobctl("status").stdout
    finally:
        redis.execute_command("ACL", "SETUSER", "default", "+@all")
    running.wait(lambda: not missing(running), WITHIN, "all is well again")


def test_the_state_is_explained_by_what_led_to_it(daemon: StartDaemon) -> None:
    began = time.time()
    running = daemon("")
    shown = answer(running)
    assert shown["cause"] == "started"
    assert began < shown["since"] < time.time()
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(shown["since"]))
    assert running.jobctl("status").stdout.splitlines()[1] == f"running since {at} (started)"
    assert running.jobctl("quiet").returncode == 0
    running.wait(lambda: answer(running)["state"] == "quiet", 5, "it is quiet")
    assert answer(running)["since"] > shown["since"]
    assert running.jobctl("resume").returncode == 0
    assert "(resumed: control socket, pid" in running.jobctl("status").stdout.splitlines()[1]


def test_a_place_without_a_process_is_shown_as_one(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon("", "-w", "2")
    (doomed, _) = running.workers()
    os.kill(doomed, signal.SIGKILL)
    # The first crash costs no time; the second is followed by a pause of a second.
    running.wait(lambda: len(running.workers()) == 2, 10, "a new one")
    assert running.jobctl("quiet").returncode == 0
    os.kill(running.workers()[0], signal.SIGKILL)
    running.wait(lambda: answer(running)["empty"] == ["worker.0"], 5, "the pause is over")
    rows = running.jobctl("status").stdout.splitlines()[-3:]
    assert [row.split()[0] for row in rows] == ["worker.0", "worker.1", "keeper"]
    assert re.fullmatch(r"worker\.0 +none +to be started on resume", rows[0].rstrip())
    assert running.jobctl("resume").returncode == 0
    running.wait(lambda: len(running.workers()) == 2, 10, "it is replaced")
    assert answer(running)["empty"] == []


def test_a_check_tells_by_its_code_how_things_are(here: Daemon, own_server: EmbeddedServer) -> None:
    here.run("-w", "2")
    here.wait_ready()

    def check() -> int:
        done = here.jobctl("status", "--check")
        assert len(done.stdout.splitlines()) == 1, done.stderr
        return done.returncode

    assert here.jobctl("status", "--check").stdout == "ok: running, 2 of 2 workers ready\n"
    assert check() == 0
    os.kill(here.workers()[0], signal.SIGUSR1)
    here.wait(lambda: check() == 10, 10, "one worker is quiet by itself")
    assert here.jobctl("quiet").returncode == 0
    assert check() == 9
    shown = json.loads(here.jobctl("status", "--check", "--json").stdout)
    assert shown["state"] in ("quieting", "quiet")
    assert here.jobctl("resume").returncode == 0
    here.wait(lambda: check() == 0, 10, "all is well")
    own_server.stop()
    here.wait(lambda: check() == 8, 20, "Redis is away")
    assert here.jobctl("status").returncode == 0
    own_server.start()
    here.wait(lambda: check() == 0, 20, "Redis is back")
    assert here.jobctl("stop").returncode == 0
    assert here.jobctl("status", "--check").returncode == 3


def test_a_reload_without_redis_says_what_it_waits_for_and_has_a_limit(
    here: Daemon, own_server: EmbeddedServer
) -> None:
    here.run()
    here.wait_ready()
    (worker,) = here.workers()
    own_server.stop()
    done = here.jobctl("reload", "--wait", "--timeout", "4")
    assert (done.returncode, done.stdout) == (5, "")
    waiting, gave_up = done.stderr.splitlines()[-2:]
    what = r"the new worker\.0 \(pid \d+\) to get ready"
    assert re.match(rf"jobctl: reload: waiting for {what}, which is waiting for Redis: ", waiting)
    assert re.match(
        rf"jobctl: reload: not done within 4 s; it continues, and is waiting for {what}", gave_up
    )
    assert answer(here)["state"] == "reloading"
    own_server.start()
    here.wait(lambda: worker not in here.workers(), 30, "the reload is complete")
