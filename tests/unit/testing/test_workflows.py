"""Workflows in the modes ``fake`` and ``inline``: the rules are those of the scripts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobd import App, FailedStep, Workflow, chain, chord, group
from jobd.testing import UnexpectedPushError, fake, inline, refuse

app = App()
app.configure("redis://127.0.0.1:1/0")  # nothing listens there
ran: list[Any] = []


@app.job(name="flow.add")
def add(a: int, b: int = 1) -> int:
    ran.append(a + b)
    return a + b


@app.job(name="flow.add_async")
async def add_async(a: int, b: int = 1) -> int:
    ran.append(a + b)
    return a + b


@app.job(name="flow.total")
def total(values: list[Any]) -> None:
    ran.append(values)


@app.job(name="flow.fail")
def fail() -> None:
    raise ValueError("on purpose")


@app.job(name="flow.see")
def see(value: object) -> None:
    ran.append(value)


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


def test_a_drain_runs_each_step_after_those_before_it() -> None:
    with fake() as jobs:
        (add.s(1) | group(add.s(10), add.s(20)) | total.s()).perform_async()
        assert [job.name for job in jobs] == ["flow.add"]
        jobs.assert_pushed(add, 1)
        assert jobs.drain() == 4
    assert ran == [2, 12, 22, [12, 22]]


def test_a_push_under_the_same_id_is_the_same_workflow() -> None:
    with fake() as jobs:
        flow = chain(add.s(1), add.s(2)).set(id="once")
        assert flow.perform_async() == flow.perform_async() == "once"
        assert len(jobs) == 1


def test_a_failure_stops_and_is_told_of() -> None:
    with fake() as jobs:
        chain(fail.s(), see.s()).set(on_error=see.s()).perform_async()
        with pytest.raises(ValueError, match="on purpose"):
            jobs.drain()
        assert jobs.drain() == 1
    [failure] = ran
    assert isinstance(failure, FailedStep)
    assert (failure.error_class, failure.message) == ("ValueError", "on purpose")


def test_with_continue_it_goes_on() -> None:
    with fake() as jobs:
        chord([add.s(1), fail.si().step(on_failure="continue")], total.s()).perform_async()
        assert jobs.drain() == 3
    [_, [first, second]] = ran
    assert first == 2
    assert isinstance(second, FailedStep)


def test_inline_runs_all_of_it_before_the_push_returns() -> None:
    with inline():
        flow = Workflow()
        first = flow.step("first", add.s(1))
        flow.step("second", add.s(first.result, first.result))
        flow.step("third", see.s({"of": flow.result("second")}))
        assert flow.perform_async()
        assert ran == [2, 4, {"of": 4}]
        ran.clear()
        with pytest.raises(ValueError, match="on purpose"):
            chain(fail.s(), see.s()).set(on_error=see.s()).perform_async()
    assert [type(one) for one in ran] == [FailedStep]


def test_inline_in_a_coroutine() -> None:
    async def work() -> None:
        with inline():
            await (add_async.s(1) | add.s(2) | add_async.s(3)).aperform_async()

    asyncio.run(work())
    assert ran == [2, 4, 7]


def test_refuse_refuses() -> None:
    with refuse(), pytest.raises(UnexpectedPushError, match=r"flow.add\(1\) and 1 more"):
        chain(add.s(1), add.s(2)).perform_async()
