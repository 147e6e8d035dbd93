"""How many workers are wanted: the arithmetic."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobd.keeper.health.scale import DRAIN, UTILIZATION, Load, places, wanted

LOAD = Load(waiting=0, growth=0.0, running=0, seconds=0.5, workers=2, places=10.0)

loads = st.builds(
    Load,
    waiting=st.integers(0, 10**7),
    growth=st.floats(-1e4, 1e4),
    running=st.integers(0, 10**4),
    seconds=st.none() | st.floats(0.0, 1e4),
    workers=st.integers(0, 1000),
    places=st.floats(1, 1000),
)


def count(load: Load) -> int:
    return wanted(load, ("default",), 0.0, 1).workers


def test_what_runs_is_what_is_needed() -> None:
    """16 jobs at a time, 80 % of 20 places: two workers of ten."""
    assert count(dataclasses.replace(LOAD, running=16)) == 2
    assert count(dataclasses.replace(LOAD, running=17)) == 3


def test_what_waits_is_worked_off_in_time() -> None:
    """1,200 jobs of half a second in a minute are 10 more at a time."""
    load = dataclasses.replace(LOAD, running=16, waiting=1200)
    assert places(load) == pytest.approx((16 + 1200 * 0.5 / DRAIN) / UTILIZATION)
    assert count(load) == 4


def test_what_grows_needs_more() -> None:
    """20 workers busy, and 40 jobs a second more come than go."""
    assert count(dataclasses.replace(LOAD, running=20, growth=40.0)) == 5


def test_a_model_of_a_fleet_settles() -> None:
    """Jobs of a second, 90 of them a second: 90 places busy of 113, so 12 workers of ten, whatever
    there were before."""
    for workers in (1, 5, 12, 100):
        waiting, now = 0.0, workers
        for _ in range(200):
            done = min(10.0 * now, waiting + 90)
            grew, waiting = 90 - done, max(0.0, waiting + 90 - done)
            now = count(Load(int(waiting), grew, int(done), 1.0, now, 10.0))
        assert now == 12
        assert waiting == 0


def test_where_nothing_is_known_nothing_changes() -> None:
    load = dataclasses.replace(LOAD, running=5, waiting=100, seconds=None, workers=7)
    found = wanted(load, ("default",), 1.5, 2)
    assert (found.known, found.workers, found.daemons) == (False, 7, 4)
    assert count(dataclasses.replace(LOAD, seconds=None)) == 1


@given(loads, st.integers(1, 16))
def test_it_is_a_number_for_a_scaler(load: Load, daemon: int) -> None:
    found = wanted(load, ("a", "b"), 0.0, daemon)
    assert found.workers >= 1
    assert found.daemons == max(1, math.ceil(found.workers / daemon)) or not load.workers
    told = json.loads(found.json())
    assert told["workers"] == found.workers
    assert "NaN" not in found.json()


@given(loads.filter(lambda load: load.seconds is not None), st.integers(0, 10**6))
def test_more_waiting_never_needs_fewer(load: Load, more: int) -> None:
    assert count(dataclasses.replace(load, waiting=load.waiting + more)) >= count(load)
