"""``fake()``: pushes are collected, as an empty Redis would keep them, and run by the test."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import jobd
from jobd import App, CurrentJob, Job, Result, UnknownJobError, current_job
from jobd.api import Api
from jobd.testing import Jobs, NoRedisError, PushedJob, fake, off

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


def test_a_push_is_collected_as_redis_would_store_it(app: App, jobs: Jobs) -> None:
    @app.job(name="shop.welcome", queue="mail", retry=5, tags=["a"], extra={"tenant": 3})
    def welcome(user_id: int, *, loud: bool = False) -> None: ...

    before = time.time()
    jid = welcome.perform_async(7, loud=True)
    [job] = jobs
    assert (job.name, job.args, job.kwargs) == ("shop.welcome", [7], {"loud": True})
    assert (job.jid, job.queue, job.at) == (jid, "mail", None)
    assert job.options == {"retry": 5, "tags": ["a"], "tenant": 3}
    assert before <= job.created_at <= time.time()
    assert b'"enqueued_at"' in job.raw
    assert str(job) == "shop.welcome(7, loud=True) to queue 'mail'"


def test_every_kind_of_push_is_collected(app: App, jobs: Jobs) -> None:
    add = app.job(name="Add")(lambda *args: None)
    when = datetime.now(UTC) + timedelta(hours=1)

    class Resize(Job, app=app, name="Resize"):
        def perform(self, width: int) -> None: ...

    add.perform_async(1)
    add.perform_in(60, 2)
    add.perform_at(when, 3)
    add.perform_bulk([[4], [5]])
    add.set(queue="low").perform_async(6)
    Resize.perform_async(7)
    app.client.push({"class": "Invoice", "args": [8]})
    app.client.push_bulk({"class": "Invoice", "args": [[9], [10]]})
    assert arguments(jobs.pushed()) == [[number] for number in range(1, 11)]
    assert arguments(jobs.pushed(Resize)) == [[7]]
    assert arguments(jobs.pushed("Invoice")) == [[8], [9], [10]]
    assert [job.queue for job in jobs.pushed(add)] == ["default"] * 5 + ["low"]
    assert jobs.pushed(add)[1].at == pytest.approx(time.time() + 60, abs=5)
    assert jobs.pushed(add)[2].at == when.timestamp()


def test_pushes_from_coroutines_are_collected(app: App, jobs: Jobs) -> None:
    add = app.job(name="Add")(lambda *args: None)

    async def push() -> None:
        await add.aperform_async(1)
        await add.aperform_in(60, 2)
        await add.aperform_at(timedelta(hours=1), 3)
        await add.aperform_bulk([[4], [5]])
        await add.set(unique=True).aperform_async(6)
        assert await add.set(unique=True).aperform_async(6) is None
        await app.client.apush({"class": "Invoice", "args": [7]})

    asyncio.run(push())
    assert arguments(jobs.pushed()) == [[number] for number in range(1, 8)]


def test_pushes_of_other_threads_are_collected(app: App, jobs: Jobs) -> None:
    add = app.job(name="Add")(lambda *args: None)
    threads = [threading.Thread(target=add.perform_async, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(arguments(jobs.pushed())) == [[n] for n in range(20)]


def test_client_middleware_runs_and_may_stop_a_push(app: App, jobs: Jobs) -> None:
    add = app.job(name="Add")(lambda *args: None)
    app.client_middleware.add(lambda name, payload, queue, call_next: queue != "x" and call_next())
    assert add.set(queue="x").perform_async(1) is None
    add.perform_async(2)
    assert arguments(jobs.pushed()) == [[2]]


def test_drain_runs_the_jobs_and_those_that_they_push_in_order(app: App, jobs: Jobs) -> None:
    @app.job(name="Count")
    def count(left: int) -> None:
        done.append(left)
        if left:
            count.perform_async(left - 1)

    count.perform_async(2)
    count.perform_async(20)
    jobs.drain()
    assert done[:4] == [2, 20, 1, 19]
    assert len(done) == len(jobs.pushed(count)) == 24
    assert not jobs


def test_drain_returns_how_many_have_run_and_may_be_of_some_jobs_only(app: App, jobs: Jobs) -> None:
    one = app.job(name="One")(lambda: done.append(1))
    two = app.job(name="Two")(lambda: done.append(2))
    one.perform_async()
    two.perform_async()
    one.perform_async()
    assert jobs.drain(two, "Three") == 1
    assert done == [2]
    assert [job.name for job in jobs] == ["One", "One"]
    assert jobs.drain() == 2


def test_what_is_due_later_runs_only_when_asked_for_in_the_order_of_its_times(
    app: App, jobs: Jobs
) -> None:
    add = app.job(name="Add")(note)
    add.perform_in(7200, "b")
    add.perform_in(3600, "a")
    add.perform_async("now")
    assert jobs.drain() == 1
    assert done == ["now"]
    with pytest.raises(AssertionError, match=r"no job waits to be run; 2 are due later"):
        jobs.perform_one()
    assert jobs.drain(scheduled=True) == 2
    assert done == ["now", "a", "b"]


def test_perform_one_runs_the_first_and_returns_its_result(app: App, jobs: Jobs) -> None:
    double = app.job(name="Double")(lambda n: n * 2)
    other = app.job(name="Other")(lambda: "other")
    double.perform_async(4)
    double.perform_async(5)
    other.perform_async()
    assert (jobs.perform_one(other), jobs.perform_one(), len(jobs)) == ("other", 8, 1)
    with pytest.raises(AssertionError, match=r"^no job of Other waits to be run$"):
        jobs.perform_one(other)


def test_what_a_job_raises_is_raised_to_the_test_and_the_job_is_gone(app: App, jobs: Jobs) -> None:
    @app.job(name="Break")
    def broken(n: int) -> None:
        raise LookupError(n)

    broken.perform_async(1)
    broken.perform_async(2)
    with pytest.raises(LookupError, match="1"):
        jobs.drain()
    assert arguments(list(jobs)) == [[2]]
    assert len(jobs.pushed(broken)) == 2


def test_jobs_that_push_each_other_for_ever_are_found(
    app: App, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    @app.job(name="Again")
    def again() -> None:
        again.perform_async()

    monkeypatch.setattr("jobd.testing.modes.jobs.MOST", 50)
    again.perform_async()
    with pytest.raises(AssertionError, match=r"drain has run 50 jobs.*the last one Again\(\)"):
        jobs.drain()


def test_a_job_runs_as_in_a_worker(app: App, jobs: Jobs) -> None:
    seen: list[Any] = []

    def around(job: CurrentJob, payload: dict[str, Any], queue: str, call: Any) -> Any:
        seen.append((job.jid, queue, "enqueued_at" in payload))
        return call()

    app.server_middleware.add(around)

    @app.job(name="Look", queue="low")
    def look(given: list[int]) -> None:
        given.append(2)
        seen.append((current_job().jid, current_job().payload["args"]))

    given = [1]
    jid = look.perform_in(60, given)
    jobs.drain(scheduled=True)
    assert seen == [(jid, "low", True), (jid, [[1]])]
    assert given == [1]


def test_server_middleware_can_be_left_out(app: App) -> None:
    app.server_middleware.add(lambda job, payload, queue, call: None)
    add = app.job(name="Add")(note)
    with fake() as jobs:
        add.perform_async(1)
        jobs.drain()
    with fake(server_middleware=False) as jobs:
        add.perform_async(2)
        jobs.drain()
    assert done == [2]


def test_async_jobs_and_async_middleware_run(app: App, jobs: Jobs) -> None:
    async def around(job: CurrentJob, payload: Any, queue: str, call: Any) -> None:
        done.append(queue)
        await call()

    app.server_middleware.add(around)

    @app.job(name="Later")
    async def later(n: int) -> None:
        await asyncio.sleep(0)
        done.append((n, current_job().name))

    later.perform_async(1)
    jobs.drain()

    async def inside() -> None:
        later.perform_async(2)
        jobs.drain()  # in a thread with a loop of its own
        later.perform_async(3)
        await jobs.adrain()
        later.perform_async(4)
        await jobs.aperform_one()

    asyncio.run(inside())
    assert done == [each for n in (1, 2, 3, 4) for each in ("default", (n, "Later"))]


def test_the_current_event_loop_of_the_thread_stays(app: App, jobs: Jobs) -> None:
    later = app.job(name="Later")(asyncio.sleep)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        later.perform_async(0)
        jobs.drain()
        assert asyncio.get_event_loop() is loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_a_job_of_another_program_cannot_run(app: App, jobs: Jobs) -> None:
    app.client.push({"class": "Invoice", "args": []})
    with pytest.raises(UnknownJobError, match=r"'Invoice'.*A job of another program cannot run"):
        jobs.drain()


def test_clear_forgets_everything(app: App, jobs: Jobs) -> None:
    add = app.job(name="Add", unique=True)(note)
    add.perform_async(1)
    jobs.clear()
    assert not jobs
    assert not jobs.pushed()
    assert add.perform_async(1)


def test_the_default_application_is_that_of_a_client_made_by_hand(jobs: Jobs) -> None:
    done.clear()
    name = "test_fake.by_hand"
    jobd.job(name=name)(note)
    jobd.Client("redis://127.0.0.1:1/0").push({"class": name, "args": [1]})
    jobs.drain()
    assert done == [1]


# --- what needs Redis ------------------------------------------------------------------------

NEED_REDIS: list[Callable[[App, str], object]] = [
    lambda app, jid: Result(jid, app.client).get(timeout=1),
    lambda app, jid: Result(jid, app.client).state,
    lambda app, jid: asyncio.run(Result(jid, app.client).aget(timeout=1)),
    lambda app, jid: jobd.cancel(jid),
    lambda app, jid: Api(app.client).queues(),
    lambda app, jid: app.client.redis.ping(),
]


@pytest.mark.parametrize("ask", NEED_REDIS)
def test_what_needs_redis_says_that_there_is_none(
    app: App, jobs: Jobs, ask: Callable[[App, str], object]
) -> None:
    jid = app.job(name="Add", keep_result=60)(note).perform_async(1)
    assert jid is not None
    with pytest.raises(NoRedisError) as caught:
        ask(app, jid)
    text = str(caught.value)
    assert "fake() has replaced (entered at" in text
    assert "in jobs)" in text  # the function that has entered it
    assert "jobd.testing.world()" in text


def test_off_gives_redis_back(app: App, jobs: Jobs) -> None:
    with off(), pytest.raises(jobd.UnavailableError):
        app.job(name="Add")(note).perform_async(1)
    assert not jobs.pushed()
