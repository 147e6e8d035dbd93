"""Every kind of Redis address, with a whole daemon behind it; and passwords that nobody sees."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis as redis_py

from jobd import Client, UnavailableError
from jobd.api import Api
from jobd.cli.check import check
from jobd.store.connection import connect
from jobd.testing import EmbeddedServer
from jobd.testing.server import find_server
from jobd.testing.tether import spawn
from tests.support.daemon import Daemon, wait
from tests.support.ledger import whereabouts
from tests.support.ports import free_port
from tests.unit.project.test_manual import rows
from tests.web.serving import Served, get, serving

SECRET = "pa55+w%C3%B6rd"
APP = """
    from jobd import job

    @job(name="ok")
    def ok():
        raise_again()

    def raise_again():
        from pathlib import Path
        Path("ran").touch()
"""


def works(directory: Path, url: str, *flags: str, prefix: str = "") -> Daemon:
    """Run one job through a daemon at *url*; the daemon is left running."""
    running = Daemon(directory, url)
    running.write_app(APP)
    running.run(*flags)
    try:
        running.wait_ready()
        Client(url, prefix).push({"class": "ok", "args": []})
        with connect(url) as redis:
            running.wait(lambda: redis.get(f"{prefix}stat:processed") == b"1", 15, "it has run")
    except BaseException:
        running.check()
        raise
    return running


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_plain(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis, kind: str) -> None:
    works(tmp_path, server.tcp_url if kind == "tcp" else server.url).check()


@pytest.mark.parametrize("prefix", ["shop:", "{shop}:"])
def test_a_prefix_is_on_every_key(
    tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis, prefix: str
) -> None:
    running = works(tmp_path, server.url, "--prefix", prefix, prefix=prefix)
    Client(server.url, prefix).push({"class": "none", "args": []})
    running.wait(lambda: redis.zcard(f"{prefix}retry") == 1, 10, "a failed job")
    keys = [str(key, "utf-8") for key in redis.scan_iter("*")]
    assert len(keys) >= 8
    assert [key for key in keys if not key.startswith(prefix)] == []
    running.check()


@pytest.mark.parametrize("user", ["", "jobs"])
def test_a_password_is_shown_nowhere(tmp_path: Path, user: str) -> None:
    plain = "pa55+wörd"
    with EmbeddedServer(tcp=True) as server:
        host = server.tcp_url.removeprefix("redis://")
        with connect(server.url) as admin:
            if user:
                admin.execute_command(
                    "ACL", "SETUSER", user, "on", f">{plain}", "~*", "&*", "+@all"
                )
            admin.config_set("requirepass", plain)
        url = f"redis://{user}:{SECRET}@{host}"
        running = works(tmp_path, url)
        try:
            shown = running.log() + running.state_file.read_text() + running.output.read_text()
            for command in (["status"], ["status", "--json"], ["threads"]):
                shown += running.jobctl(*command).stdout
            # What it became of the command line, which ps shows to every user.
            for process in psutil.Process(running.pid), *running.children():
                shown += " ".join(process.cmdline())
            wrong = Daemon(tmp_path, f"redis://{user}:{SECRET}x@{host}")
            running.expect_in_log("worker_cannot_start")
            refused = wrong.start("--pidfile", str(tmp_path / "other.pid"))
            assert refused.returncode == 69
            assert "password" in refused.stderr
            shown += refused.stderr + wrong.log()
        finally:
            running.check()
    assert "***@" in shown
    assert "pa55" not in shown


# -- TLS ---------------------------------------------------------------------------------------


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[str]:
    """The URL of a server that speaks only TLS, with a certificate of its own."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if not program or not shutil.which("openssl"):
        pytest.skip("needs openssl, and a redis-server with TLS (apt-get install redis-server)")
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    port = free_port()
    options = {
        "port": "0",
        "tls-port": str(port),
        "bind": "127.0.0.1",
        "save": "",
        "tls-cert-file": str(certificate),
        "tls-key-file": str(key),
        "tls-ca-cert-file": str(certificate),
        "tls-auth-clients": "no",
        "dir": str(tmp_path),
        "daemonize": "no",
    }
    command = [program, *(word for name, value in options.items() for word in (f"--{name}", value))]
    with (tmp_path / "server.log").open("wb") as output:
        process = spawn(command, output=output)
    url = f"rediss://localhost:{port}/0?ssl_ca_certs={certificate}"
    try:
        wait(lambda: process.poll() is not None or answers(url), 10, "the server answers")
        if process.poll() is not None:
            pytest.skip(f"{program} was built without TLS")
        yield url
    finally:
        process.terminate()
        process.wait()


def answers(url: str) -> bool:
    try:
        with connect(url) as client:
            return bool(client.ping())
    except redis_py.RedisError:
        return False


