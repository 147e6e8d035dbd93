"""Chords with more members than fit into a list: their results in order, in bounded memory."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
import redis as redis_py

from jobd import App, FailedStep, StepResults, Workflow, chord
from jobd.errors import JobdError
from jobd.features.workflows.results import AT_ONCE
from jobd.store import scripts
from jobd.store.keys import Keys
from jobd.wire import payload
from jobd.wire.attachments import FIELD, Node, read
from jobd.wire.results import MAX_RESULT
from jobd.worker.run.inputs import MOST_BYTES, StepInputs

MEMBERS = 25_000
RESULT = "x" * 500
FAILED = 12_345
"""The member that has failed."""

TOGETHER = 1_000
FLIGHT = "jobd:inflight:test:1:x"


def jobs_of(app: App) -> tuple[Any, Any]:
    """A member, and the callback."""
    one = app.job(name="one")(lambda number: None)
    return one, app.job(name="total")(lambda values: None)


@contextmanager
def peak_of(most: float) -> Iterator[None]:
    """Fail if the block has more bytes at once."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
        assert peak < most, f"{peak:,} bytes at once"
    finally:
        tracemalloc.stop()


def end_members(redis: redis_py.Redis) -> None:
    """What workers do, in larger steps: each member returns its number and some text."""
    done = [FLIGHT, "queues", "stat:processed", "stat:processed:2026-11-30"]
    failed = [FLIGHT, *done[2:], "stat:failed", "stat:failed:2026-11-30"]
    for _ in range(0, MEMBERS, TOGETHER):
        raws: Any = redis.rpop("queue:default", TOGETHER)
        words: list[Any] = [60, "done"]
        for tag, raw in enumerate(raws):
            number = payload.decode(raw)["args"][0]
            redis.hset(FLIGHT, str(tag), raw)
            if number == FAILED:
                scripts.DISCARD(redis, failed, [60, str(tag), b'{"class":"ValueError"}'])
            else:
                words += (str(tag), f'{{"value":[{number},"{RESULT}"]}}')
        assert scripts.END(redis, done, words) == len(words) // 2 - 1


def test_a_chord_of_many_members(app: App, redis: redis_py.Redis) -> None:
    one, total = jobs_of(app)
    members = [one.s(number) for number in range(MEMBERS)]
    members[FAILED] = members[FAILED].step(on_failure="continue")
    run = Workflow.get(str(chord(members, total.s()).perform_async()), app.client)
    assert redis.llen("queue:default") == MEMBERS
    end_members(redis)
    assert run.info.summary.done == MEMBERS - 1

    raw: Any = redis.rpop("queue:default")  # the callback, once and after all
    assert redis.llen("queue:default") == 0
    fields = payload.decode(raw)
    node = read(fields[FIELD]).node
    assert node is not None
    work = payload.parse(raw)
    StepInputs(redis, Keys()).fill(work, node)
    [values] = work.args
    assert isinstance(values, StepResults)
    check(values)


def check(values: Sequence[Any]) -> None:
    assert len(values) == MEMBERS
    assert isinstance(values[FAILED], FailedStep)
    assert values[-1][0] == MEMBERS - 1
    assert [value[0] for value in values[20_000:20_003]] == [20_000, 20_001, 20_002]
    with peak_of(MEMBERS * len(RESULT) / 10):
        for number, value in enumerate(values):
            assert number == FAILED or value == [number, RESULT]


def test_small_results_are_read_in_few_round_trips(redis: redis_py.Redis) -> None:
    """As many as fit into some megabytes, not as many as would if each were of the largest."""
    count, key = 10_000, Keys().workflow("wide")
    redis.hset(key, "state", "running")
    redis.hset(key, mapping={f"r:{number}": f'{{"value":{number}}}' for number in range(count)})
    results = StepResults(redis, Keys(), "wide", range(count))
    before: Any = redis.info("stats")
    assert list(results) == list(range(count))
    after: Any = redis.info("stats")
    name = "total_reads_processed"  # what a client sends at once
    assert after[name] - before[name] <= count / AT_ONCE + 5
    nothing = StepResults(redis, Keys(), "wide", range(count, count + 3))
    assert list(nothing) == [None] * 3


LARGE = 60
"""Members whose results have a megabyte each, which is the most."""


def test_large_results_are_read_some_at_a_time(app: App, redis: redis_py.Redis) -> None:
    one, total = jobs_of(app)
    ref = str(chord([one.s(number) for number in range(LARGE)], total.s()).perform_async())
    steps = Workflow.get(ref, app.client).info.steps
    last = next(step for step in steps if step.job == "total")
    node = Node(ref, last.number, takes=True)
    result = json.dumps({"value": "x" * (MAX_RESULT - 20)})
    for number in range(LARGE):
        redis.hset(Keys().workflow(ref), f"r:{number}", result)
    work = payload.parse(b'{"class":"total","args":[],"jid":"1","queue":"default"}')
    most = 2.5 * MOST_BYTES  # what is taken, and what is found to be too much
    with peak_of(most):
        StepInputs(redis, Keys()).fill(work, node)
    [results] = work.args
    assert isinstance(results, StepResults)
    with peak_of(most):
        assert sum(len(value) for value in results) == LARGE * (MAX_RESULT - 20)
    redis.delete(Keys().workflow(ref))
    with pytest.raises(JobdError, match="is gone"):
        list(results)
