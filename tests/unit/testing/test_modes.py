"""Modes: refuse and off, nesting, decorators, threads, and a mode that is left open."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import redis as redis_py

from jobd import App, ArgumentError, JobdError, UnavailableError
from jobd.testing import (
    EmbeddedServer,
    UnexpectedPushError,
    collected,
    fake,
    off,
    refuse,
)
from jobd.testing.modes.kinds import mode_called
from jobd.testing.modes.mode import open_modes
from tests.support.daemon import environment

app = App()
app.configure("redis://127.0.0.1:1/0")  # nothing listens there


@app.job(name="shop.welcome", queue="mail")
def welcome(user_id: int, *, loud: bool = False) -> None: ...


@pytest.fixture(autouse=True)
def nothing_open() -> Iterator[None]:
    assert not open_modes()
    yield
    assert not open_modes()


# --- refuse and off --------------------------------------------------------------------------


def sign_up() -> None:
    try:
        welcome.perform_async(7, loud=True)
    except JobdError:
        pass  # the application survives an outage of Redis


def test_refuse_says_what_was_pushed_and_where() -> None:
    with refuse(), pytest.raises(UnexpectedPushError) as caught:
        sign_up()
    text = str(caught.value)
    assert text.startswith("shop.welcome(7, loud=True) was pushed to queue 'mail' at ")
    assert "test_modes.py:" in text
    assert " in sign_up, but jobd.testing.refuse() is in force (entered at " in text
    assert " in test_refuse_says_what_was_pushed_and_where)" in text


def test_refuse_refuses_every_kind_of_push() -> None:
    with refuse():
        for push in (
            lambda: welcome.perform_in(60, 1),
            lambda: welcome.perform_bulk([[1], [2]]),
            lambda: welcome.set(unique=True).perform_async(1),
            lambda: app.client.push({"class": "Invoice", "args": []}),
            lambda: asyncio.run(welcome.aperform_async(1)),
            lambda: asyncio.run(welcome.aperform_in(60, 1)),
            lambda: asyncio.run(welcome.set(unique=True).aperform_async(1)),
        ):
            with pytest.raises(UnexpectedPushError):
                cast("Any", push)()
        with pytest.raises(UnexpectedPushError, match=r"^shop.welcome\(1\) and 1 more was"):
            welcome.perform_bulk([[1], [2]])
        with pytest.raises(ArgumentError):
            welcome.perform_async(b"x")  # type: ignore[arg-type]
        assert welcome.set(unique=True).unique_holder(1) is None


def test_off_is_redis(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    app = App()
    client = app.configure(server.url)
    add = app.job(name="Add")(lambda n: None)
    with fake() as jobs, off():
        add.perform_async(1)
        asyncio.run(add.aperform_async(2))
        assert client.redis.llen("queue:default") == 2
    assert not jobs.pushed()


# --- nesting ---------------------------------------------------------------------------------


def test_the_innermost_counts_in_every_thread() -> None:
    with fake() as outer:
        welcome.perform_async(1)
        with fake() as inner:
            thread = threading.Thread(target=welcome.perform_async, args=(2,))
            thread.start()
            thread.join()
            with refuse(), pytest.raises(UnexpectedPushError):
                welcome.perform_async(3)
            assert collected() is inner
        welcome.perform_async(4)
        assert collected() is outer
    assert [[job.args for job in jobs] for jobs in (outer, inner)] == [[[1], [4]], [[2]]]
    with pytest.raises(UnavailableError):
        welcome.perform_async(5)


def test_a_mode_may_be_used_again_and_inside_itself() -> None:
    mode = fake()
    with mode as first, mode as second:
        welcome.perform_async(1)
    with mode as third:
        assert [len(jobs) for jobs in (first, second, third)] == [0, 1, 0]


def test_a_mode_ends_with_an_exception_and_lets_it_through() -> None:
    with pytest.raises(LookupError), fake():
        raise LookupError


def test_modes_that_end_in_another_order() -> None:
    one, two = fake(), fake()
    first, second = one.__enter__(), two.__enter__()
    one.__exit__()
    welcome.perform_async(1)
    two.__exit__()
    assert (len(first), len(second)) == (0, 1)


def test_modes_of_many_threads_at_once_leave_nothing_open() -> None:
    def work() -> None:
        for _ in range(50):
            with fake():
                welcome.perform_async(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with pytest.raises(UnavailableError):
        welcome.perform_async(1)


# --- decorators ------------------------------------------------------------------------------


def test_a_function_is_decorated() -> None:
    @fake()
    def test(n: int) -> int:
        """Its text."""
        welcome.perform_async(n)
        assert open_modes()[-1].place.endswith(" in " + test.__qualname__)
        return len(collected())

    assert [test(1), test(2)] == [1, 1]  # each call has jobs of its own
    assert (test.__name__, test.__doc__) == ("test", "Its text.")


def test_a_coroutine_function_is_decorated() -> None:
    @fake()
    async def test() -> int:
        await welcome.aperform_async(1)
        await asyncio.sleep(0)
        return len(collected())

    assert asyncio.run(test()) == 1


def test_a_generator_is_decorated_from_its_first_step_to_its_end() -> None:
    @fake()
    def fixture() -> Iterator[int]:
        welcome.perform_async(1)
        got = yield len(collected())
        assert got is None
        yield len(collected())

    items = fixture()
    assert not open_modes()
    assert next(items) == 1
    welcome.perform_async(2)
    assert next(items) == 2
    with pytest.raises(StopIteration):
        next(items)
    assert not open_modes()
    abandoned = fixture()
    next(abandoned)
    cast("Any", abandoned).close()


def test_an_async_generator_is_decorated() -> None:
    @fake()
    async def fixture() -> AsyncIterator[int]:
        await welcome.aperform_async(1)
        yield len(collected())
        yield len(collected())

    async def use() -> list[int]:
        return [n async for n in fixture()]

    assert asyncio.run(use()) == [1, 1]


@pytest.mark.parametrize("target", [type("Tests", (), {}), 3])
def test_what_is_no_function_is_not_decorated(target: Any) -> None:
    with pytest.raises(ArgumentError, match=r"decorates functions, not .*JobdTestMixin"):
        fake()(target)


# --- mistakes --------------------------------------------------------------------------------


def test_a_mode_that_is_not_entered_warns() -> None:
    def forgotten() -> None:
        fake()
        gc.collect()

    with pytest.warns(RuntimeWarning, match=r"fake\(\) was called at .* in .*forgotten and had no"):
        forgotten()


def test_a_mode_that_is_left_open_is_reported_when_the_process_ends(tmp_path: Path) -> None:
    (tmp_path / "forgets.py").write_text(
        "from jobd.testing import fake\n"
        "def test_sign_up():\n"
        "    global mode\n"
        "    mode = fake()\n"
        "    mode.__enter__()\n"
        "test_sign_up()\n"
    )
    done = subprocess.run(
        [sys.executable, "forgets.py"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "never left: jobd.testing.fake(), entered at " in done.stderr
    assert "forgets.py:5 in test_sign_up" in done.stderr


def test_nothing_collects() -> None:
    with pytest.raises(ArgumentError, match=r"in force is no mode of jobd.testing; use fake\(\)"):
        collected()
    with refuse(), pytest.raises(ArgumentError, match=r"in force is jobd.testing.refuse\(\)"):
        collected()


def test_modes_by_name() -> None:
    with pytest.raises(ArgumentError, match=r"unknown mode 'fakes': use fake, inline, refuse"):
        mode_called("fakes")
    with pytest.raises(ArgumentError, match="unexpected keyword argument 'speed'"):
        mode_called("fake", {"speed": 1})
    with (mode := mode_called("inline", {"server_middleware": False})):
        assert repr(mode) == "<jobd.testing.inline()>"


def test_the_traceback_of_a_refused_push_ends_in_the_test_kit() -> None:
    with refuse(), pytest.raises(UnexpectedPushError) as caught:
        sign_up()
    assert any("sign_up" in line for line in traceback.format_tb(caught.value.__traceback__))
