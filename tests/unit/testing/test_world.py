"""The world of jobd.testing as its users see it; what it does to jobs is in tests/conformance."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
import time_machine

import jobd
from jobd.api.features.cancellation import cancel
from jobd.errors import ArgumentError, JobCancelled, JobdError, ResultTimeoutError
from jobd.jobs.app import App
from jobd.jobs.context import current_job
from jobd.testing import fake, refuse, simulation, world
from jobd.testing.simulation import World
from tests.support.daemon import environment

DAY = 86_400


@pytest.fixture
def app() -> App:
    made = App()
    made.configure("redis://127.0.0.1:1/0")  # nothing may be sent there
    return made


@pytest.fixture
def ran() -> list[Any]:
    return []


@pytest.fixture
def note(app: App, ran: list[Any]) -> Any:
    return app.job(name="note")(lambda value=0: ran.append(value))


@pytest.fixture
def w(app: App) -> Iterator[World]:
    with world(app=app) as made:
        yield made


# -- its clock -------------------------------------------------------------------------------------


def test_the_clock_is_that_of_jobd_and_not_that_of_the_process(app: App, note: Any) -> None:
    before = time.time()
    with world(app=app, now=datetime(2030, 1, 1, tzinfo=UTC)) as w:
        assert w.now == datetime(2030, 1, 1, tzinfo=UTC).timestamp()
        note.perform_in(DAY)
        assert w.scheduled.page().entries[0].score == w.now + DAY
        w.advance_to(datetime(2030, 1, 3, tzinfo=UTC))
        assert time.time() - before < DAY
        assert w.api.history(3)[1].processed == 1


def test_it_begins_with_the_real_time(w: World) -> None:
    assert abs(w.now - time.time()) < 60


def test_other_clocks_follow(app: App, ran: list[Any]) -> None:
    app.job(name="when")(lambda: ran.append(datetime.now(UTC).hour))
    with (
        time_machine.travel(datetime(2030, 5, 5, 1, tzinfo=UTC), tick=False) as machine,
        world(app=app, follow=machine.move_to) as w,
    ):
        app.client.push({"class": "when", "args": [], "at": 7200})
        w.advance(hours=5)
        assert ran == [3]
        assert datetime.now(UTC).hour == 6


def test_the_same_seed_gives_the_same_run(app: App) -> None:
    @app.job(name="broken")
    def broken() -> None:
        raise ValueError

    def run(seed: int) -> list[Any]:
        with world(app=app, now=1_800_000_000, seed=seed) as w:
            jids = [broken.perform_async() for _ in range(5)]
            w.run()
            return [jids, [entry.score for entry in w.retries.page().entries]]

    assert run(1) == run(1) != run(2)


@pytest.mark.parametrize(
    ("arguments", "parts", "says"),
    [
        ((), {}, "needs a number of seconds"),
        ((5,), {"hours": 1}, "needs a number of seconds"),
        ((-1,), {}, "not negative"),
        ((timedelta(days=-1),), {}, "not negative"),
        ((float("nan"),), {}, "not negative"),
        (("5",), {}, "not negative"),
        ((), {"fortnights": 1}, "fortnights"),
    ],
)
def test_what_is_no_length_of_time(
    w: World, arguments: tuple[Any, ...], parts: dict[str, Any], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        w.advance(*arguments, **parts)


def test_a_time_without_a_zone_is_refused(w: World) -> None:
    with pytest.raises(ArgumentError, match="no time zone"):
        w.advance_to(datetime(2030, 1, 1))


# -- running ---------------------------------------------------------------------------------------


def test_the_default_application_is_there_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App()
    monkeypatch.setattr(simulation, "default", app)
    app.job(name="note")(lambda: None).perform_async  # noqa: B018
    with world() as w:
        app.client.push({"class": "note", "args": []})
        assert w.run() == 1


def test_everything_is_drained_however_late_it_is(w: World, app: App, ran: list[Any]) -> None:
    @app.job(name="weekly")
    def weekly(times: int) -> None:
        ran.append(round(w.now - began))
        if times:
            weekly.perform_in(7 * DAY, times - 1)

    began = w.now
    weekly.perform_async(3)
    assert w.drain() == 4
    assert ran == [0, 7 * DAY, 14 * DAY, 21 * DAY]


def test_jobs_that_push_each_other_for_ever_are_noticed(
    w: World, app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(World.run, "__defaults__", (100,))
    monkeypatch.setattr(simulation, "MOST", 100)

    @app.job(name="forever")
    def forever() -> None:
        forever.perform_async()

    forever.perform_async()
    with pytest.raises(JobdError, match="push each other for ever"):
        w.run()
    assert w.run(7) == 7


def test_a_job_cannot_run_the_world(w: World, app: App) -> None:
    app.job(name="inner", retry=0)(lambda: w.run())
    app.client.push({"class": "inner", "args": []})
    w.run()
    assert "cannot run the others" in str(w.errors[0])


async def _pushed(note: Any) -> Any:
    return await note.aperform_async(1), await note.set(unique=True).aperform_async(2)


def test_pushes_from_coroutines_and_coroutines_as_jobs(w: World, app: App, ran: list[Any]) -> None:
    import asyncio

    @app.job(name="later")
    async def later(value: int) -> None:
        await asyncio.sleep(0)
        ran.append(value)

    async def test() -> None:
        assert all(await _pushed(later))
        assert w.run() == 2  # an event loop runs in this thread

    asyncio.run(test())
    assert ran == [1, 2]


def test_waiting_for_a_result_lets_time_pass(w: World, app: App) -> None:
    @app.job(name="add", keep_result=60)
    def add(a: int, b: int) -> int:
        return a + b

    assert jobd.Result(str(add.perform_in(30, 1, 2)), app.client).get(timeout=60) == 3
    w.queue().pause()
    result = jobd.Result(str(add.perform_async(1, 2)), app.client)
    began = w.now
    with pytest.raises(ResultTimeoutError):
        result.get(timeout=10)
    assert w.now == began + 10
    with pytest.raises(JobdError, match="nothing in this world will end that job"):
        result.get()


def test_a_mode_inside_a_world_counts(w: World, note: Any) -> None:
    with fake() as jobs:
        note.perform_async(1)
        assert len(jobs.pushed(note)) == 1
    assert w.queue().size == 0


@pytest.mark.parametrize("mode", [fake, refuse])
def test_a_world_inside_a_mode_counts(mode: Any, app: App, note: Any, ran: list[Any]) -> None:
    with mode(), world(app=app) as w:
        note.set(keep_result=60).perform_async(1)
        assert w.run() == 1
        note.perform_in(10, 2)
        assert w.drain() == 1
        assert w.api.stats().processed == 2
        assert w.api.info().version
    assert ran == [1, 2]


def test_jobs_run_in_the_thread_of_the_test(w: World, app: App, ran: list[Any]) -> None:
    import threading

    app.job(name="where")(lambda: ran.append(threading.get_ident())).perform_async()
    w.run()
    assert ran == [threading.get_ident()]


def test_what_a_job_raises_begins_in_the_job(w: World, app: App) -> None:
    app.job(name="broken", retry=0, backtrace=True)(lambda: 1 / 0).perform_async()
    w.run()
    [error] = w.errors
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_frame.f_code.co_filename == __file__


# -- deaths ----------------------------------------------------------------------------------------


def test_a_worker_dies_where_a_mock_says_so(w: World, app: App, ran: list[Any]) -> None:
    def charge() -> None:
        ran.append("charged")
        if len(ran) == 1:
            w.kill()

    @app.job(name="order")
    def order() -> None:
        charge()
        ran.append("sent")

    order.perform_async()
    assert w.run() == 2
    assert ran == ["charged", "charged", "sent"]


def test_nothing_after_the_death_is_stored(w: World, app: App, note: Any) -> None:
    @app.job(name="order")
    def order() -> None:
        try:
            if current_job().payload.get("crashes") is None:
                w.kill()
        finally:
            note.perform_async(1)

    order.perform_async()
    w.run()
    assert w.api.counters().processed == 2
    assert w.errors == []


def test_a_coroutine_dies_as_well(w: World, app: App, ran: list[Any]) -> None:
    @app.job(name="later")
    async def later() -> None:
        ran.append(1)

    later.perform_async()
    w.kill_during(later)
    w.kill_during(later, at="start", host=True)
    assert w.drain() == 3
    assert ran == [1, 1]


def test_a_running_job_is_cancelled_at_once(w: World, app: App, ran: list[Any]) -> None:
    @app.job(name="long", on_cancel=lambda _job: ran.append("told"))
    def long() -> None:
        try:
            cancel(current_job().jid, api=w.api)
            ran.append("not reached")
        except JobCancelled:
            ran.append("cancelled")
            raise

    long.perform_async()
    w.run()
    assert ran == ["cancelled", "told"]
    assert w.api.counters().cancelled == 1


def test_what_cannot_be_killed(w: World, note: Any) -> None:
    with pytest.raises(JobdError, match="no job of this world runs here"):
        w.kill()
    with pytest.raises(ArgumentError, match="not a job"):
        w.kill_during(print)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="start, end"):
        w.kill_during(note, at="middle")  # type: ignore[arg-type]


# -- open and closed -------------------------------------------------------------------------------


def test_two_worlds_are_refused_and_the_first_is_named(w: World, app: App) -> None:
    with pytest.raises(JobdError, match=r"a world is open already, since .*test_world\.py:\d+"):
        world(app=app).__enter__()


def test_a_world_that_a_test_has_left_open_is_named(app: App) -> None:
    left = world(app=app)
    left.__enter__()
    try:
        with (
            pytest.raises(JobdError, match=r"test_world\.py:\d+.*close it in that test"),
            world(app=app),
        ):
            pass
    finally:
        left.__exit__(None, None, None)
    with world(app=app):
        pass


def test_afterwards_all_is_as_before(app: App, note: Any) -> None:
    with pytest.raises(ZeroDivisionError), world(app=app, now=5):
        raise ZeroDivisionError
    with pytest.raises(JobdError, match=r"failed during a push|did not take"):
        note.perform_async(1)
    with world(app=app) as w:
        assert w.queue().size == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [({"colour": 1}, "colour"), ({"queues": "high"}, "a list of names")],
)
def test_options_that_are_wrong(app: App, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentError, match=says), world(app=app, **options):
        pass
    with world(app=app):
        pass


def test_a_command_that_jobd_does_not_send_is_named(w: World) -> None:
    client: Any = w.redis
    with pytest.raises(redis.ResponseError, match="unknown command 'GEOADD'"):
        client.execute_command("GEOADD", "a", 1, 2, "b")
    with pytest.raises(redis.ResponseError, match=r"does not have struct\.pack"):
        w.redis.eval("return struct.pack('>I', 1)", 0)


def test_lupa_is_missing() -> None:
    code = (
        "import sys; sys.modules['lupa'] = None\n"
        "from jobd.testing import world\n"
        "try:\n    world().__enter__()\nexcept Exception as error: print(type(error), error)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "ConfigError" in told.stdout
    assert "pip install 'pyjobd[testing]'" in told.stdout


def test_two_thousand_jobs_take_less_than_a_second(w: World, note: Any) -> None:
    for number in range(200):
        note.perform_async(number)
    w.run()
    began = time.process_time()
    for number in range(2000):
        note.perform_async(number)
    assert w.run() == 2000
    assert time.process_time() - began < 1


def test_the_tests_of_its_page_pass(tmp_path: Path) -> None:
    """docs/testing-world.md is a file of tests."""
    page = Path(__file__).parents[3] / "docs/testing-world.md"
    blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    (tmp_path / "test_shop.py").write_text("\n\n".join(blocks))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tests = "".join(blocks).count("def test_")
    assert tests > 5
    assert f"{tests} passed" in done.stdout