def test_tls(tmp_path: Path, tls: str) -> None:
    works(tmp_path, tls).check()


def test_new_tls_connections_are_usable_at_once(tls: str) -> None:
    for _ in range(40):
        with connect(tls) as client:
            assert client.ping()
            assert client.ping()


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path, tls: str) -> None:
    running = Daemon(tmp_path, tls.partition("?")[0])
    running.write_app(APP)
    refused = running.start("--start-timeout", "6")
    assert refused.returncode == 69
    assert "certificate" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


# -- Sentinel ----------------------------------------------------------------------------------


class Watched:
    """A master, a replica, and a Sentinel that watches them.

    Args:
        more: lines for the Sentinel.
        down_after: ms without an answer after which a server is down for it.
    """

    def __init__(self, directory: Path, *more: str, down_after: int) -> None:
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes]] = []
        self.ports = [free_port() for _ in range(3)]
        first, second, sentinel = self.ports
        self.first = self._start("first", f"port {first}")
        self._start("second", f"port {second}", f"replicaof 127.0.0.1 {first}")
        self._start(
            "sentinel",
            f"port {sentinel}",
            f"sentinel monitor jobs 127.0.0.1 {first} 1",
            f"sentinel down-after-milliseconds jobs {down_after}",
            "sentinel failover-timeout jobs 3000",
            *more,
            flags=["--sentinel"],
        )
        self.url = f"redis+sentinel://127.0.0.1:{sentinel}/jobs/0"

    def _start(
        self, name: str, *lines: str, flags: list[str] | None = None
    ) -> subprocess.Popen[bytes]:
        home = self._directory / name
        home.mkdir()
        general = ["bind 127.0.0.1 -::1", f"dir {home}", "daemonize no"]
        if not flags:
            general += ["appendonly no", 'save ""', "repl-diskless-sync-delay 0"]
        (home / "server.conf").write_text("\n".join([*general, *lines]) + "\n")
        with (home / "output").open("wb") as output:
            command = [str(find_server()), str(home / "server.conf"), *(flags or [])]
            process = spawn(command, output=output)
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """Returns when the Sentinel knows the replica, so that it can fail over."""
    made = Watched(tmp_path, down_after=300)
    try:
        with redis_py.Redis(port=made.ports[2], decode_responses=True) as sentinel:

            def knows_the_replica() -> bool:
                try:
                    replicas = sentinel.execute_command("SENTINEL", "REPLICAS", "jobs")
                except redis_py.RedisError:
                    return False
                with redis_py.Redis(port=made.ports[1]) as replica:
                    return bool(replicas) and replica.info()["master_link_status"] == "up"

            wait(knows_the_replica, 25, "the Sentinel knows the replica")
        yield made
    finally:
        made.close()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Watched]:
    """One whose Sentinel wants a password, and listens on IPv6, too; its servers stay up, however
    busy the machine is."""
    lines = ("requirepass of-sentinel", "protected-mode no")
    made = Watched(tmp_path, *lines, down_after=600_000)
    try:
        yield made
    finally:
        made.close()


def refused(url: str) -> str:
    """What a push says."""
    with pytest.raises(UnavailableError) as raised:
        Client(url).push({"class": "ok", "args": []})
    return str(raised.value)


def test_sentinels_that_want_a_password(tmp_path: Path, guarded: Watched) -> None:
    port = guarded.ports[2]
    plain = f"redis+sentinel://127.0.0.1:{port}/jobs/1"
    wait(lambda: "Authentication required" in refused(plain), 20, "the Sentinel is there")
    said = f"127.0.0.1:{port} says: Authentication required (set the Sentinels' password as"
    assert said in refused(plain)
    assert "invalid username-password pair" in refused(f"{plain}?sentinel_password=Xs3cret")
    assert "Xs3cret" not in refused(f"{plain}?sentinel_password=Xs3cret")
    url = f"{plain}?sentinel_password=of-sentinel&socket_timeout=2&health_check_interval=30"
    other = url.replace("/jobs/", "/shop/")
    assert "it is not known there (known: jobs)" in refused(other)
    (tmp_path / "app").mkdir()
    works(tmp_path / "app", url).check()
    with socket.socket(socket.AF_INET6) as probe:
        if probe.connect_ex(("::1", port)) != 0:
            pytest.skip("no IPv6 on this machine")
    assert Client(url.replace("127.0.0.1", "[::1]")).push({"class": "ok", "args": []})


def test_sentinels_that_are_not_there_do_not_hide_one_that_is(guarded: Watched) -> None:
    first = f"127.0.0.1:{free_port()}"
    url = f"redis+sentinel://{first},127.0.0.1:{guarded.ports[2]}/jobs"
    wait(lambda: "Authentication" in refused(url), 20, "the Sentinel is there")
    assert f"{first} says: Error 111 connecting" in refused(url)
    assert Client(f"{url}?sentinel_password=of-sentinel").push({"class": "ok", "args": []})


