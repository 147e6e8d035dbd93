"""jobctl doctor on servers that answer, and refuse: what is wrong is found, and with what to do."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from jobd.api import Api
from jobd.api.diagnosis import findings
from jobd.api.diagnosis.server import CHECKS, ServerFacts, gather
from jobd.errors import UnavailableError
from jobd.testing import EmbeddedServer
from tests.faults.proxy import Proxy
from tests.integration.test_doctor import Doctor, doctor, found
from tests.support.daemon import wait
from tests.support.ports import free_port

__all__ = ["doctor"]

Made = tuple[EmbeddedServer, Any]


@pytest.fixture
def made() -> Iterator[Callable[..., Made]]:
    """Makes servers that a test may break."""
    servers: list[EmbeddedServer] = []

    def make(**options: str) -> Made:
        servers.append(EmbeddedServer(tcp=True, options=options).start())
        return servers[-1], redis_py.Redis.from_url(servers[-1].tcp_url)

    yield make
    for server in servers:
        server.remove()


def fail_to_save(server: EmbeddedServer, client: Any) -> None:
    # A snapshot cannot be put in the place of a directory, and then all writes are refused.
    (server.directory / "dump.rdb").mkdir()
    client.config_set("save", "3600 1")
    client.bgsave()
    wait(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", 10, "it failed")
    with pytest.raises(redis_py.ResponseError, match="MISCONF"):
        client.ping()


def test_a_snapshot_that_failed(doctor: Doctor, made: Callable[..., Made]) -> None:
    server, client = made()
    fail_to_save(server, client)
    answer = found(doctor("--json", url=server.tcp_url))
    assert set(answer) == {"redis.snapshot"}
    assert "BGSAVE" in answer["redis.snapshot"]["advice"]
    # What else shows the server goes on, and tells it, too.
    info = Api(client).info()
    assert not info.save_ok
    assert "The last snapshot of Redis failed" in str(info.warnings[0])


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    made = tmp_path / "small"
    made.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(made)]
    if subprocess.run(words, capture_output=True).returncode:
        pytest.skip("this user may not mount a small disk")
    yield made
    subprocess.run(["umount", "-l", str(made)], check=True)


def test_a_disk_on_which_the_append_only_file_has_no_room(
    doctor: Doctor, made: Callable[..., Made], small: Path
) -> None:
    server, client = made(dir=str(small))
    for number in range(20):
        with suppress(redis_py.ResponseError):  # it refuses what comes after that
            client.set(f"key{number}", "x" * 100_000)
    wait(lambda: client.info("persistence")["aof_last_write_status"] == "err", 10, "full")
    assert set(found(doctor("--json", url=server.tcp_url))) == {"redis.append-only"}
    server.kill()


def test_a_disk_on_which_the_log_has_no_room(
    doctor: Doctor, made: Callable[..., Made], small: Path, tmp_path: Path
) -> None:
    server, _ = made()
    file = tmp_path / "own.toml"
    file.write_text(f'redis = "{server.tcp_url}"\nlogfile = "{small}/jobd.log"\n')
    words = ("-C", str(file), "-P", str(tmp_path / "no.pid"), "--json")

    def told() -> list[str]:
        said = json.loads(doctor(*words, url=server.tcp_url).stdout)["findings"]
        return [one["text"] for one in said if str(small) in one["text"]]

    assert told() == []
    (small / "other").write_bytes(b"x" * 1_020_000)
    [text] = told()
    assert "The file system of the log" in text


def test_a_server_that_uses_the_memory_of_its_host(made: Callable[..., Made]) -> None:
    _, client = made()
    facts = gather(client)
    assert "redis.host-memory" not in {one.name for one in findings.run(CHECKS, facts)}
    most = facts.integer("used_memory_rss") + 1
    small = ServerFacts({**facts.info, "total_system_memory": most}, facts.snapshots)
    [told] = [one for one in findings.run(CHECKS, small) if one.name == "redis.host-memory"]
    assert "set maxmemory" in told.advice


def test_a_server_that_loads_its_data(doctor: Doctor, made: Callable[..., Made]) -> None:
    # Microseconds for each key.
    options = {"appendonly": "no", "key-load-delay": "5000", "save": "3600 1000000"}
    server, client = made(**options, **{"loading-process-events-interval-bytes": "1024"})
    client.mset({f"key{number}": "x" * 100 for number in range(20_000)})
    client.save()
    server.stop()

    def start() -> None:
        with suppress(UnavailableError):
            server.start()

    starting = threading.Thread(target=start)
    starting.start()
    try:
        wait(lambda: _loads(client), 20, "it loads")
        answer = found(doctor("--json", url=server.tcp_url))
    finally:
        server.kill()
        starting.join()
    assert set(answer) == {"redis.loading"}
    assert "loading_eta_seconds" in answer["redis.loading"]["advice"]


def _loads(client: Any) -> bool:
    try:
        return bool(client.info("persistence")["loading"])
    except redis_py.ConnectionError:
        return False


def test_a_network_that_is_slow(doctor: Doctor, made: Callable[..., Made]) -> None:
    server, _ = made()
    with Proxy(int(server.tcp_url.rpartition(":")[2].partition("/")[0]), delay=0.04) as proxy:
        told = json.loads(doctor("--json", url=proxy.url).stdout)["findings"]
    (slow,) = [one for one in told if one["name"] == "redis.latency"]
    assert "over 50 ms" in slow["text"]
    assert slow["advice"].startswith("ping its host")


@pytest.mark.parametrize(
    ("option", "says"), [("cluster-enabled", "cluster mode"), ("sentinel", "This is a Sentinel")]
)
def test_a_server_that_jobd_does_not_work_with(
    doctor: Doctor, tmp_path: Path, option: str, says: str
) -> None:
    from jobd.testing.server import find_server

    port = free_port()
    settings = tmp_path / "own.conf"
    settings.write_text(f"port {port}\ndir {tmp_path}\n")
    # The port of the bus would be 10,000 more, and may not exist.
    bus = ["--cluster-port", str(free_port())]
    words = ["--sentinel"] if option == "sentinel" else [f"--{option}", "yes", *bus]
    server = subprocess.Popen(
        [str(find_server()), str(settings), *words], stdout=subprocess.DEVNULL
    )
    try:
        client = redis_py.Redis(port=port)
        wait(lambda: _answers(client), 20, "it answers")
        answer = found(doctor("--json", url=f"redis://127.0.0.1:{port}"))
    finally:
        server.kill()
        server.wait()
    assert set(answer) == {"redis.version"}
    assert says in answer["redis.version"]["text"]
    assert answer["redis.version"]["advice"]


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except redis_py.ConnectionError:
        return False


def test_a_wrong_password_is_not_advised_as_a_wrong_address(
    doctor: Doctor, made: Callable[..., Made]
) -> None:
    server, client = made()
    client.config_set("requirepass", "right")
    answer = found(doctor("--json", url=server.tcp_url))
    assert "password" in answer["redis.reachable"]["advice"]
    server.kill()
    answer = found(doctor("--json", url=server.tcp_url))
    assert "see that it runs" in answer["redis.reachable"]["advice"]
