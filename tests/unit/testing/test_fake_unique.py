"""Unique jobs in ``fake()``: locks as in a Redis that was empty, free when their jobs have run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import time_machine

import jobd
from jobd import App, DuplicateJobError
from jobd.testing import Jobs, PushedJob, fake

done: list[Any] = []


def note(value: Any) -> None:
    done.append(value)


@pytest.fixture
def app() -> App:
    app = App()
    app.configure("redis://127.0.0.1:1/0")  # nothing listens there
    done.clear()
    return app


@pytest.fixture
def jobs(app: App) -> Iterator[Jobs]:
    with fake() as jobs:
        yield jobs


def arguments(jobs: list[PushedJob]) -> list[list[Any]]:
    return [job.args for job in jobs]


def test_a_unique_job_keeps_others_out_until_it_has_run(app: App, jobs: Jobs) -> None:
    add = app.job(name="Add", unique=True)(note)
    jid = add.perform_async(1)
    assert add.perform_async(1) is None
    assert add.perform_async(2)
    assert add.unique_holder(1) == jid
    assert arguments(jobs.pushed()) == [[1], [2]]
    jobs.drain()
    assert add.unique_holder(1) is None
    assert add.perform_async(1)


def test_a_conflict_does_what_the_job_says(app: App, jobs: Jobs) -> None:
    add = app.job(name="Add", unique=True)(note)
    jid = add.perform_async(1)
    with pytest.raises(DuplicateJobError, match=str(jid)):
        add.set(on_conflict="raise").perform_async(1)
    assert add.set(on_conflict="holder").perform_async(1) == jid
    assert add.set(on_conflict="replace").perform_async(1) is None  # it is not scheduled
    assert len(jobs.pushed()) == 1


def test_a_scheduled_job_is_replaced(app: App, jobs: Jobs) -> None:
    add = app.job(name="Add", unique=True, unique_by="a", on_conflict="replace")(lambda a, b: ...)
    add.perform_in(60, 1, "old")
    jid = add.perform_in(90, 1, "new")
    assert arguments(jobs.pushed()) == arguments(list(jobs)) == [[1, "new"]]
    assert add.unique_holder(1, "other") == jid


def test_a_debounced_job_runs_once(app: App, jobs: Jobs) -> None:
    @app.job(name="Index", debounce=30, max_wait=60, unique_by="document")
    def index(document: int, version: int) -> None:
        done.append((document, version))

    start = time.time()
    with time_machine.travel(start, tick=False) as clock:
        index.perform_async(1, 1)
        clock.shift(25)
        index.perform_async(1, 2)
        clock.shift(25)
        index.perform_async(1, 3)
        [job] = jobs
        assert job.at == pytest.approx(start + 60)  # not 80: max_wait
    jobs.drain(scheduled=True)
    assert done == [(1, 3)]


def test_one_that_waits_for_the_other_to_end_runs_after_it(app: App, jobs: Jobs) -> None:
    @app.job(name="Sync", unique=True, unique_by="a", on_conflict="again")
    def sync(a: int, b: int) -> None:
        done.append(b)

    sync.perform_async(1, 1)
    sync.perform_async(1, 2)
    jid = sync.perform_async(1, 3)
    assert arguments(list(jobs)) == [[1, 1]]
    jobs.perform_one()
    assert arguments(list(jobs)) == [[1, 3]]
    assert sync.unique_holder(1, 9) == jid
    jobs.drain()
    assert done == [1, 3]
    assert sync.unique_holder(1, 9) is None


def test_a_lock_until_the_start_is_free_inside_the_job(app: App, jobs: Jobs) -> None:
    @app.job(name="Step", unique=True)
    def step(n: int) -> None:
        done.append(step.set(unique_until="start").perform_async(n))

    step.perform_async(1)
    jobs.perform_one()
    assert done == [None]  # held until the end
    step.set(unique_until="start").perform_async(2)
    jobs.perform_one()
    assert done[1]


def test_a_lock_for_a_time_outlives_the_job_and_ends_by_the_clock(app: App, jobs: Jobs) -> None:
    add = app.job(name="Add", unique_for=60, unique_until="expiry")(note)
    with time_machine.travel(time.time(), tick=False) as clock:
        add.perform_async(1)
        jobs.drain()
        assert add.perform_async(1) is None
        clock.shift(61)
        assert add.perform_async(1)


def test_the_lock_of_a_job_that_failed_is_free(app: App, jobs: Jobs) -> None:
    @app.job(name="Break", unique=True)
    def broken() -> None:
        raise LookupError

    broken.perform_async()
    with pytest.raises(LookupError):
        jobs.drain()
    assert broken.perform_async()


def test_a_push_again_with_the_same_id_is_stored_once(app: App, jobs: Jobs) -> None:
    item = {"class": "Add", "args": [1], "jid": "a" * 24, "unique": True}
    assert app.client.push(item) == app.client.push(item) == "a" * 24
    assert len(jobs.pushed()) == 1


def test_two_redis_servers_have_locks_of_their_own(app: App, jobs: Jobs) -> None:
    item = {"class": "Add", "args": [1], "unique": True}
    other = jobd.Client("redis://127.0.0.1:1/1")
    assert app.client.push(item)
    assert other.push(item)
    assert other.push(item) is None


def test_a_job_that_has_expired_does_not_run(app: App, jobs: Jobs) -> None:
    add = app.job(name="Add", expires_in=60)(note)
    with time_machine.travel(time.time(), tick=False) as clock:
        add.perform_async(1)
        clock.shift(61)
        add.perform_async(2)
        jobs.drain()
    assert done == [2]