# -- the manual's forms and options ------------------------------------------------------------


OPTION_VALUES = {
    "db": "3",
    "socket_timeout": "2.5",
    "socket_connect_timeout": "2",
    "socket_keepalive": "false",
    "health_check_interval": "30",
    "client_name": "shop",
    "protocol": "2",
}


def test_every_form_and_option_of_the_manual(server: EmbeddedServer, redis: Any) -> None:
    """Those of TLS and Sentinels have tests of their own."""
    page = Path(__file__).parents[2] / "docs/configuration.md"
    options = {name.strip("`"): only for name, _, only, _ in rows(page, "url options")}
    assert {name for name, only in options.items() if not only} == {
        *OPTION_VALUES,
        "username",
        "password",
    }
    redis.execute_command("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all")
    try:
        for number, url in enumerate(urls_for(server, page), 1):
            client = Client(url)
            client.push({"class": "ok", "args": []})
            assert Api(client).queue("default").size == number, url
            report = check(None, {}, {"redis": url, "require": ("jobd",)})
            assert [text for _, text in report.problems if "edis" in text] == []
        assert "shop" in {client["name"] for client in redis.client_list()}
    finally:
        redis.execute_command("ACL", "DELUSER", "app")


def urls_for(server: EmbeddedServer, page: Path) -> Iterator[str]:
    """Each example of the page that needs neither TLS nor Sentinels, for *server*: in database 3;
    then one with all options."""
    host = server.tcp_url.removeprefix("redis://").partition("/")[0]
    for *_, cell in rows(page, "url forms"):
        for url in re.findall("`(.*?)`", cell):
            if url.startswith("redis://"):
                password = "app:secret@" if "secret" in url else ""
                yield f"redis://{password}{host}/3"
            elif url.startswith("unix://"):
                password = "app:secret@" if "secret" in url else ""
                yield f"unix://{password}{server.socket}?db=3"
    pairs = "&".join(f"{name}={value}" for name, value in OPTION_VALUES.items())
    yield f"redis://{host}?{pairs}&username=app&password=secret"


def test_a_server_in_cluster_mode_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with EmbeddedServer(options={"cluster-enabled": "yes", "appendonly": "no"}) as server:
        report = check(None, {}, {"redis": server.url, "require": ("jobd",)})
        said = "is in cluster mode; jobd does not work with"
        assert any(said in text for _, text in report.problems)
        running = Daemon(tmp_path, server.url)
        running.write_app(APP)
        running.expect_in_log("worker_cannot_start")
        started = running.start()
        assert started.returncode == 69
        assert "use a server whose cluster mode is off" in started.stderr
        # Nobody serves the slots here: the server itself says no.
        with pytest.raises(UnavailableError, match="use a server whose cluster mode is off"):
            Client(server.url).push({"class": "ok", "args": []})
        with pytest.raises(UnavailableError, match="use a server whose cluster mode is off"):
            Api(server.url).stats()


def shows(dashboard: Served, port: int) -> bool:
    """Whether it knows how many jobs the server at that port has seen."""
    with redis_py.Redis(port=port) as server:
        processed = int(server.get("stat:processed") or 0)
    answer = get(dashboard.url + "api/v1/stats")
    return answer.status_code == 200 and answer.json()["processed"] == processed > 0


def test_sentinel_and_a_failover(tmp_path: Path, watched: Watched) -> None:
    (tmp_path / "app").mkdir()
    running = works(tmp_path / "app", watched.url)
    with serving(tmp_path, settings={"JOBD_REDIS": watched.url}) as dashboard:
        assert shows(dashboard, watched.ports[0])
        goes_on_after_a_failover(running, watched)
        with redis_py.Redis(port=watched.ports[1]) as second:
            second.incr("stat:processed")
        wait(lambda: shows(dashboard, watched.ports[1]), 20, "the dashboard shows the new master")


def goes_on_after_a_failover(running: Daemon, watched: Watched) -> None:
    try:
        workers = running.workers()
        watched.first.kill()
        client, jid = Client(watched.url), None
        until = time.monotonic() + 30
        while jid is None:
            try:
                jid = client.push({"class": "ok", "args": []})
            except Exception:  # noqa: BLE001 - whatever it is while nobody is in charge
                assert time.monotonic() < until, "no new master was elected"
                time.sleep(0.1)
        with redis_py.Redis(port=watched.ports[1]) as second:
            running.wait(
                lambda: int(second.get("stat:processed") or 0) >= 1 and not whereabouts(second),
                30,
                "the job has run at the new master",
            )
        assert running.workers() == workers
        assert running.stop() == 0
    finally:
        running.check()
