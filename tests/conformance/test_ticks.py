"""Periodic jobs in a world: each tick at its time, on both stores."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import jobd
from jobd import Schedule
from jobd.errors import ConflictError, JobdError
from jobd.jobs.app import App
from jobd.jobs.context import current_job
from jobd.testing.simulation import World, world
from tests.conformance.conftest import START, Open

HOUR = 3600.0


@pytest.fixture
def ran() -> list[float]:
    """The ticks whose jobs have run."""
    return []


@pytest.fixture
def note(ran: list[float]) -> Any:
    """A function for jobs that notes its tick."""

    def noted() -> None:
        tick = current_job().tick
        assert tick is not None
        ran.append(tick.timestamp())

    return noted


def test_a_day_has_all_its_ticks_each_at_its_time(
    w: World, app: App, note: Any, ran: list[float]
) -> None:
    times: list[float] = []

    @app.job(name="hourly", cron="0 * * * *")
    def hourly() -> None:
        note()
        times.append(w.now)

    assert w.advance(hours=24) == 24
    assert ran == [START + number * HOUR for number in range(1, 25)]
    assert times == ran
    found = w.api.periodic["hourly"]
    assert {tick.what for tick in w.api.periodic.ticks(found)} == {"fired"}
    assert found.next == ran[-1] + HOUR


def test_the_clocks_of_a_zone_change(
    open_world: Open, app: App, note: Any, ran: list[float]
) -> None:
    app.job(name="nightly", cron="30 2 * * *", tz="Europe/Berlin")(note)
    zone = ZoneInfo("Europe/Berlin")
    with open_world() as w:
        w.advance_to(datetime(2027, 3, 27, tzinfo=zone))
        ran.clear()
        w.advance_to(datetime(2027, 3, 30, tzinfo=zone))
    shown = [datetime.fromtimestamp(at, zone).strftime("%d %H:%M") for at in ran]
    assert shown == ["27 02:30", "28 03:00", "29 02:30"]


def test_schedules_with_arguments(w: World, app: App) -> None:
    seen: list[tuple[str, bool]] = []

    @app.job(
        name="report",
        cron=[
            Schedule("0 6 * * *", args=["eu"], name="eu"),
            Schedule(every=6 * HOUR, args=["us"], kwargs={"full": True}, name="us"),
        ],
    )
    def report(region: str, *, full: bool = False) -> None:
        seen.append((region, full))

    w.advance(days=1)
    assert sorted(seen) == [("eu", False)] + 4 * [("us", True)]


def test_a_tick_is_skipped_while_an_earlier_job_will_be_retried(
    w: World, app: App, ran: list[float]
) -> None:
    @app.job(name="fails", every=10, retry=1)
    def fails() -> None:
        ran.append(w.now)
        raise ValueError

    w.advance(minutes=5)
    told = [tick.what for tick in w.api.periodic.ticks(w.api.periodic["fails"])]
    assert set(told) == {"fired", "skipped"}
    assert len(ran) == 2 * w.dead.size + w.retries.size
    assert len(ran) < 30


def test_ticks_may_overlap_and_be_late(w: World, app: App, note: Any, ran: list[float]) -> None:
    app.job(name="often", every=60, overlap="allow", jitter=30)(note)
    w.advance(minutes=10, seconds=31)
    assert len(ran) == 10
    assert len(set(ran)) == 10


def test_what_a_user_does_at_run_time(w: World, app: App, note: Any, ran: list[float]) -> None:
    app.job(name="hourly", every=HOUR)(note)
    w.run()
    api = w.api.periodic
    assert api.pause(api["hourly"])
    assert w.advance(hours=3) == 0
    assert api.resume(api["hourly"])
    assert w.advance(hours=3) == 3
    assert api.change(api["hourly"], "*/10 * * * *")
    assert w.advance(hours=1) == 6
    assert api.reset(api["hourly"])
    assert w.advance(hours=2) == 2
    jid = api.run(api["hourly"])
    with pytest.raises(ConflictError, match=jid):
        api.run(api["hourly"])
    assert w.run() == 1
    assert ran[-1] == w.now


def test_jobs_that_are_registered_later_count_from_then_on(
    w: World, app: App, note: Any, ran: list[float]
) -> None:
    assert w.advance(hours=1) == 0
    app.job(name="late", every=HOUR)(note)
    assert w.advance(hours=2) == 2
    assert ran[0] > START + HOUR


def test_retries_and_ticks_keep_their_order(
    w: World, app: App, note: Any, ran: list[float]
) -> None:
    app.job(name="minutely", every=60)(note)

    @app.job(name="once", retry=1)
    def once() -> None:
        raise ValueError

    once.perform_in(300)
    w.drain()
    assert w.dead.size == 1
    assert ran == sorted(ran)
    assert len(ran) in (5, 6), "and it has an end, though the ticks have none"


def test_waiting_for_a_result_ends_though_ticks_do_not(w: World, app: App, note: Any) -> None:
    app.job(name="minutely", every=60)(note)
    waits = app.job(name="elsewhere", queue="default", keep_result=60)(lambda: 5)
    jid = waits.perform_in(600)
    assert jid
    assert jobd.Result(jid, client=app.client).get(timeout=3600) == 5
    with pytest.raises(JobdError):
        jobd.Result("0" * 24, client=app.client).get()


def test_a_schedule_from_the_settings(open_world: Open, app: App, ran: list[float]) -> None:
    from jobd.settings.periodic import read

    app.job(name="task")(lambda: ran.append(1))
    [section], _ = read([{"job": "task", "every": 60}], "jobd.toml")
    with open_world(periodic=(section,)) as w:
        assert w.advance(minutes=5) == 5


def test_a_tick_says_when_it_was_due(w: World, app: App) -> None:
    seen: list[datetime | None] = []
    app.job(name="daily", cron="@daily")(lambda: seen.append(current_job().tick))
    w.advance(days=1)
    [tick] = seen
    assert tick is not None
    assert (tick.tzinfo, tick.hour) == (UTC, 0)


def test_a_world_without_ticks(app: App, note: Any, ran: list[float]) -> None:
    app.job(name="hourly", every=HOUR)(note)
    with world(app=app, ticks=False) as w:
        assert w.advance(days=1) == 0
    assert not ran
