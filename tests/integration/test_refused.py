"""A server that grants a worker one connection, and no more: it goes on by asking."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py

from jobd.store.connection import connect
from jobd.testing import EmbeddedServer
from jobd.worker.fetch import refused_connections as refusal
from jobd.worker.fetch.tracking import Watch
from tests.integration.test_fetcher import watch_bugs
from tests.support import processes
from tests.support.engine import (
    KEYS,
    Engine,
    blocked,
    engine,
    gates,
    held,
    kill_connections,
    payload,
    processed,
    push,
    ran,
    until,
)

FEW = [("a", 0), ("b", 0), ("c", 0)]
MANY = [(f"q{n}", 0) for n in range(50)]


@pytest.fixture(autouse=True)
def clean() -> None:
    ran.clear()
    held.clear()
    gates.clear()


@pytest.fixture
def own() -> Iterator[EmbeddedServer]:
    """A server whose users and limits a test may change."""
    with EmbeddedServer(tcp=True, options={"appendonly": "no"}) as running:
        processes.servers.append(running)
        yield running
        processes.servers.remove(running)


@pytest.fixture
def client(own: EmbeddedServer) -> Iterator[redis_py.Redis]:
    made = connect(own.url, timeout=30)
    made.ping()
    yield made
    made.close()


def only_connection(client: redis_py.Redis, one: Engine) -> None:
    """From now on the server has no room for more connections than there are."""
    until(lambda: one.fetcher.registered, "it has connected")
    found: Any = client.info("clients")
    client.config_set("maxclients", int(found["connected_clients"]))


def received(client: redis_py.Redis) -> int:
    found: Any = client.info("stats")
    return int(found["total_connections_received"])


@pytest.mark.parametrize("queues", [FEW, MANY], ids=["waits", "watch"])
def test_a_server_that_is_full_of_connections(
    own: EmbeddedServer,
    client: redis_py.Redis,
    queues: list[tuple[str, int]],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refusal, "FIRST_PAUSE", 0.5)
    one = Engine(own.url, queues=queues)
    one.fetcher.quiet()
    one.start()
    try:
        bugs = watch_bugs(one)
        only_connection(client, one)
        before = received(client)
        one.fetcher.resume()
        for number in range(4):
            push(client, queues[number % 3][0], payload("Note", number))
            until(lambda: processed(client) == number + 1, "the job is done", 5)  # noqa: B023
        assert list(ran) == [0, 1, 2, 3]
        assert received(client) - before <= 5, "attempts come after growing pauses"
        client.config_set("maxclients", 1000)
        until(lambda: one.fetcher._waits.covers(()), "it waits after all")
        until(lambda: not one.fetcher._waits._way.refusal._error, "it says so")
        assert not bugs
    finally:
        one.close()
    said = capfd.readouterr().err
    assert said.count("queues_polled") == said.count("queues_waited_on") == 1
    assert "redis_unavailable" not in said


def user(client: redis_py.Redis, own: EmbeddedServer, *rules: str) -> str:
    """The URL of a user who may do all but what these rules take."""
    untyped: Any = client
    untyped.execute_command("ACL", "SETUSER", "worker", "on", ">pw", "~*", "&*", "+@all", *rules)
    return own.url.replace("redis://", "redis://worker:pw@").replace("unix://", "unix://worker:pw@")


def test_a_user_who_may_not_call_waits_back_watches(
    own: EmbeddedServer, client: redis_py.Redis, capfd: pytest.CaptureFixture[str]
) -> None:
    with engine(user(client, own, "-client|unblock"), queues=FEW, threads=1) as one:
        until(lambda: isinstance(one.fetcher._waits._way, Watch), "it watches them")
        until(lambda: one.fetcher._waits.covers(()), "all of them")
        before = received(client)
        for number in range(10):
            push(client, "abc"[number % 3], payload("Note", number))
            until(lambda: processed(client) == number + 1, "the job is done", 5)  # noqa: B023
        assert received(client) == before
        assert blocked(client) == 0
    said = capfd.readouterr().err
    assert said.count("queues_watched") == 1
    assert "client|unblock" in said
    assert "redis_unavailable" not in said


def test_a_permission_that_is_taken_later_costs_one_connection(
    own: EmbeddedServer, client: redis_py.Redis
) -> None:
    with engine(user(client, own), queues=FEW, threads=1) as one:
        until(lambda: blocked(client) == 3, "it waits on all")
        user(client, own, "-client|unblock")
        for number in range(6):
            push(client, "abc"[number % 3], payload("Note", number))
            until(lambda: processed(client) == number + 1, "the job is done", 5)  # noqa: B023
        until(lambda: isinstance(one.fetcher._waits._way, Watch), "it watches them instead")
        before = received(client)
        push(client, "a", payload("Note", 6))
        until(lambda: processed(client) == 7, "the job is done", 5)
        assert received(client) == before
    assert sorted(ran) == list(range(7))


@pytest.mark.parametrize(
    ("queues", "rules"),
    [
        (FEW, ["-client|unblock", "-client|tracking"]),
        (MANY, ["-client|tracking"]),
        (FEW, ["-blmove"]),
    ],
    ids=["neither", "tracking", "blmove"],
)
def test_a_user_who_may_not_wait_at_all_asks(
    own: EmbeddedServer,
    client: redis_py.Redis,
    queues: list[tuple[str, int]],
    rules: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    with engine(user(client, own, *rules), queues=queues, threads=1) as one:
        bugs = watch_bugs(one)
        until(lambda: one.fetcher._waits._way.refusal._told, "it polls")
        before = received(client)
        for number in range(3):
            push(client, queues[number][0], payload("Note", number))
            until(lambda: processed(client) == number + 1, "the job is done", 5)  # noqa: B023
        assert received(client) - before <= 2
        assert not bugs
    said = capfd.readouterr().err
    assert said.count("queues_polled") == 1
    assert "redis_unavailable" not in said
    assert not client.exists(KEYS.owners)


def test_a_server_that_refuses_after_it_has_let_in_is_asked_with_growing_pauses(
    own: EmbeddedServer, client: redis_py.Redis, capfd: pytest.CaptureFixture[str]
) -> None:
    """That it could connect and register used to end the growth each time."""
    client.set(KEYS.paused, "of another type")
    with engine(own.url, queues=FEW) as one:
        until(lambda: one.fetcher.outage, "claims fail")
        outage = one.fetcher._outage
        until(lambda: outage._pause > 1.5, "the pauses grow", 10)
        client.delete(KEYS.paused)
        push(client, "a", payload("Note", "after"))
        until(lambda: list(ran) == ["after"], "the job runs")
    said = capfd.readouterr().err
    assert said.count("redis_unavailable") == said.count("redis_back") == 1


def test_ends_of_connections_are_no_refusals(
    own: EmbeddedServer, client: redis_py.Redis, capfd: pytest.CaptureFixture[str]
) -> None:
    with engine(own.url, queues=FEW):
        for _ in range(3):
            until(lambda: blocked(client) == 3, "it waits on all")
            kill_connections(client)
        push(client, "a", payload("Note", 1))
        until(lambda: list(ran) == [1], "the job runs")
    assert "queues_polled" not in capfd.readouterr().err
