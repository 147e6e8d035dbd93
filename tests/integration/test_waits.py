"""Waits for batches and workflows that go on before whoever waits reads that they have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis as redis_py

import jobd
from jobd import App, Workflow, chain
from jobd.store.keys import Keys
from tests.support.daemon import wait
from tests.support.workflows import end

KEYS = Keys("")


@pytest.fixture
def note(app: App) -> Any:
    return app.job(name="note")(lambda value=0: value)


def a_batch(app: App, note: Any) -> tuple[str, Any]:
    with jobd.Batch(client=app.client) as made:
        note.perform_async()
    return KEYS.batch(made.bid), made


def a_workflow(app: App, note: Any) -> tuple[str, Any]:
    ref = str(chain(note.si(1)).perform_async())
    return KEYS.workflow(ref), Workflow.get(ref, client=app.client)


async def awaiting(what: Any, timeout: float | None) -> Any:
    method = what.await_ended if isinstance(what, jobd.Batch) else what.await_
    return await method(timeout)


WAYS: dict[str, Callable[[Any, float | None], Any]] = {
    "wait": lambda what, timeout: what.wait(timeout),
    "await": lambda what, timeout: asyncio.run(awaiting(what, timeout)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("made", [a_batch, a_workflow])
@pytest.mark.parametrize("timeout", [None, 60])
def test_an_end_that_was_taken_back_is_none(
    made: Any, way: str, timeout: float | None, app: App, note: Any, redis: redis_py.Redis
) -> None:
    """It raised TypeError, or that a minute had passed."""
    key, what = made(app, note)
    reads: list[object] = []
    ended = what._ended

    def read() -> object:
        found = ended()
        reads.append(found)
        return found

    what._ended = read
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(WAYS[way], what, timeout)
        wait(lambda: redis.pubsub_numsub(key) == [(key.encode(), 1)], 10, "it listens")
        wait(lambda: len(reads) >= 2, 10, "it waits")
        before = len(reads)
        # The end that is heard, and over when the record is read.
        redis.publish(key, "failed {}")
        wait(lambda: len(reads) > before or waiting.done(), 10, "it has looked")
        assert end(redis, "") == 1
        found = waiting.result(20)
    assert found == "done" if isinstance(found, str) else found.ended


def test_there_is_no_end_before_the_time_is_over(
    app: App, note: Any, redis: redis_py.Redis
) -> None:
    _, batch = a_batch(app, note)
    with pytest.raises(jobd.ResultTimeoutError, match=r"within 0\.2 s: 1 of 1 jobs"):
        batch.wait(0.2)
    with pytest.raises(jobd.ResultTimeoutError, match=r"within 0\.2 s: 1 of 1 jobs"):
        asyncio.run(batch.await_ended(0.2))
    assert end(redis, "") == 1
