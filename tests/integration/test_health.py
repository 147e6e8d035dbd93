"""The health listener of a real daemon, over real sockets."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import redis as redis_py
from prometheus_client.parser import text_string_to_metric_families

from jobd.api import Api
from jobd.api.shared.figures import Figures
from jobd.api.shared.prometheus import families
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon, wait
from tests.support.ports import free_port

APP = """
import time
from jobd import job

@job
def nap(seconds): time.sleep(seconds)
"""


def events(running: Daemon, name: str) -> list[dict[str, Any]]:
    return [record for record in running.records() if record.get("event") == name]


def get(port: int, path: str, method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        assert answer.headers["connection"] == "close"
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def listens(port: int) -> bool:
    with suppress(OSError):
        return get(port, "/healthz")[0] == 200
    return False


def ready(port: int) -> bool:
    with suppress(OSError):
        return get(port, "/readyz")[0] == 200
    return False


def listening(daemon: StartDaemon, *flags: str) -> tuple[Daemon, int]:
    port = free_port()
    running = daemon(APP, "--health", f"127.0.0.1:{port}", "-c", "2", *flags)
    running.wait(lambda: ready(port), 30, "ready")
    return running, port


def test_the_four_answers(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running, port = listening(daemon, "-w", "2")
    running.wait(lambda: get(port, "/readyz")[1] == "ok: 2 workers take jobs\n", 30, "two workers")
    assert get(port, "/healthz") == (200, "ok\n")
    assert get(port, "/healthz", "HEAD") == (200, "")
    redis.lpush("queue:other", b"{}")
    redis.sadd("queues", "other")

    status, text = get(port, "/metrics")
    assert status == 200
    found = {family.name: family for family in text_string_to_metric_families(text)}
    figures = Figures(Api(redis))
    read = figures.stats(), figures.queues(), figures.processes(), figures.info()
    dashboards = {one.name.removesuffix("_total") for one in families(*read, known=1)}
    assert set(found) == dashboards
    assert [sample.value for sample in found["jobd_queue_jobs"].samples] == [1.0]

    def processes() -> bool:
        told = json.loads(get(port, "/scale")[1])
        return bool(told["workers_now"] == 2 and told["workers"] == 1)

    running.wait(processes, 30, "an idle fleet needs one worker")
    told = json.loads(get(port, "/scale?x=1")[1])
    assert (told["queues"], told["waiting"], told["running"]) == (["default"], 0, 0)

    status, text = get(port, "/")
    assert status == 404
    assert "/healthz /readyz /metrics /scale" in text


def test_a_busy_fleet_wants_more(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running, port = listening(daemon)
    api = Api(redis)
    for _ in range(400):
        redis.lpush("queue:default", b'{"class":"app.nap","args":[0.1],"jid":"a"}')
    redis.sadd("queues", "default")

    def told() -> dict[str, object]:
        found: dict[str, object] = json.loads(get(port, "/scale")[1])
        return found

    def grown() -> bool:
        found = told()
        return bool(found["known"] and found["seconds_per_job"] and found["running"])

    running.wait(grown, 60, "measured")
    found = told()
    assert 0.05 < float(str(found["seconds_per_job"])) < 10
    assert int(str(found["workers"])) >= 1
    assert api.queue("default").clear() >= 0


def test_redis_away_is_alive_and_not_ready(
    daemon: StartDaemon, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    running, port = listening(daemon)
    assert server.pid is not None
    process = psutil.Process(server.pid)
    process.suspend()
    try:
        running.wait(lambda: not ready(port), 60, "not ready")
        assert get(port, "/healthz") == (200, "ok\n")
        began = time.monotonic()
        status, text = get(port, "/metrics")
        assert status == 503, text
        assert get(port, "/healthz") == (200, "ok\n")
        assert time.monotonic() - began < 60
        status, text = get(port, "/readyz")
        assert status == 503
    finally:
        process.resume()
    running.wait(lambda: ready(port), 60, "ready again")
    running.wait(lambda: get(port, "/metrics")[0] == 200, 30, "metrics again")


def test_a_quiet_daemon_is_not_ready(daemon: StartDaemon) -> None:
    running, port = listening(daemon)
    running.signal(signal.SIGUSR1)
    running.wait(lambda: not ready(port), 30, "not ready")
    assert "takes no jobs: quiet" in get(port, "/readyz")[1]
    assert get(port, "/healthz")[0] == 200


def test_a_stopped_master_is_seen(daemon: StartDaemon) -> None:
    running, port = listening(daemon)
    psutil.Process(running.pid).suspend()
    try:
        running.wait(lambda: not ready(port), 60, "not ready")
        assert "the master has said nothing for" in get(port, "/readyz")[1]
        running.wait(lambda: not listens(port), 120, "not alive")
        assert "the master has said nothing for" in get(port, "/healthz")[1]
    finally:
        psutil.Process(running.pid).resume()
    running.wait(lambda: listens(port) and ready(port), 60, "again")
    running.expect_in_log("master_was_paused")


@contextmanager
def connections(port: int, count: int) -> Iterator[list[socket.socket]]:
    made = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(count)]
    try:
        yield made
    finally:
        for one in made:
            one.close()


def answer_of(one: socket.socket) -> bytes:
    parts = []
    with suppress(ConnectionResetError):
        while part := one.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_slow_and_hostile_clients(daemon: StartDaemon) -> None:
    running, port = listening(daemon)
    with connections(port, 300) as made:
        # Three hundred that say nothing, or little: a probe gets through.
        for number, one in enumerate(made):
            with suppress(OSError):
                one.sendall(b"GET /healthz HTTP/1.1\r\nX-Slow: "[: number % 40])
        assert get(port, "/healthz") == (200, "ok\n")
        # They are told, or cut off, within seconds.
        last = answer_of(made[-1])
        assert last.startswith(b"HTTP/1.1 408 ")
        assert answer_of(made[0]) == b""
    bad = {
        b"\0" * 100_000: b"431 ",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n": b"431 ",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5_000 + b"\r\n": b"431 ",
        b"\x16\x03\x01\x02\0\x01\r\n\r\n": b"400 ",
        b"GET /healthz\r\n\r\n": b"400 ",
        b"GET http://[ HTTP/1.1\r\n\r\n": b"400 ",
        b"POST /healthz HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello": b"405 ",
        b"GET /../etc/passwd HTTP/1.1\r\n\r\n": b"404 ",
        b"GET http://evil/healthz HTTP/1.0\r\n\r\n": b"200 ",
    }
    for request, status in bad.items():
        with connections(port, 1) as [one]:
            with suppress(OSError):
                one.sendall(request)
            found = answer_of(one)
            assert found.startswith(b"HTTP/1.1 " + status) or (not found and status == b"431 ")
    assert get(port, "/healthz") == (200, "ok\n")
    running.wait(lambda: ready(port), 30, "still ready")


def test_a_taken_port_is_said_and_waited_for(daemon: StartDaemon) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        running = daemon(APP, "--health", f"127.0.0.1:{port}")
        running.wait(lambda: events(running, "health_not_listening"), 30, "said so")
        [said] = events(running, "health_not_listening")
        assert said["address"] == f"127.0.0.1:{port}"
        assert "in use" in said["error"]

        def checked() -> bool:
            done = running.jobctl("status", "--check")
            return done.returncode != 0 and "Address already in use" in done.stdout

        running.wait(checked, 30, "in the status")
        assert running.alive()
    running.wait(lambda: listens(port), 30, "listens as soon as it can")
    running.wait(lambda: running.jobctl("status", "--check").returncode == 0, 30, "all is well")


def test_it_moves_at_a_reload(daemon: StartDaemon, tmp_path: Path) -> None:
    first, second = free_port(), free_port()
    file = tmp_path / "jobd.toml"
    file.write_text(f'health = "127.0.0.1:{first}"\n')
    running = daemon(APP, "-C", str(file))
    running.wait(lambda: ready(first), 30, "ready")
    # The same settings: the keeper stays, and so does the listener.
    running.signal(signal.SIGHUP)
    running.wait(lambda: len(events(running, "state_changed")) >= 3, 60, "reloaded")
    running.wait(lambda: ready(first), 30, "ready")
    file.write_text(f'health = "127.0.0.1:{second}"\ntag = "moved"\n')
    running.signal(signal.SIGHUP)
    running.wait(lambda: ready(second), 60, "moved")
    assert not listens(first)
    # Another setting: a new keeper listens on the same port.
    file.write_text(f'health = "127.0.0.1:{second}"\ntag = "again"\n')
    before = running.keeper()
    running.signal(signal.SIGHUP)
    running.wait(lambda: running.keeper() not in (None, before), 60, "another keeper")
    running.wait(lambda: ready(second), 60, "rebound")
    # And so does one that comes after a crash.
    [keeper] = [one for one in running.children() if one.pid == running.keeper()]
    keeper.kill()
    running.wait(lambda: ready(second), 60, "rebound after a crash")
    running.expect_in_log("child_died")
    file.write_text("")
    running.signal(signal.SIGHUP)
    running.wait(lambda: not listens(second), 60, "off")


def test_a_socket_file(daemon: StartDaemon, tmp_path: Path) -> None:
    path = tmp_path / "health.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))  # left behind: nobody listens
    running = daemon(APP, "--health", str(path))

    def answered() -> bytes:
        with socket.socket(socket.AF_UNIX) as one, suppress(OSError):
            one.settimeout(30)
            one.connect(str(path))
            one.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
            return answer_of(one)
        return b""

    running.wait(lambda: answered().endswith(b"\r\n\r\nok\n"), 30, "answers")
    # Another daemon does not take it.
    other = daemon(APP, "--health", str(path))
    other.wait(lambda: events(other, "health_not_listening"), 30, "said so")
    assert answered().endswith(b"ok\n")
    other.stop()
    assert answered().endswith(b"ok\n")
    running.stop()
    wait(lambda: not path.exists(), 30, "removed")


def sockets(process: psutil.Process) -> list[Any]:
    named = "net_connections" if hasattr(process, "net_connections") else "connections"  # psutil 5
    found: list[Any] = getattr(process, named)("inet")
    return found


def test_nothing_listens_where_it_is_not_set(daemon: StartDaemon) -> None:
    running = daemon(APP)
    family = [psutil.Process(running.pid), *running.children()]
    assert not [place for one in family for place in sockets(one) if place.status == "LISTEN"]
