"""A full Redis, in which daemons start, work, are seen and stop as ever: only they can empty it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis as redis_py

import jobd
from jobd import Client
from jobd.api import Api
from jobd.errors import BatchFinished, JobdError, RefusedError
from jobd.store.keys import Keys
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon

APP = """
    import time
    from jobd import job

    @job
    def nap(seconds):
        time.sleep(seconds)

    @job
    def broken():
        raise ValueError("broken")
"""


@contextmanager
def full(redis: redis_py.Redis) -> Iterator[None]:
    """Nothing that needs memory is taken."""
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis_py.exceptions.OutOfMemoryError):
            redis.set("any", "thing")
        yield
    finally:
        redis.config_set("maxmemory", 0)


def _status(running: Daemon) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(running.jobctl("status", "--json").stdout)
    return answer


@pytest.fixture
def api(redis: redis_py.Redis) -> Api:
    return Api(redis)


def _events(running: Daemon, event: str) -> int:
    return sum(record["event"] == event for record in running.records())


def test_a_daemon_starts_works_and_stops_while_redis_is_full(
    daemon: StartDaemon, server: EmbeddedServer, redis: redis_py.Redis, api: Api
) -> None:
    client = Client(server.url)
    for name, args in (*[("app.nap", [0])] * 50, ("app.broken", [])):
        client.push({"class": name, "args": args, "queue": "default"})
    with full(redis):
        running = daemon(APP)
        running.wait(lambda: redis.get("stat:processed") == b"51", 20, "all jobs have run")
        assert api.retries.size == 1
        (process,) = api.processes
        assert process.dump_threads()
        running.wait(lambda: process.stacks(), 30, "dashboards get the stacks")
        assert api.processes.cleanup() == 0
        running.wait(lambda: "Redis is full" in running.jobctl("status").stdout, 20, "it says so")
        status = _status(running)
        assert status["outage"] is None
        assert all(not child["outage"] for child in [*status["workers"], status["keeper"]])
        checked = running.jobctl("status", "--check")
        assert checked.returncode == 10
        assert checked.stdout.startswith("Redis is full: it uses ")
        assert not _events(running, "redis_unavailable")
        assert _events(running, "redis_full") == 1
        assert running.jobctl("stop").returncode == 0
        assert not _events(running, "worker_not_unlisted")
        assert not redis.smembers(Keys("").processes)


def test_a_worker_that_has_died_is_taken_off_the_dashboards_at_once(
    daemon: StartDaemon, server: EmbeddedServer, redis: redis_py.Redis, api: Api
) -> None:
    running = daemon(APP, "-w", "1")
    (before,) = api.processes
    Client(server.url).push({"class": "app.nap", "args": [60], "queue": "default"})
    running.wait(lambda: list(api.work) or None, 30, "dashboards see that it runs")
    (worker,) = _status(running)["workers"]
    os.kill(worker["pid"], signal.SIGKILL)
    running.wait(
        lambda: [one.identity for one in api.processes] not in ([], [before.identity]),
        20,
        "there is another one, and only that",
    )
    (after,) = api.processes
    assert after.identity != before.identity
    assert before.identity not in {work.process for work in api.work}


def test_a_batch_does_not_succeed_without_jobs_that_could_not_be_sent(
    redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    """Whoever goes on after the error of a push is told that other jobs are lost."""
    client = Client(server.url)
    batch = jobd.Batch(client=client)
    refused = []

    def push(number: int) -> None:
        try:
            client.push({"class": "some", "args": [number]})
        except JobdError as error:
            refused.append(error)

    def block() -> None:
        with batch:
            with full(redis):
                for number in range(1_000):
                    push(number)
            for number in range(1_000, 3_000):
                push(number)

    with pytest.raises(BatchFinished, match=r"a part of its jobs is lost: .*maxmemory"):
        block()
    assert isinstance(refused[0], RefusedError)
    assert {type(error) for error in refused[1:]} == {BatchFinished}
    assert len(refused) == 1 + 2_000
    assert redis.keys("jobd:batch*") == []
    assert redis.exists("queue:default") == 0


def test_a_server_that_is_full_in_the_middle_of_a_batch(
    redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    """What was sent before stays, no callback is pushed, and another block goes on."""
    client = Client(server.url)
    batch = jobd.Batch(client=client)
    batch.on_success("told")

    def push(count: int) -> None:
        client.push_bulk({"class": "some", "args": [[1]] * count})

    def block() -> None:
        with batch:
            push(1_000)
            with full(redis):
                push(1_000)

    with pytest.raises(RefusedError, match="maxmemory"):
        block()
    status = batch.status
    assert (status.total, status.state, redis.llen("queue:default")) == (1_000, "open", 1_000)
    with jobd.Batch.open(batch.bid, client=client):
        push(1_000)
    api = Api(redis)
    assert api.batches.close(batch.bid) == 1
    assert api.queue("default").size == 2_000
    assert api.batches.cancel(batch.bid) == 2_000
    [told] = api.queue("default")
    assert (told.klass, batch.status.total) == ("told", 2_000)
