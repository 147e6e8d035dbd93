"""What ``perform_in`` and ``perform_at`` take as a time."""

from __future__ import annotations

import asyncio
import itertools
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from jobd.ambient import clock
from jobd.errors import ArgumentError
from jobd.jobs.app import App
from jobd.jobs.times import due_at
from jobd.testing import fake

NOW = 1_800_000_000.5


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        (60, NOW + 60),
        (0.25, NOW + 0.25),
        (999_999_999, NOW + 999_999_999),
        (1_000_000_000, None),
        (1_900_000_000, 1_900_000_000.0),
        (0, None),
        (-5, None),
        (NOW, None),
        (timedelta(minutes=1), NOW + 60),
        (timedelta(days=20_000), NOW + 20_000 * 86_400),
        (timedelta(seconds=-1), None),
        (datetime(2100, 1, 1, tzinfo=UTC), 4_102_444_800.0),
        (datetime(2100, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 4_102_444_800.0),
        (datetime(2000, 1, 1, tzinfo=UTC), None),
    ],
)
def test_due_at(when: Any, expected: float | None) -> None:
    due = due_at(when, NOW)
    assert due == expected
    assert due is None or type(due) is float


@pytest.mark.parametrize("when", ["noon", None, True, math.nan, math.inf, [60]])
def test_refuses_what_is_no_time(when: Any) -> None:
    with pytest.raises(ArgumentError, match="a number of seconds, a timedelta or an aware"):
        due_at(when, NOW)


def test_refuses_naive_datetimes_with_the_reason() -> None:
    with pytest.raises(
        ArgumentError, match="has no time zone, so its meaning depends on the machine"
    ):
        due_at(datetime(2100, 1, 1), NOW)


@pytest.mark.parametrize("how", ["one", "coroutine", "many", "by name"])
def test_a_delay_begins_when_the_job_is_created(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine does meanwhile: the clock is read once."""
    app = App()
    app.configure("redis://127.0.0.1:1/0")  # nothing listens there
    note = app.job(name="note")(lambda: None)
    moments = itertools.count(int(NOW), 5)
    monkeypatch.setattr(clock, "now", lambda: float(next(moments)))
    with fake() as jobs:
        if how == "one":
            note.perform_in(60)
        elif how == "coroutine":
            asyncio.run(note.aperform_in(60))
        elif how == "many":
            note.perform_bulk([(), ()], at=60)
        else:
            app.client.push({"class": "note", "args": [], "at": 60})
        for pushed in jobs.pushed():
            assert pushed.at == pushed.created_at + 60
