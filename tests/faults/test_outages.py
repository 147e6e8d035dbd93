"""Redis is away for longer than a lease, and nobody dies: no running job goes to another worker.

Real leases last a minute, so the whole daemons are tried by ``make faults``. What they rely on is
tried in ``make test`` with leases of two seconds: two keepers, owners, and a server that freezes,
dies, or tells another time.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py

from jobd.jobs.client import Client
from jobd.keeper import leases as leases_module
from jobd.keeper import recovery as recovery_module
from jobd.keeper.leases import Leases
from jobd.keeper.recovery import Recovery
from jobd.store import inflight as inflight_module
from jobd.store import loops, scripts
from jobd.store.connection import connect
from jobd.testing import EmbeddedServer
from tests.support.daemon import Daemon
from tests.support.engine import KEYS, payload, until
from tests.support.processes import freeze

LEASE = 2.0

RAW = payload("Note", 1)


class Keeper:
    """What of a keeper deals with leases; it vouches for one worker."""

    def __init__(self, url: str, worker: str) -> None:
        self.worker = worker
        self.leases = Leases(connect(url), KEYS)
        self.leases.vouch_for([worker])
        self.recovery = Recovery(
            connect(url), KEYS, self.leases, lambda *what: pytest.fail(f"recovered: {what}")
        )
        self.loops = (self.leases, self.recovery)

    def start(self) -> None:
        for loop in self.loops:
            loop.start()

    def stop(self) -> None:
        for loop in self.loops:
            assert loop.stop(20)


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflight_module, "LEASE", LEASE)
    for module in (leases_module, recovery_module):
        monkeypatch.setattr(module, "LEASE", LEASE)
        monkeypatch.setattr(module, "INTERVAL", LEASE / 6)
    # A loop comes back before a lease ends, as it does with those of a minute.
    monkeypatch.setattr(loops, "LONGEST_PAUSE", LEASE / 12)


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(options={"appendfsync": "always"}) as running:
        yield running


@pytest.fixture
def keepers(short_leases: None, own_server: EmbeddedServer) -> Iterator[list[Keeper]]:
    made = [Keeper(own_server.url, f"host:{number}:worker") for number in (1, 2)]
    client = connect(own_server.url)
    for keeper in made:
        register(client, keeper.worker)
    yield made
    for keeper in made:
        keeper.stop()


def register(client: redis_py.Redis, worker: str) -> None:
    """A worker that holds a job."""
    scripts.REGISTER(client, [KEYS.owners, KEYS.clock, KEYS.waits(worker)], [worker, LEASE, "q"])
    client.hset(KEYS.inflight(worker), "1:q", RAW)


def clock(client: redis_py.Redis) -> float:
    return float(client.hget(KEYS.clock, "reachable") or 0)


def wait_for_a_lease(client: redis_py.Redis) -> None:
    """Until the clock has advanced by more than one."""
    began = clock(client)
    until(lambda: clock(client) > began + 1.5 * LEASE, "the clock of the leases goes")


@pytest.mark.parametrize("trouble", ["freeze", "kill", "clock"])
def test_what_is_away_for_longer_than_a_lease_takes_no_job_from_its_owner(
    keepers: list[Keeper], own_server: EmbeddedServer, trouble: str
) -> None:
    client = connect(own_server.url)
    register(client, "host:3:dead")
    for keeper in keepers:
        keeper.recovery._on_recovered = lambda *_: None
        keeper.start()
    wait_for_a_lease(client)
    assert client.lrange(KEYS.queue("q"), 0, -1) == [RAW], "of the one that nobody vouches for"
    if trouble == "freeze":
        freeze(own_server.pid)
        time.sleep(1.5 * LEASE)
        own_server.send(signal.SIGCONT)
    elif trouble == "kill":
        own_server.kill()
        time.sleep(1.5 * LEASE)
        own_server.start()
    else:
        client.hincrbyfloat(KEYS.clock, "seen", -1e6)
    wait_for_a_lease(client)
    assert client.llen(KEYS.queue("q")) == 1
    for keeper in keepers:
        assert client.hlen(KEYS.inflight(keeper.worker)) == 1


def test_the_owner_that_comes_back_last_still_has_its_lease(
    keepers: list[Keeper], own_server: EmbeddedServer
) -> None:
    """One keeper is back at once; the other one needs half of a lease more."""
    early, late = keepers
    client = connect(own_server.url)
    gate = threading.Event()
    late.leases.renew = gate.wait  # type: ignore[method-assign, assignment]
    early.start()
    client.hincrbyfloat(KEYS.clock, "seen", -1e6)
    began = clock(client)
    until(lambda: clock(client) > began + LEASE / 2, "half of a lease passes")
    scripts.RENEW(client, [KEYS.owners, KEYS.clock], [LEASE, 0, late.worker])
    wait_began = clock(client)
    until(lambda: clock(client) > wait_began + LEASE / 2, "and half of another")
    assert client.hlen(KEYS.inflight(late.worker)) == 1
    until(lambda: not client.exists(KEYS.inflight(late.worker)), "silent for one, it is taken back")
    gate.set()


APP = """
    import time
    from jobd import job

    @job(name="long")
    def long(number):
        with open("starts", "a") as starts:
            starts.write(f"{number}\\n")
        time.sleep(300)
"""


@pytest.mark.minutes
@pytest.mark.timeout(400)
@pytest.mark.parametrize("daemons", [1, 2])
@pytest.mark.parametrize("trouble", ["freeze", "kill"])
def test_whole_daemons_outlast_an_outage_of_75_seconds(
    tmp_path: Path, own_server: EmbeddedServer, daemons: int, trouble: str
) -> None:
    made = []
    for number in range(daemons):
        directory = tmp_path / str(number)
        directory.mkdir()
        running = Daemon(directory, own_server.url)
        running.write_app(APP)
        running.run("-c", "5", "-w", "2", "-t", "1")
        made.append(running.wait_ready())

    def starts() -> list[str]:
        files = [running.directory / "starts" for running in made]
        return [line for path in files if path.exists() for line in path.read_text().split()]

    client = Client(own_server.url)
    for number in range(8):
        client.push({"class": "long", "args": [number]})
    made[0].wait(lambda: len(starts()) == 8, 20, "all of them run")
    if trouble == "freeze":
        freeze(own_server.pid)
    else:
        own_server.kill()
    time.sleep(75)
    if trouble == "freeze":
        own_server.send(signal.SIGCONT)
    else:
        own_server.start()
    # By the clock of the leases: one and a half of them.
    server = connect(own_server.url)
    began = clock(server)
    made[0].wait(lambda: clock(server) > began + 90, 150, "leases could have ended")
    assert sorted(starts()) == sorted(map(str, range(8)))
    assert "lease_lost" not in "".join(running.log() for running in made)
    for running in made:
        running.stop()
        running.check()
