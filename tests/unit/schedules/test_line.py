"""Lines: what is malformed, and when a job is due, through two years of daylight saving."""

from __future__ import annotations

import datetime
import re
from functools import cache
from itertools import pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from croniter import croniter
from cronsim import CronSim

from jobd import ArgumentError
from jobd.schedules.line import ALIASES, Line, read

UTC = datetime.UTC
BEGIN = datetime.datetime(2026, 1, 1, tzinfo=UTC)
END = datetime.datetime(2028, 1, 1, tzinfo=UTC)
MINUTE, DAY = datetime.timedelta(minutes=1), datetime.timedelta(days=1)

ZONES = (
    "America/New_York",
    "Europe/Dublin",
    "Australia/Lord_Howe",  # half an hour
    "Asia/Beirut",  # at midnight
    "America/Santiago",  # at midnight, on the other half of the earth
)
FIXED = ("30 2 * * *", "15 0 * * *", "0 3 * * 0", "45 1 * * 1-5", "5,35 0,2 * * *", "0 12 1 * *")
RUNNING = ("0 * * * *", "*/20 * * * *", "*/15 2 * * *", "7 * * * 0")


def offset(at: datetime.datetime, zone: ZoneInfo) -> datetime.timedelta:
    """By how much the clocks of a zone are ahead of UTC."""
    found = at.astimezone(zone).utcoffset()
    assert found is not None
    return found


@cache
def changes(zone: ZoneInfo) -> list[datetime.datetime]:
    """The moments at which the clocks of a zone are changed."""
    found, at, last = [], BEGIN, offset(BEGIN, zone)
    while at < END:
        at += 30 * MINUTE
        if (now := offset(at, zone)) != last:
            found.append(at)
            last = now
    return found


@cache
def due(line: Line) -> list[datetime.datetime]:
    """All times of the two years, each found from the one before, as keepers do."""
    found, at = [], BEGIN.timestamp() - 1
    while (at := line.after(at)) < END.timestamp():
        found.append(datetime.datetime.fromtimestamp(at, UTC))
    return found


@cache
def walls(cron: str) -> list[datetime.datetime]:
    """The times of a line as a clock on the wall shows them that is never changed."""
    begin = datetime.datetime(2025, 12, 30)
    end = datetime.datetime(2028, 1, 3)
    return list(takewhile(lambda at: at < end, CronSim(cron, begin)))


def by_the_rule(cron: str, zone: ZoneInfo) -> list[datetime.datetime]:
    """The rule, written down once more: a fixed time that is skipped is right after the gap, one
    that is repeated counts the first time."""
    found = set()
    for wall in walls(cron):
        at = wall.replace(tzinfo=zone).astimezone(UTC)
        while at.astimezone(zone).replace(tzinfo=None) < wall:
            at += MINUTE
        if at.astimezone(zone).replace(tzinfo=None) != wall:  # skipped: back to the end of the gap
            while (at - MINUTE).astimezone(zone).replace(tzinfo=None) > wall:
                at -= MINUTE
        if BEGIN <= at < END:
            found.add(at)
    return sorted(found)


def in_real_time(cron: str, zone: ZoneInfo) -> list[datetime.datetime]:
    """Each minute whose time on the wall fits the line; one time on it may be two minutes."""
    offsets = {offset(at, zone) for at in (BEGIN, *changes(zone))}
    minutes = ((wall.replace(tzinfo=UTC) - each, each) for wall in walls(cron) for each in offsets)
    return sorted(at for at, each in minutes if BEGIN <= at < END and offset(at, zone) == each)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", FIXED)
def test_a_fixed_time_is_due_once_a_day_whatever_the_clocks_do(zone: str, cron: str) -> None:
    found = due(read(cron, None, zone))
    assert len(changes(ZoneInfo(zone))) == 4, "the zone has daylight saving"
    assert found == by_the_rule(cron, ZoneInfo(zone))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", RUNNING)
