"""Batches whose block pushes from several tasks and threads at once, over connections that overtake
each other."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest
import redis as redis_py

import jobd
from jobd import App
from jobd.ambient import clock
from jobd.errors import ArgumentError
from jobd.features.batches.turns import Turns
from jobd.store.async_enqueue import AsyncTransport
from jobd.store.batches import Added
from jobd.store.keys import Keys
from jobd.wire.batches import Portion, Queued, new_bid

KEYS = Keys("")
MANY = 4_500
"""More than the numbers in hand and what is held."""


@pytest.fixture
def note(app: App) -> Any:
    return app.job(name="note")(lambda value=0: value)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each second part takes longer than all that could overtake it."""
    add, sent = AsyncTransport.add, 0

    async def late(self: AsyncTransport, portion: Portion, now: float) -> Added:
        nonlocal sent
        sent += 1
        if sent % 2 == 0:
            for _ in range(1_000):
                await asyncio.sleep(0)
        return await add(self, portion, now)

    monkeypatch.setattr(AsyncTransport, "add", late)


def everything_is_there(redis: redis_py.Redis, batch: jobd.Batch, jids: list[Any]) -> None:
    pushed: Any = redis.lrange("queue:default", 0, -1)
    assert sorted(json.loads(raw)["jid"] for raw in pushed) == sorted(jids)
    status = batch.status
    assert (status.total, status.pending, status.open) == (len(jids), len(jids), 0)


@pytest.mark.usefixtures("slow")
def test_tasks_push_into_the_block_around_them(app: App, note: Any, redis: redis_py.Redis) -> None:
    async def push() -> tuple[jobd.Batch, list[Any]]:
        async with jobd.Batch(client=app.client) as batch:
            await note.aperform_bulk([[0]] * 1_000)  # the batch is known from now on
            redis.delete("queue:default")
            jids = await asyncio.gather(*(note.aperform_async(n) for n in range(MANY)))
        return batch, jids

    batch, jids = asyncio.run(push())
    assert redis.llen("queue:default") == len(set(jids)) == MANY
    assert (batch.status.total, batch.status.open) == (1_000 + MANY, 0)


@pytest.mark.usefixtures("slow")
def test_tasks_push_batches_into_the_block_around_them(app: App, note: Any) -> None:
    async def one() -> jobd.Batch:
        async with jobd.Batch(client=app.client) as batch:
            await note.aperform_async()
        return batch

    async def push() -> tuple[jobd.Batch, list[jobd.Batch]]:
        async with jobd.Batch(client=app.client) as outer:
            inner = await asyncio.gather(*(one() for _ in range(20)))
        return outer, inner

    outer, inner = asyncio.run(push())
    assert [batch.status.total for batch in inner] == [1] * 20
    assert outer.status.total == 20


def test_threads_push_into_the_block_around_them(
    app: App, note: Any, redis: redis_py.Redis
) -> None:
    def some(numbers: range) -> list[Any]:
        return [note.perform_async(number) for number in numbers]

    with ThreadPoolExecutor(4) as threads, jobd.Batch(client=app.client) as batch:
        running = [
            threads.submit(copy_context().run, some, range(first, MANY, 4)) for first in range(4)
        ]
        jids = [jid for one in running for jid in one.result()]
    everything_is_there(redis, batch, jids)


@pytest.mark.usefixtures("slow")
def test_threads_and_tasks_push_into_one_block(app: App, note: Any, redis: redis_py.Redis) -> None:
    def some() -> list[Any]:
        return [note.perform_async(number) for number in range(1_500)]

    async def tasks() -> list[Any]:
        return list(await asyncio.gather(*(note.aperform_async(n) for n in range(1_500))))

    async def push() -> tuple[jobd.Batch, list[Any]]:
        async with jobd.Batch(client=app.client) as batch:
            parts = await asyncio.gather(asyncio.to_thread(some), tasks(), asyncio.to_thread(some))
        return batch, [jid for part in parts for jid in part]

    everything_is_there(redis, *asyncio.run(push()))


def test_a_part_that_has_overtaken_another_is_refused(app: App, redis: redis_py.Redis) -> None:
    bid = new_bid()

    def portion(call: int, how: Any = "go on") -> Portion:
        raw = b'{"class":"note","args":[],"jid":"1","jobd":{"v":1,"batch":["%s",%d],'
        queued = [Queued(call, "default", [raw % (bid.encode(), call)])]
        fields = [("next", "100")] if how == "new" else []
        return Portion(bid, "block", how, call, False, 0, None, fields, [], queued, [], [])

    def add(made: Portion) -> str:
        return app.client._own().add(made, clock.now()).state

    assert add(portion(1, "new")) == "ok"
    assert add(portion(3)) == "closed", "or the second were taken for repeated"
    assert [add(portion(2)), add(portion(3))] == ["ok", "ok"]
    assert add(portion(2)) == "again"
    assert redis.llen("queue:default") == 3


# -- turns ----------------------------------------------------------------------------------------


def test_a_turn_that_was_waited_for_in_vain_is_passed_on() -> None:
    turns, order = Turns(), []

    async def take(name: str, held: asyncio.Event) -> None:
        async with turns.aone():
            order.append(name)
            await held.wait()

    async def main() -> None:
        held = asyncio.Event()
        names = ("first", "cancelled while it waits", "cancelled as it is its turn", "last")
        tasks = [asyncio.create_task(take(name, held)) for name in names]
        await asyncio.sleep(0)
        with pytest.raises(ArgumentError, match="async with"), turns.one():
            pass
        tasks[1].cancel()
        held.set()
        while not tasks[0].done():
            await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.wait(tasks)
        with turns.one():
            order.append("a thread")

    asyncio.run(asyncio.wait_for(main(), 60))
    assert order == ["first", "last", "a thread"]
