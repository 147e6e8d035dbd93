"""Row 27: Redis goes away in every way it can, under load, and comes back.

After each: nothing is lost, no job has run twice (no process died, so there is no reason to), the
worker works again within seconds, and each process has written one line about it. That is proved
as in a chaos run, from the server's append-only file and the journal of the jobs.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis as redis_py

from jobctl.chaos import journal
from jobd.errors import UnavailableError
from jobd.jobs.client import Client
from jobd.testing import EmbeddedServer
from tests.chaos.history import History
from tests.chaos.record import Record
from tests.chaos.verdict import judge
from tests.faults.proxy import Proxy
from tests.support.daemon import Daemon, wait
from tests.support.processes import freeze

BACK_WITHIN = 8.0
"""Seconds; the longest pause between attempts is five."""


class Feeder(threading.Thread):
    """Pushes a short job every few milliseconds; a push that fails is not repeated."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.stored: list[str] = []
        self._client = Client(url)
        self._ending = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._ending.wait(0.01):
            number += 1
            try:
                self.push(number % 5)
            except UnavailableError:
                continue

    def push(self, milliseconds: int) -> str:
        jid = self._client.push({"class": "work", "args": [milliseconds]})
        assert jid is not None
        self.stored.append(jid)
        return jid

    def stop(self) -> None:
        self._ending.set()
        self.join()


class Scene:
    """One server, one daemon, one feeder; the daemon talks to the server by *url*."""

    def __init__(self, directory: Path, server: EmbeddedServer, url: str) -> None:
        self.server = server
        self.redis = redis_py.Redis.from_url(server.url, protocol=2, socket_timeout=60)
        self.journal = directory / "journal"
        self.journal.mkdir()
        self.daemon = Daemon(directory, url)
        self.feeder = Feeder(server.url)
        self.daemon.run(
            *("-w", "1", "-c", "4", "--log-level", "info"),
            require="tests.chaos.app",
            env={"CHAOS_JOURNAL": str(self.journal)},
        )
        self.daemon.wait_ready()
        self.feeder.start()
        self.wait_for_progress()

    def executed(self) -> int:
        return sum(len(executions) for executions in journal.read(self.journal).values())

    def wait_for_progress(self, jobs: int = 20) -> None:
        before = self.executed()
        self.daemon.wait(lambda: self.executed() >= before + jobs, 20, f"{jobs} more executions")

    def be_idle(self) -> None:
        """Stop the load, and wait until the worker blocks in the server."""
        self.feeder.stop()
        self.daemon.wait(
            lambda: any(client["cmd"] == "blmove" for client in self.redis.client_list()),
            10,
            "a blocking claim",
        )

    def wait_until_noticed(self) -> None:
        """An idle worker notices when it asks again, after a few seconds; then let it try."""
        self.daemon.wait(lambda: self._lines("redis_unavailable")["worker.0"], 15, "an outage")
        time.sleep(2.0)

    def assert_back(self) -> None:
        """The trouble is over from now on; a job pushed now runs within seconds."""

        def runs() -> bool:
            return jid in journal.read(self.journal)

        jid = wait(self._push, 10, "a push succeeds")
        self.daemon.wait(runs, BACK_WITHIN, "a new job ran")

    def _push(self) -> str | None:
        try:
            return self.feeder.push(0)
        except UnavailableError:
            return None

    def finish(self, *, outages: int = 1, noticed: bool = True) -> None:
        """End everything and hold it all against each other.

        Args:
            outages: of one process, at most.
            noticed: the worker has had one, if there were any.
        """
        self.feeder.stop()
        self.daemon.wait(self._drained, 20, "all jobs ended")
        # A loop that sleeps between attempts to connect notices a little later.
        self.daemon.wait(
            lambda: self._lines("redis_back") == self._lines("redis_unavailable"),
            BACK_WITHIN,
            "the end of each outage in the log",
        )
        assert self.daemon.stop() == 0
        verdict = judge(
            History(self.server.directory),
            journal.read(self.journal),
            Record(),
            self.feeder.stored,
        )
        assert verdict.lost == []
        assert verdict.wrong == []
        assert verdict.executed == verdict.executions == verdict.jobs
        lines = self._lines("redis_unavailable")
        assert not noticed or (lines["worker.0"] > 0) == (outages > 0)
        assert all(count <= outages for count in lines.values()), self.outage_lines()

    def _lines(self, event: str) -> Counter[str]:
        """How often each process has logged *event*."""
        return Counter(line["role"] for line in self.outage_lines() if line["event"] == event)

    def outage_lines(self) -> list[dict[str, Any]]:
        return [line for line in self.daemon.records() if line["event"].startswith("redis_")]

    def _drained(self) -> bool:
        keys: Any = self.redis.keys()
        return not any(key.startswith((b"queue:", b"jobd:inflight", b"jobd:claim")) for key in keys)


