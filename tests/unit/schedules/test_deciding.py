"""What is decided about a tick, on a clock that is only a number."""

from __future__ import annotations

import random
from typing import Any

import pytest

from jobd.schedules.deciding import MOST, steps
from jobd.schedules.entry import Entry, job_of
from jobd.schedules.line import read

NOON = 1_795_435_200.0


def entry(cron: str | None = "* * * * *", every: float | None = None, **fields: Any) -> Entry:
    line = read(cron if every is None else None, every, None)
    rules = {"grace": 600.0, "overlap": "allow", **fields}
    job = {"class": "A", "args": [], "queue": "default"}
    return Entry(
        app="a", name="A", job="A", queue="default", cron=line.cron, tz=line.tz, every=line.every,
        payload=job, **rules,
    )  # fmt: skip


class Keeper:
    """A schedule, and keepers that look at it."""

    def __init__(self, made: Entry, now: float) -> None:
        self.entry = made
        self.tick = made.line.after(now)
        self.fired: list[float] = []
        self.missed: list[tuple[float, str]] = []

    def look(self, now: float, unable: str = "") -> None:
        if self.tick > now:
            return
        for step in steps(self.entry, self.tick, now, unable):
            assert step.tick == self.tick, "it starts where the one before has ended"
            assert step.then > step.tick
            if step.missed:
                self.missed.append((step.tick, step.missed))
            else:
                self.fired.append(step.tick)
            self.tick = step.then
        assert self.tick > now


def test_each_tick_is_pushed_once_in_time() -> None:
    keeper = Keeper(entry(), NOON)
    for second in range(3601):
        keeper.look(NOON + second)
    assert keeper.fired == [NOON + 60 * number for number in range(1, 61)]
    assert not keeper.missed


@pytest.mark.parametrize(
    ("rules", "fired", "missed"),
    [
        ({}, [1800], [(60, "it was 1740 s late")]),
        ({"catch_up": "last", "grace": 3600.0}, [1800], [(60, "a later tick is due")]),
        ({"catch_up": "all"}, list(range(1200, 1801, 60)), [(60, "it was 1740 s late")]),
        ({"catch_up": "all", "grace": 3600.0}, list(range(60, 1801, 60)), []),
        ({"catch_up": "none"}, [1800], [(60, "it was 1740 s late")]),
    ],
)
def test_after_half_an_hour(
    rules: dict[str, Any], fired: list[int], missed: list[tuple[int, str]]
) -> None:
    keeper = Keeper(entry(**rules), NOON)
    keeper.look(NOON + 1800)
    assert [tick - NOON for tick in keeper.fired] == fired
    assert [(tick - NOON, why) for tick, why in keeper.missed] == missed
    assert keeper.tick == NOON + 1860


def test_none_are_caught_up_with() -> None:
    keeper = Keeper(entry("0 * * * *", catch_up="none"), NOON)
    keeper.look(NOON + 3600 + 10)
    assert (keeper.fired, keeper.tick) == ([], NOON + 7200)
    assert keeper.missed == [(NOON + 3600, "it was 10 s late")]
    keeper.look(NOON + 7200 + 3)
    assert keeper.fired == [NOON + 7200], "a moment is not late"


def test_a_rare_tick_is_caught_up_with_within_the_grace() -> None:
    for late, fired in ((600, True), (601, False)):
        keeper = Keeper(entry("0 0 1 * *"), NOON)
        tick = keeper.tick
        keeper.look(tick + late)
        assert bool(keeper.fired) is fired, late
        assert keeper.tick == keeper.entry.line.after(tick + late)


def test_no_more_than_a_hundred_at_once() -> None:
    keeper = Keeper(entry(every=1, catch_up="all"), NOON)
    keeper.look(NOON + 500)
    assert keeper.fired == [NOON + number for number in range(401, 501)]
    assert len(keeper.fired) == MOST
    assert len(keeper.missed) == 1


def test_what_nobody_can_run_is_missed_with_the_reason() -> None:
    keeper = Keeper(entry(), NOON)
    keeper.look(NOON + 700, "no living worker knows the job A")
    assert keeper.missed == [(NOON + 60, "no living worker knows the job A")]
    assert not keeper.fired


@pytest.mark.parametrize("zone_offset", [3600, -3600, 86400, -86400])
def test_a_clock_that_is_set_fires_nothing_again(zone_offset: int) -> None:
    keeper = Keeper(entry("*/5 * * * *"), NOON)
    for second in range(0, 7200, 7):
        keeper.look(NOON + second)
    before = len(keeper.fired)
    for second in range(7200, 7200 + 3 * 86400, 30):
        keeper.look(NOON + second + zone_offset)
    assert len(set(keeper.fired)) == len(keeper.fired)
    assert sorted(keeper.fired) == keeper.fired
    assert len(keeper.fired) > before
    if zone_offset > 0:
        assert len(keeper.missed) == 1, "the time that was left out is one gap"


@pytest.mark.parametrize("seed", range(20))
def test_whoever_looks_whenever_every_tick_is_decided_once(seed: int) -> None:
    """Property: pushed or missed, no tick twice, in order, and all of them with a long grace."""
    chance = random.Random(seed)
    made = entry(every=chance.choice([1, 7, 60, 3600]), catch_up="all", grace=1e7)
    keeper, now = Keeper(made, NOON), NOON
    for _ in range(500):
        now += chance.choice([0.1, 1, 5, 30]) * made.every * chance.random()
        keeper.look(now)
    first = made.line.after(NOON)
    expected = [first + number * made.every for number in range(len(keeper.fired))]
    assert keeper.fired == expected
    assert keeper.tick == expected[-1] + made.every


def test_jitter_and_ids_depend_on_the_tick_alone() -> None:
    made = entry(every=100, jitter=50.0)
    jobs = [job_of(made, NOON + 100 * number, NOON) for number in range(500)]
    again = [job_of(made, NOON + 100 * number, NOON + 1) for number in range(500)]
    assert [one.jid for one in jobs] == [one.jid for one in again]
    assert [one.due for one in jobs[1:]] == [one.due for one in again[1:]]
    delays = [(one.due or 0) - NOON - 100 * number for number, one in enumerate(jobs) if number]
    assert all(0 <= delay < 50 for delay in delays)
    assert len(set(delays)) > 450
    assert job_of(made, NOON, NOON + 51).due is None, "caught up with later, it is due at once"
