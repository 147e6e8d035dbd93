"""The shape of every background loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
import redis

from jobd.api import Api
from jobd.store import loops
from jobd.store.loops import FIRST_PAUSE, LONGEST_PAUSE, Loop, Outage


class Lines:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def note(self, event: str, **fields: object) -> None:
        self.events.append(event)

    warning = info = exception = error = debug = note


Act = Callable[[int], float | None]


class Turns(Loop):
    def __init__(self, act: Act) -> None:
        super().__init__("test")
        self.lines = Lines()
        self.log = self.lines  # type: ignore[assignment]
        self._outage = Outage(self.lines)  # type: ignore[arg-type]
        self.turns = 0
        self.turned = threading.Semaphore(0)
        self._act = act

    def turn(self) -> float | None:
        self.turns += 1
        try:
            return self._act(self.turns)
        finally:
            self.turned.release()

    def await_turns(self, number: int) -> None:
        for _ in range(number):
            assert self.turned.acquire(timeout=10)


@pytest.fixture
def run() -> Iterator[Callable[[Act], Turns]]:
    made: list[Turns] = []

    def start(act: Act) -> Turns:
        made.append(Turns(act))
        made[-1].start()
        return made[-1]

    yield start
    for loop in made:
        assert loop.stop(10)


Run = Callable[[Act], Turns]


def test_it_sleeps_as_long_as_a_turn_says(run: Run) -> None:
    loop = run(lambda n: 0.0 if n < 5 else 60.0)
    loop.await_turns(5)
    assert not loop.turned.acquire(timeout=0.05)


def test_a_wake_up_brings_the_next_turn_now(run: Run) -> None:
    loop = run(lambda n: 60.0)
    loop.await_turns(1)
    for _ in range(20):
        loop.wake()
        loop.await_turns(1)


def test_a_wake_up_during_a_turn_brings_another_one(run: Run) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def act(n: int) -> float:
        if n == 1:
            inside.set()
            assert go_on.wait(10)
        return 60.0

    loop = run(act)
    assert inside.wait(10)
    loop.wake()
    go_on.set()
    loop.await_turns(2)


def test_stopping_ends_a_sleep(run: Run) -> None:
    loop = run(lambda n: 60.0)
    loop.await_turns(1)
    assert loop.stop(5)
    assert not loop.is_alive()


def test_a_stop_that_comes_just_before_a_turn_ends_it() -> None:
    between, stopped = threading.Event(), threading.Event()

    class Alarm(threading.Event):
        def clear(self) -> None:
            if loop.turns:
                between.set()
                assert stopped.wait(10)
            super().clear()

    loop = Turns(lambda n: 60.0)
    loop._alarm = Alarm()
    loop.start()
    loop.await_turns(1)
    loop.wake()
    assert between.wait(10)
    loop.stop(0)
    stopped.set()
    loop.join(5)
    assert not loop.is_alive()


def test_stopping_one_that_never_started() -> None:
    assert Turns(lambda n: 0.0).stop(1)


def test_a_connection_that_is_replaced_at_once_is_no_outage(run: Run) -> None:
    def act(n: int) -> float:
        if n == 1:
            raise redis.ConnectionError("closed")
        return 60.0

    loop = run(act)
    loop.await_turns(2)
    assert loop.stop(10)
    assert loop.lines.events == []


def test_connections_that_are_lost_again_and_again_are_an_outage_with_pauses() -> None:
    """However often they can be made: else a worker would do nothing but connect."""
    lines = Lines()
    outage = Outage(lines)  # type: ignore[arg-type]
    assert outage.failed(redis.ConnectionError("closed")) == 0
    outage.over()
    assert outage.failed(redis.ConnectionError("closed")) > 0
    assert lines.events == ["redis_unavailable"]


def test_a_server_that_is_silent_is_an_outage_at_once() -> None:
    lines = Lines()
    assert Outage(lines).failed(redis.TimeoutError("silent")) > 0  # type: ignore[arg-type]
    assert lines.events == ["redis_unavailable"]


def test_an_error_of_the_data_api_counts_as_what_it_was(run: Run) -> None:
    api = Api("unix:///nonexistent/redis.sock")

    def act(n: int) -> float:
        if n <= 3:
            api.stats()
        return 60.0

    loop = run(act)
    loop.await_turns(4)
    assert loop.stop(10)
    assert loop.lines.events == ["redis_unavailable", "redis_back"]


def test_an_outage_is_one_line_at_its_start_and_one_at_its_end(run: Run) -> None:
    back = threading.Event()

    def act(n: int) -> float:
        if n <= 3:
            raise redis.ConnectionError("away")
        back.set()
        return 60.0

    loop = run(act)
    assert back.wait(10)
    assert loop.stop(10)
    assert loop.lines.events == ["redis_unavailable", "redis_back"]


def test_a_turn_that_asked_nothing_does_not_end_an_outage(run: Run) -> None:
    def act(n: int) -> float | None:
        if n == 1:
            raise redis.TimeoutError("silent")
        return None if n < 4 else 60.0

    loop = run(act)
    for _ in range(3):
        loop.await_turns(1)
        assert "redis_back" not in loop.lines.events
        loop.wake()
    loop.await_turns(1)
    assert loop.stop(5)
    assert loop.lines.events == ["redis_unavailable", "redis_back"]


def test_a_bug_is_logged_and_the_loop_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "LONGEST_PAUSE", 0.01)
    loop = run(lambda n: 60.0 if n > 2 else 1 / (n - n))
    loop.await_turns(3)
    assert loop.stop(10)
    assert loop.lines.events == ["background_loop_failed"] * 2


def test_pauses_grow_are_jittered_and_bounded() -> None:
    outage = Outage(Lines())  # type: ignore[arg-type]
    assert outage.failed(redis.ConnectionError("away")) == 0
    expected = FIRST_PAUSE
    for _ in range(12):
        pause = outage.failed(redis.ConnectionError("away"))
        assert expected / 2 <= pause <= expected
        expected = min(expected * 2, LONGEST_PAUSE)
    outage.over()
    assert outage.failed(redis.ConnectionError("away")) <= FIRST_PAUSE


def test_an_outage_without_a_message_names_its_kind() -> None:
    lines: list[dict[str, object]] = []

    class Logger:
        def warning(self, event: str, **fields: object) -> None:
            lines.append(fields)

    Outage(Logger()).failed(redis.TimeoutError())  # type: ignore[arg-type]
    assert lines == [{"error": "TimeoutError"}]