class StartScene:
    """Starts a scene on *server*; everything in it ends with the test."""

    def __init__(self, directory: Path, server: EmbeddedServer) -> None:
        self.port = urlsplit(server.tcp_url).port or 0
        self.made: list[Scene] = []
        self._directory = directory
        self._server = server

    def __call__(self, url: str | None = None) -> Scene:
        self.made.append(Scene(self._directory, self._server, url or self._server.url))
        return self.made[-1]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[StartScene]:
    options = {
        "appendfsync": "always",
        "auto-aof-rewrite-percentage": "0",
        # Each entry of the file takes 0.3 ms to load, and clients are told so meanwhile.
        "key-load-delay": "300",
        "loading-process-events-interval-bytes": "1024",
    }
    with EmbeddedServer(tcp=True, options=options) as server:
        start = StartScene(tmp_path, server)
        yield start
        for one in start.made:
            one.feeder.stop()
            one.daemon.check()
            one.redis.close()


@pytest.mark.parametrize("how", ["kill", "shutdown"])
def test_27_the_server_is_restarted(scene: StartScene, how: str) -> None:
    here = scene()
    here.server.kill() if how == "kill" else here.server.stop()
    time.sleep(1.0)
    here.server.start()
    here.assert_back()
    here.finish()


def test_27_the_server_loads_its_data_for_a_while(scene: StartScene) -> None:
    here = scene()
    pipeline = here.redis.pipeline(transaction=False)
    for number in range(5000):
        pipeline.set(f"ballast:{number}", "x" * 200)
    pipeline.execute()
    here.server.stop()
    here.server.start()
    here.assert_back()
    here.daemon.wait_for_log("(?i)redis_unavailable.*loading|redis_back")
    here.finish()


@pytest.mark.parametrize("load", ["idle", "busy"])
def test_27_all_connections_are_killed(scene: StartScene, load: str) -> None:
    here = scene()
    if load == "idle":
        here.be_idle()
    here.redis.client_kill_filter(_type="normal", skipme=True)
    here.assert_back()
    # Others can be made at once.
    here.finish(outages=0)


def test_27_connections_are_killed_again_and_again(scene: StartScene) -> None:
    here = scene()
    for _ in range(20):
        here.redis.client_kill_filter(_type="normal", skipme=True)
        here.wait_for_progress(3)
    here.assert_back()
    here.finish(outages=20)


def test_27_the_server_hangs(scene: StartScene) -> None:
    here = scene()
    freeze(here.server.pid)
    # Longer than the timeout of a command, and than the wait for a blocking claim.
    time.sleep(12.0)
    here.server.send(signal.SIGCONT)
    here.assert_back()
    here.finish()


@pytest.mark.parametrize("load", ["idle", "busy"])
def test_27_the_memory_is_full(scene: StartScene, load: str) -> None:
    here = scene()
    if load == "idle":
        here.be_idle()
    here.redis.config_set("maxmemory", "1")
    here.daemon.wait_for_log("redis_full", 20)  # which is no outage
    here.redis.config_set("maxmemory", "0")
    here.assert_back()
    here.finish(outages=0)


@pytest.mark.parametrize("load", ["idle", "busy"])
def test_27_the_server_becomes_a_replica(scene: StartScene, load: str) -> None:
    here = scene()
    if load == "idle":
        here.be_idle()
    here.redis.replicaof("127.0.0.1", 1)
    here.wait_until_noticed()
    here.redis.replicaof("NO", "ONE")
    here.assert_back()
    here.finish()


def test_27_the_disk_is_full(scene: StartScene) -> None:
    here = scene()
    # A snapshot cannot be put in the place of a directory, and then all writes are refused.
    obstacle = here.server.directory / "dump.rdb"
    obstacle.mkdir()
    here.redis.config_set("save", "3600 1")
    here.redis.bgsave()
    wait(lambda: here.redis.info("persistence")["rdb_last_bgsave_status"] == "err", 10, "an error")
    here.wait_until_noticed()
    obstacle.rmdir()
    here.redis.config_set("save", "")
    here.assert_back()
    here.finish()


@pytest.mark.parametrize("milliseconds", [1, 5, 50])
def test_27_the_network_is_slow(scene: StartScene, milliseconds: int) -> None:
    with Proxy(scene.port, delay=milliseconds / 2000) as proxy:
        here = scene(proxy.url)
        here.wait_for_progress(200)
        here.assert_back()
        here.finish(outages=0)


@pytest.mark.parametrize("load", ["idle", "busy"])
def test_27_connections_go_dead_without_being_closed(scene: StartScene, load: str) -> None:
    with Proxy(scene.port) as proxy:
        here = scene(proxy.url)
        if load == "idle":
            here.be_idle()
        proxy.cut()
        # Nobody tells the worker: it must notice by itself that the server does not answer.
        here.daemon.wait_for_log("redis_back", 20)
        here.assert_back()
        # They are noticed one by one, each when it is used; most are replaced before that.
        here.finish(outages=2, noticed=False)
