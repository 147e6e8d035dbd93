"""A block whose answers from Redis are lost: each step is said once more, and made once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

import jobd
from jobd import App, UnavailableError
from jobd.testing import EmbeddedServer
from tests.support.relay import Relay, relay
from tests.support.workflows import end


@pytest.fixture
def network(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[Relay]:
    assert redis.ping()
    with relay(tmp_path, server.url.removeprefix("unix://").partition("?")[0]) as made:
        yield made


@pytest.fixture
def app(network: Relay) -> App:
    made = App()
    made.configure(network.url)
    return made


@pytest.fixture
def note(app: App) -> Any:
    job = app.job(name="note")(lambda value=0: value)
    with jobd.Batch(client=app.client):
        pass  # the server has the script, so that an answer that is lost is that of a step
    return job


def queued(redis: redis_py.Redis) -> int:
    return redis.llen("queue:default") + redis.zcard("schedule")


def add_callbacks(note: Any, batch: jobd.Batch) -> None:
    for number in range(2):
        batch.on_complete(note, number)


PUSHES: dict[str, Callable[[Any, jobd.Batch], object]] = {
    "now": lambda note, _: note.perform_bulk([[1], [2]]),
    "later": lambda note, _: note.perform_bulk([[1], [2]], at=4e9),
    "attached": lambda note, _: note.set(keep_result=60).perform_bulk([[1], [2]]),
    "unique": lambda note, _: note.set(unique=True).perform_bulk([[1], [1], [2]]),
    "callbacks": add_callbacks,
    "nothing": lambda note, _: None,
}


@pytest.mark.parametrize("what", PUSHES)
@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("runs", [False, True])
def test_the_answer_to_the_end_of_a_block(
    network: Relay, app: App, note: Any, redis: redis_py.Redis, what: str, goes_on: bool, runs: bool
) -> None:
    with jobd.Batch(client=app.client) as batch:
        if goes_on:
            note.perform_bulk([[0]] * 1_000)
            end(redis, "", most=1_000)
        PUSHES[what](note, batch)
        network.lose = 1
        if runs:  # all that was stored has ended when the step is said again
            network.meanwhile = lambda: end(redis, "", most=10)
    assert network.lost == 1
    status = batch.status
    assert status.open == 0
    members = 1_000 * goes_on + 2 * (what not in ("callbacks", "nothing"))
    assert status.total == members
    end(redis, "", most=10)
    done = members - 2 * (what == "later")
    assert (batch.status.done, batch.status.pending) == (done, members - done)
    assert queued(redis) == members - done


def test_the_end_of_a_block_whose_jobs_are_all_kept_out(
    network: Relay, app: App, note: Any, redis: redis_py.Redis
) -> None:
    once = note.set(unique=True)
    once.perform_async(1)
    with jobd.Batch(client=app.client) as batch:
        note.perform_bulk([[0]] * 1_000)
        once.perform_async(1)
        network.lose = 1
    assert network.lost == 1
    assert (batch.status.total, batch.status.open, queued(redis)) == (1_000, 0, 1_001)


def test_blocks_that_end_at_once_and_whose_jobs_are_all_kept_out(
    network: Relay, server: EmbeddedServer, app: App, note: Any, redis: redis_py.Redis
) -> None:
    """Others end before the first one repeats its end, whose answer was lost."""
    apart = App()
    apart.configure(server.url)
    other: Any = apart.job(name="note")(lambda value=0: value)
    once = note.set(unique=True)
    once.perform_async(1)

    def end_others() -> None:
        for _ in range(3):
            with jobd.Batch.open(batch.bid, client=apart.client):
                other.set(unique=True).perform_async(1)

    with jobd.Batch(client=app.client) as batch:
        note.perform_bulk([[0]] * 1_000)
        once.perform_async(1)
        network.lose, network.meanwhile = 1, end_others
    assert network.lost == 1
    assert (batch.status.total, batch.status.open, queued(redis)) == (1_000, 0, 1_001)
    marks = list(redis.scan_iter(f"jobd:batch:{batch.bid}:closed:*"))
    assert len(marks) == 4
    assert all(0 < redis.ttl(mark) <= 3600 for mark in marks)


def test_the_answers_to_other_steps(
    network: Relay, app: App, note: Any, redis: redis_py.Redis
) -> None:
    with jobd.Batch(client=app.client) as batch:
        network.lose = 1
        note.perform_bulk([[0]] * 1_000)
        assert network.lost == 1
        with jobd.Batch(client=app.client) as inner:
            note.perform_async(1)
            network.lose = 1
        assert network.lost == 2
        network.lose = 1
        with jobd.Batch.open(batch.bid, client=app.client):
            assert network.lost == 3
            note.perform_bulk([[0]] * 50)
    assert (batch.status.total, batch.status.open) == (1_000 + 1 + 50, 0)
    assert (inner.status.total, queued(redis)) == (1, 1_000 + 1 + 50)


def test_from_a_coroutine(network: Relay, app: App, note: Any, redis: redis_py.Redis) -> None:
    async def push() -> jobd.Batch:
        async with jobd.Batch(client=app.client) as batch:
            await note.aperform_bulk([[0]] * 1_000)
            await note.aperform_async(1)
            network.lose = 1
        return batch

    batch = asyncio.run(push())
    assert network.lost == 1
    assert (batch.status.total, batch.status.open, queued(redis)) == (1_001, 0, 1_001)


def test_two_answers_that_are_lost_are_an_error(
    network: Relay, app: App, note: Any, redis: redis_py.Redis
) -> None:
    def block() -> None:
        with batch:
            note.perform_async(1)
            # Of the second connection the first answer is one to its greeting.
            network.lose = 2

    batch = jobd.Batch(client=app.client)
    with pytest.raises(UnavailableError):
        block()
    assert (batch.status.total, batch.status.open, queued(redis)) == (1, 0, 1)
