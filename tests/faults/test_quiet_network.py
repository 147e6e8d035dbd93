"""Connections that nothing was sent on for a while: firewalls forget them, servers close them."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis as redis_py

from jobd import Client
from jobd.api import Api
from jobd.store import pipeline as module
from jobd.store.connection import PROOF, TIMEOUT, connect
from jobd.store.pipeline import Wire
from jobd.store.scripts import OF_A_WORKER
from jobd.testing import EmbeddedServer
from tests.faults.proxy import Proxy
from tests.support.daemon import Daemon, wait

APP = """
    import os
    from jobd import job

    @job(name="ok")
    def ok(): pass
"""
AT_ONCE = TIMEOUT - 2 * PROOF
"""Seconds; whoever waits for a dead connection waits for TIMEOUT."""


@pytest.fixture
def proxy(server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[Proxy]:
    with Proxy(urlsplit(server.tcp_url).port or 0) as made:
        yield made


def processed(redis: redis_py.Redis, number: int) -> bool:
    return redis.get("stat:processed") == b"%d" % number


def outages(running: Daemon) -> list[dict[str, object]]:
    return [one for one in running.records() if one["event"] == "redis_unavailable"]


def test_jobs_start_at_once_behind_a_firewall_that_forgets(
    tmp_path: Path, proxy: Proxy, redis: redis_py.Redis
) -> None:
    proxy.forgets = 8.0  # a worker that waits says something every 5 seconds
    running = Daemon(tmp_path, proxy.url)
    running.write_app(APP)
    running.run("-c", "1")
    try:
        running.wait_ready()
        # The heartbeat is silent for longer, and so was everything that is as silent.
        running.wait(lambda: proxy.forgotten, 40, "a connection is forgotten")
        for number in range(1, 4):
            began = time.monotonic()
            Client(redis=redis).push({"class": "ok", "args": []})
            running.wait(
                partial(processed, redis, number),
                20,
                "it has run",
            )
            assert time.monotonic() - began < AT_ONCE
        assert outages(running) == []
    finally:
        running.check()


def test_a_server_that_closes_idle_connections_is_no_outage(tmp_path: Path) -> None:
    with EmbeddedServer(options={"timeout": "1", "appendonly": "no"}) as server:
        running = Daemon(tmp_path, server.url)
        running.write_app(APP)
        running.run("-c", "1")
        client = Client(server.url)
        try:
            running.wait_ready()
            with redis_py.Redis.from_url(server.url) as redis:
                for number in range(1, 4):
                    time.sleep(2.5)  # the server's timeout
                    client.push({"class": "ok", "args": []})
                    running.wait(
                        partial(processed, redis, number),
                        20,
                        "it has run",
                    )
            assert outages(running) == []
        finally:
            running.check()


def test_a_push_proves_a_connection_that_was_idle(proxy: Proxy, redis: redis_py.Redis) -> None:
    client = Client(f"{proxy.url}?health_check_interval=1")
    api = Api(f"{proxy.url}?health_check_interval=1")
    for number in range(1, 3):
        client.push({"class": "A", "args": []})
        assert api.queue("default").size == number * 2 - 1
        proxy.cut()
        time.sleep(1.1)  # the interval
        began = time.monotonic()
        client.push({"class": "A", "args": []})
        assert api.queue("default").size == number * 2
        assert time.monotonic() - began < AT_ONCE


def test_a_push_costs_no_more_while_the_connection_is_in_use(redis: redis_py.Redis) -> None:
    client = Client(redis=connect(_url(redis)))
    for _ in range(5):
        client.push({"class": "A", "args": []})
    assert "cmdstat_ping" not in redis.info("commandstats") or redis.config_resetstat()
    before = redis.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"]
    for _ in range(5):
        client.push({"class": "A", "args": []})
    after = redis.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"]
    assert after == before


def _url(redis: redis_py.Redis) -> str:
    return f"unix://{redis.get_connection_kwargs()['path']}"


def test_a_wire_knows_whether_the_server_is_there(
    proxy: Proxy, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire(connect(f"{proxy.url}?health_check_interval=1"))
    assert not wire.alive()
    wire.connect(OF_A_WORKER)
    assert wire.alive()
    monkeypatch.setattr(module, "REST", 0.0)
    redis.client_kill_filter(_type="normal", skipme=True)
    assert wait(lambda: not wire.alive(), 10, "the end has arrived")
    wire.connect()
    wire._used -= 10
    assert wire.alive()
    proxy.cut()
    assert wire.alive(), "it was used a moment ago"
    wire._used -= 10
    began = time.monotonic()
    assert not wire.alive()
    assert time.monotonic() - began < AT_ONCE
    wire.close()


def test_a_user_who_may_not_ping_is_there(server: EmbeddedServer, redis: Any) -> None:
    redis.execute_command("ACL", "SETUSER", "mute", "on", ">pw", "~*", "+@all", "-ping")
    try:
        url = server.url.replace("unix://", "unix://mute:pw@")
        wire = Wire(connect(f"{url}?health_check_interval=1"))
        wire.connect()
        wire._used -= 10
        assert wire.alive()
        assert wire.ask("GET", "x") is None
        wire.close()
    finally:
        redis.execute_command("ACL", "DELUSER", "mute")


def test_the_kernel_keeps_connections_alive(server: EmbeddedServer) -> None:
    with connect(server.tcp_url) as client:
        connection = client.connection_pool.make_connection()
        connection.connect()
        kernel: socket.socket = connection._sock
        assert kernel.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        connection.disconnect()
