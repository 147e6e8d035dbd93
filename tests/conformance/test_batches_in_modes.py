"""Batches are the same in ``fake()`` and ``inline()`` as in a world and on a server: each test here
runs in all four, and whatever a program pushes comes to the same counts and callbacks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobd import App, Batch, current_job
from jobd.errors import ArgumentError, BatchFinished, JobNotFoundError
from jobd.testing import EmbeddedServer, fake, inline
from jobd.testing.simulation import World
from tests.conformance.conftest import STORES, on_store

EVENTS = ("success", "complete", "death")
Kind = Literal["note", "fail", "late", "expired", "once"]
Program = list[Any]
"""Kinds of jobs; ``[strict, program]``: a batch; ``["add", program]``: a member that adds."""


class Stage:
    """Where jobs are pushed and run.

    Attributes:
        ran: what they have noted.
    """

    def __init__(self, app: App, run: Callable[[], object]) -> None:
        self.app, self._run = app, run
        self.ran: list[Any] = []

        @app.job(name="note")
        def note(value: object = 0) -> None:
            self.ran.append(value)

        @app.job(name="fail", retry=0)
        def fail() -> None:
            raise ValueError("on purpose")

        @app.job(name="add")
        def add(program: Program) -> None:
            with suppress(ValueError), Batch.open(current_job().bid, client=app.client):
                self.push(program)

        @app.job(name="once", unique=True, unique_by=[], on_conflict="again")
        def once() -> None:
            self.ran.append("once")

        self.note, self.fail, self.add, self.once = note, fail, add, once
        self.batches: list[Batch] = []

    def batch(self, name: object = "", **options: Any) -> Batch:
        """A batch whose callbacks note their event."""
        made = Batch(client=self.app.client, **options)
        for event in EVENTS:
            getattr(made, f"on_{event}")(self.note, f"{name}{event}")
        self.batches.append(made)
        return made

    def push(self, program: Program) -> None:
        pushes: dict[Any, Callable[[], object]] = {
            "note": self.note.perform_async,
            "fail": self.fail.perform_async,
            "late": lambda: self.note.perform_in(0.5, "late"),
            "expired": self.note.set(expires_in=1e-6).perform_async,
            "once": self.once.perform_async,
        }
        for each in program:
            if isinstance(each, str):
                pushes[each]()
            elif each[0] == "add":
                self.add.perform_async(each[1])
            else:
                with suppress(ValueError), self.batch(f"{len(self.batches)} ", strict=each[0]):
                    self.push(each[1])

    def run(self) -> None:
        """Run all jobs to their ends."""
        with suppress(ValueError):
            while self._run():
                pass
            return
        self.run()  # a failure ends a drain


def run_later(w: World, most: int) -> int:
    """Let time pass, then run what waits."""
    w.queue().pause()
    w.advance(seconds=1)
    w.queue().unpause()
    return w.run(most)


@contextmanager
def stage_of(kind: str, server: EmbeddedServer, most: int = 10_000) -> Iterator[Stage]:
    """A stage.

    Args:
        most: so many jobs run before time passes in a world.
    """
    app = App()
    app.configure("redis://127.0.0.1:1/0")  # nothing listens there
    if kind in STORES:
        with on_store(kind, server, app) as w:
            yield Stage(app, lambda: run_later(w, most))
    elif kind == "fake":
        with fake() as jobs:
            yield Stage(app, lambda: jobs.drain(scheduled=True))
    else:
        with inline():
            yield Stage(app, lambda: 0)


@pytest.fixture(params=[*STORES, "fake", "inline"])
def stage(request: pytest.FixtureRequest, server: EmbeddedServer) -> Iterator[Stage]:
    with stage_of(request.param, server) as made:
        yield made


def test_callbacks_run_once_when_all_have_ended(stage: Stage) -> None:
    with stage.batch(description="Invoices", tags=["may"]) as batch:
        stage.push(["note", "note", "late"])
        assert stage.ran == []
    stage.run()
    assert Counter(stage.ran) == Counter([0, 0, "late", "complete", "success"])
    status = batch.wait(0)
    assert (status.description, status.tags) == ("Invoices", ("may",))
    assert (status.total, status.done, status.pending, status.state) == (3, 3, 0, "succeeded")


def test_an_empty_batch_succeeds_when_its_block_ends(stage: Stage) -> None:
    with stage.batch() as batch:
        pass
    assert batch.status.state == "succeeded"
    stage.run()
    assert stage.ran == ["complete", "success"]


def test_a_death_keeps_it_from_success_and_the_others_run(stage: Stage) -> None:
    with suppress(ValueError), stage.batch() as batch:
        stage.push(["note", "fail", "note", "fail"])
    stage.run()
    assert Counter(stage.ran) == Counter([0, 0, "complete", "death"])
    status = batch.status
    assert (status.dead, status.failed, status.done, status.state) == (2, 2, 2, "failed")


@pytest.mark.parametrize("strict", [False, True])
def test_a_member_that_expires_is_dropped(stage: Stage, strict: bool) -> None:
    with stage.batch(strict=strict) as batch:
        stage.push(["expired", "note"])
    stage.run()
    assert (batch.status.expired, batch.status.done) == (1, 1)
    assert set(stage.ran) == {0, "complete", "death" if strict else "success"}


def test_a_batch_waits_for_those_inside_it_and_for_their_callbacks(stage: Stage) -> None:
    with stage.batch("outer ") as outer:
        stage.note.perform_async(1)
        with stage.batch("inner ") as inner:
            stage.note.perform_async(2)
    stage.run()
    assert inner.status.parent == outer.bid
    assert outer.status.total == 1 + 1 + 1, "the batch inside, and its callback of success"
    assert stage.ran.index("inner success") < stage.ran.index("outer success")
    assert outer.status.state == "succeeded"


def test_a_member_adds_to_its_batch_and_nobody_after_its_end(stage: Stage) -> None:
    with stage.batch() as batch:
        stage.push([["add", ["note"] * 40]])
    stage.run()
    assert batch.status.total == 41
    assert Counter(stage.ran) == Counter([0] * 40 + ["complete", "success"])
    with pytest.raises(BatchFinished, match="succeeded"):
        Batch.open(batch.bid, client=stage.app.client).__enter__()
    with pytest.raises(BatchFinished):
        Batch.open("0" * 16, client=stage.app.client).__enter__()
    with pytest.raises(JobNotFoundError):
        _ = Batch.open("0" * 16, client=stage.app.client).status


def test_it_is_opened_again_after_a_death(stage: Stage) -> None:
    with suppress(ValueError), stage.batch() as batch:
        stage.push(["fail"])
    stage.run()
    with Batch.open(batch.bid, client=stage.app.client) as again:
        again.on_death(stage.note, "late death")
        stage.push(["note"])
        assert (batch.status.state, batch.status.ended) == ("open", False)
    stage.run()
    assert Counter(stage.ran) == Counter([0, "complete", "death", "late death"])
    assert (batch.status.done, batch.status.dead) == (1, 1)


def test_a_block_that_raises_pushes_nothing(stage: Stage) -> None:
    batch = stage.batch()

    def block() -> None:
        with batch:
            stage.push(["note"])
            raise LookupError

    with pytest.raises(LookupError):
        block()
    stage.run()
    assert stage.ran == []
    with pytest.raises(JobNotFoundError):
        _ = batch.status


def test_a_batch_of_many_is_open_until_its_block_ends(stage: Stage) -> None:
    with stage.batch() as batch:
        stage.push(["note"] * 1_500)
        stage.run()
        assert (batch.status.total, batch.status.open) == (1_000, 1)
        assert (batch.status.done, batch.status.complete_at) == (len(stage.ran), None)
    stage.run()
    assert stage.ran == [0] * 1_500 + ["complete", "success"]


def test_a_job_that_a_lock_keeps_out_is_no_member(stage: Stage) -> None:
    once = stage.once.set(on_conflict="skip")
    with stage.batch() as batch:
        once.perform_async()
        refused = once.perform_async()
    assert batch.refused == [refused]
    stage.run()
    assert (batch.status.total, batch.status.state) == (1, "succeeded")
    assert Counter(stage.ran) == Counter(["once", "complete", "success"])


def test_a_callback_has_its_own_failure(stage: Stage) -> None:
    batch = stage.batch()
    batch.on_success(stage.fail)
    with suppress(ValueError), batch:
        stage.push(["note"])
    stage.run()
    assert Counter(stage.ran) == Counter([0, "complete", "success"])
    assert (batch.status.state, batch.status.total) == ("succeeded", 1)


def test_from_coroutines(stage: Stage) -> None:
    async def block() -> Batch:
        async with stage.batch() as batch:
            await stage.note.aperform_async(1)
            await stage.note.aperform_bulk([[2], [3]])
        return batch

    async def done(batch: Batch) -> int:
        return (await batch).done

    batch = asyncio.run(block())
    stage.run()
    assert asyncio.run(done(batch)) == 3
    assert Counter(stage.ran) == Counter([1, 2, 3, "complete", "success"])


def test_what_cannot_be_pushed_is_refused(stage: Stage) -> None:
    with stage.batch(), pytest.raises(ArgumentError, match="cannot be unique"):
        Batch(client=stage.app.client).__enter__().on_success(stage.once)


MEMBERS: Any = st.recursive(
    st.sampled_from(["note", "fail", "late", "expired", "once"]),
    lambda inner: st.tuples(st.booleans() | st.just("add"), st.lists(inner, max_size=3)).map(list),
    max_leaves=8,
)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(strict=st.booleans(), members=st.lists(MEMBERS, max_size=4))
def test_whatever_is_pushed(server: EmbeddedServer, strict: bool, members: Program) -> None:
    outcomes = {}
    for kind in ("memory", "fake", "inline"):
        with stage_of(kind, server, most=1) as stage:
            stage.push([[strict, members]])
            stage.run()
            told = [batch.status for batch in stage.batches]
            outcomes[kind] = (
                sorted((one.total, one.pending, one.done, one.dead, one.dropped) for one in told),
                sorted((one.failed, one.open, one.ended, one.state) for one in told),
                Counter(str(value).split(" ")[-1] for value in stage.ran),
            )
    assert outcomes["fake"] == outcomes["memory"]
    if "once" not in repr(members):  # those that wait for each other depend on what runs first
        assert outcomes["inline"] == outcomes["memory"]
