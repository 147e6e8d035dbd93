"""How many jobs are claimed beyond the free threads."""

from __future__ import annotations

import pytest

from jobd.worker.fetch import prefetch
from jobd.worker.fetch.prefetch import AT_MOST, BEHIND, HORIZON, Ahead


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(prefetch, "time", made)
    return made


def go(prefetch: Ahead, clock: Clock, per_second: float, seconds: float = 1.0) -> None:
    step = 0.01
    for _ in range(int(seconds / step)):
        clock.now += step
        prefetch.note(round(per_second * step))


def test_nothing_is_claimed_ahead_at_first(clock: Clock) -> None:
    assert Ahead(10).jobs == 0


@pytest.mark.parametrize("pace", [1000, 5000, 20_000])
def test_it_holds_what_starts_within_the_horizon(clock: Clock, pace: int) -> None:
    made = Ahead(10)
    go(made, clock, pace)
    assert made.jobs == pytest.approx(pace * HORIZON - 10, rel=0.02, abs=2)


@pytest.mark.parametrize("pace", [5000, 20_000])
def test_of_later_queues_it_holds_milliseconds(clock: Clock, pace: int) -> None:
    made = Ahead(10)
    go(made, clock, pace)
    assert made.behind == pytest.approx(pace * BEHIND - 10, rel=0.02, abs=2)


def test_slow_jobs_are_not_claimed_ahead(clock: Clock) -> None:
    made = Ahead(10)
    go(made, clock, 100)  # each thread ends ten jobs a second: one in the horizon
    assert made.jobs == 0


def test_it_is_bounded(clock: Clock) -> None:
    made = Ahead(1)
    go(made, clock, 1e9)
    assert made.jobs == AT_MOST


def test_it_forgets_within_a_fraction_of_a_second_when_jobs_become_long(clock: Clock) -> None:
    made = Ahead(2)
    go(made, clock, 20_000)
    assert made.jobs > 1000
    go(made, clock, 0, seconds=0.3)
    assert made.jobs == 0


def test_it_forgets_over_a_long_silence_in_one_step(clock: Clock) -> None:
    made = Ahead(2)
    go(made, clock, 20_000)
    clock.now += 5.0
    made.note(1)
    assert made.jobs == 0


def test_two_notes_at_one_moment_do_not_divide_by_zero(clock: Clock) -> None:
    made = Ahead(2)
    made.note(5)
    made.note(5)
    assert made.jobs == 0
