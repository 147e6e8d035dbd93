"""What a preview points out."""

from __future__ import annotations

import datetime

import pytest

from jobd.schedules.line import read
from jobd.schedules.preview import affected, changes, together

BEGIN = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC).timestamp()
YEAR = 365 * 86400


@pytest.mark.parametrize(
    ("cron", "forward", "back"),
    [
        ("30 2 * * *", "skipped by the clocks", ""),
        ("0 3 * * *", "", ""),
        ("30 1 * * *", "", "comes twice"),
        ("0 * * * *", "", ""),
    ],
)
def test_changes_of_the_clocks(cron: str, forward: str, back: str) -> None:
    ahead, behind = changes("America/New_York", BEGIN, BEGIN + YEAR)
    line = read(cron, None, "America/New_York")
    for change, expected in ((ahead, forward), (behind, back)):
        told = affected(line, change)
        assert told.startswith(expected)
        assert bool(told) is bool(expected)
    assert affected(read(None, 60, None), ahead) == ""
    assert affected(read(cron, None, "Europe/Berlin"), ahead) == ""


def test_utc_has_none() -> None:
    assert changes("UTC", BEGIN, BEGIN + YEAR) == []


def test_schedules_that_come_together() -> None:
    found = together({"a": [1.0, 2.0], "b": [2.0], "c": [2.0, 3.0], "d": [3.0]})
    assert [(one.at, one.names) for one in found] == [(2.0, ("a", "b", "c")), (3.0, ("c", "d"))]