def test_a_line_with_a_star_follows_real_time(zone: str, cron: str) -> None:
    found, expected = due(read(cron, None, zone)), in_real_time(cron, ZoneInfo(zone))
    if zone == "Australia/Lord_Howe" and cron == "*/15 2 * * *":
        # cronsim looks for hours in steps of one: after the half hour that the clocks are set back
        # it comes half an hour late into the one that it looks for.
        late = {at for at in expected if at not in found}
        assert len(late) == 4
        assert {at.date() for at in late} <= {one.date() for one in changes(ZoneInfo(zone))}
        found = sorted({*found, *late})
    assert found == expected


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", [*FIXED, *RUNNING])
def test_another_library_agrees_but_for_the_days_of_a_change(zone: str, cron: str) -> None:
    other = croniter(cron, (BEGIN - MINUTE).astimezone(ZoneInfo(zone)))
    theirs = set()
    while (at := other.get_next(datetime.datetime).astimezone(UTC)) < END:
        theirs.add(at)
    around = changes(ZoneInfo(zone))
    days = {change.date() + number * DAY for change in around for number in (-1, 0)}
    differ = theirs ^ set(due(read(cron, None, zone)))
    assert {at.date() for at in differ} <= days


@pytest.mark.parametrize("zone", ZONES)
def test_fixed_times_with_seconds_keep_the_same_rule(zone: str) -> None:
    plain = due(read("30 2 * * *", None, zone))
    found = due(read("5,40 30 2 * * *", None, zone))
    seconds = [datetime.timedelta(seconds=number) for number in (5, 40)]
    assert found == [at + more for at in plain for more in seconds]


def test_times_with_seconds() -> None:
    line = read("*/10 * * * * *", None, None)
    assert [at - 1e9 for at in line.newest(0.0, 1e9, 3)] == [-20, -10, 0]


@pytest.mark.parametrize("seconds", [1, 1.5, 7, 30, 86400])
def test_intervals_are_slots_of_utc(seconds: float) -> None:
    line, at = read(None, seconds, None), 1_795_416_072.25
    found = []
    for _ in range(1000):
        at = line.after(at)
        found.append(at)
    assert all(round(tick / seconds) * seconds == tick for tick in found)
    assert [b - a for a, b in pairwise(found)] == [seconds] * 999


def test_the_newest_times_are_found_however_long_ago_the_last_one_was() -> None:
    line = read("0 0 29 2 *", None, "Europe/Berlin")
    [leap] = line.newest(0.0, BEGIN.timestamp())
    assert datetime.datetime.fromtimestamp(leap, ZoneInfo("Europe/Berlin")).year == 2024
    often = read("* * * * *", None, None)
    found = often.newest(0.0, BEGIN.timestamp(), 100)
    assert found[-1] == BEGIN.timestamp()
    assert len(found) == 100
    assert often.newest(BEGIN.timestamp(), BEGIN.timestamp() + 59, 5) == []


@pytest.mark.parametrize(
    ("cron", "every", "tz", "message"),
    [
        ("61 * * * *", None, None, "is malformed: bad minute"),
        ("* 24 * * *", None, None, "is malformed: bad hour"),
        ("* * *", None, None, "there are 5, minute, hour, day of the month, month and day of the"),
        ("", None, None, "there are 5"),
        ("22-2 * * * *", None, None, "is malformed"),
        ("* * * * FUN", None, None, "bad day-of-week"),
        ("٣ * * * *", None, None, "not ASCII"),
        ("0 0 30 2 *", None, None, "malformed: bad day-of-month"),
        ("0 0 * 2 1#5", None, None, "not due within 5 years"),
        ("@dayly", None, None, "is none of @hourly, @daily"),
        ("@every 0.1s", None, None, "every must be a number of seconds from 1 to"),
        (5, None, None, "must be text such as .*, not 5"),
        ("@daily", None, "Europe/Berln", "not a time zone.*did you mean 'Europe/Berlin'"),
        ("@daily", None, "", "not a time zone"),
        ("@daily", None, "../etc/passwd", "not a time zone"),
        ("@daily", None, "Europe", "not a time zone"),
        ("@daily", None, 5, "must be the name of a time zone, not 5"),
        ("@daily", 5, None, "either cron or every, not both"),
        (None, None, None, "when is it due"),
        (None, 0.5, None, "from 1 to"),
        (None, float("nan"), None, "from 1 to"),
        (None, True, None, "from 1 to"),
        (None, "5", None, "from 1 to"),
        (None, 1e9, None, "from 1 to"),
        (None, 5, "Europe/Berlin", "tz has no effect with every"),
    ],
)
def test_what_is_wrong_is_said(cron: object, every: object, tz: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        read(cron, every, tz, now=BEGIN.timestamp())  # type: ignore[arg-type]
    assert not re.search("[{}]|Traceback", str(caught.value))


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases(alias: str) -> None:
    assert read(alias, None, None) == Line(ALIASES[alias])
