"""What ``fake``, ``inline`` and ``refuse`` have of their own where batches are pushed; what they
have in common with a server is in ``tests/conformance/test_batches_in_modes.py``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from jobd import App, Batch
from jobd.errors import JobNotFoundError, ResultTimeoutError
from jobd.testing import NoRedisError, UnexpectedPushError, fake, inline, refuse

app = App()
app.configure("redis://127.0.0.1:1/0")  # nothing listens there
ran: list[Any] = []


@app.job(name="batch.note")
def note(value: object) -> None:
    ran.append(value)


@app.job(name="batch.later")
async def later(value: object) -> None:
    ran.append(value)


@app.job(name="batch.fail")
def fail(text: str) -> None:
    ran.append(text)
    raise ValueError(text)


@pytest.fixture(autouse=True)
def nothing_ran() -> None:
    ran.clear()


def two_failures_and_a_note() -> None:
    for text in ("a", "b"):
        fail.perform_async(text)
    note.perform_in(60, 1)
    assert not ran


def batch() -> Batch:
    made = Batch(client=app.client)
    made.on_success(note, "success")
    made.on_death(note, "death")
    return made


def test_members_are_collected_and_callbacks_once_they_are_due() -> None:
    with fake() as jobs:
        with batch() as made:
            jid = note.perform_async(1)
            assert not jobs.pushed()
        [member] = jobs
        assert (member.jid, member.attached.batch) == (jid, (made.bid, 2))
        jobs.assert_pushed(note, 1)
        jobs.assert_not_pushed(note, "success")
        jobs.perform_one()
        jobs.assert_pushed(note, "success", times=1)
        assert made.status.success_at is not None
        assert jobs.drain() == 1
    assert ran == [1, "success"]


def test_a_drain_that_ends_with_a_failure_goes_on_with_the_next() -> None:
    with fake() as jobs:
        with batch():
            fail.perform_async("a")
            note.perform_async(1)
            fail.perform_async("b")
        for text in ("a", "b"):
            with pytest.raises(ValueError, match=text):
                jobs.drain()
        assert jobs.drain() == 0
    assert ran == ["a", "death", 1, "b"]


def test_inline_raises_the_first_failure_when_all_have_run() -> None:
    with inline() as jobs:
        with pytest.raises(ValueError, match="a"), batch():
            two_failures_and_a_note()
        assert ran == ["a", "b", 1, "death"]
        assert len(jobs) == 0


def test_inline_in_a_coroutine() -> None:
    async def work() -> None:
        with inline():
            async with batch() as made:
                await later.aperform_async(1)
                await note.aperform_async(2)
                assert not ran
            assert (await made).done == 2

    asyncio.run(work())
    assert ran == [1, 2, "success"]


def test_nobody_runs_the_jobs_of_a_batch_that_is_waited_for() -> None:
    with fake() as jobs:
        with batch() as made:
            note.perform_async(1)
        with pytest.raises(ResultTimeoutError, match="1 of 1 jobs are pending"):
            made.wait(timeout=60)
        with pytest.raises(NoRedisError, match=r"run them before, by jobs\.drain\(\)"):
            made.wait()
        with pytest.raises(NoRedisError, match=r"fake\(\) has replaced"):
            made.cancel()
        jobs.drain()
        assert made.wait().done == 1
        jobs.clear()
        with pytest.raises(JobNotFoundError):
            made.wait()


def test_refuse_refuses() -> None:
    with refuse():
        with pytest.raises(UnexpectedPushError, match=r"note\(1\) and 1 more was pushed"), batch():
            note.perform_bulk([[1], [2]])
        with pytest.raises(UnexpectedPushError, match=r"batch .* without jobs was pushed"), batch():
            pass

        async def work() -> None:
            async with batch():
                await note.aperform_async(3)

        with pytest.raises(UnexpectedPushError, match=r"note\(3\)"):
            asyncio.run(work())
