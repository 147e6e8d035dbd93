"""Ticks of periodic jobs in the modes ``fake`` and ``inline``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from jobd import App, ArgumentError, Job, Schedule, current_job
from jobd.testing import fake, inline

SIX = datetime(2027, 1, 1, 6, tzinfo=UTC)


@pytest.fixture
def app() -> App:
    made = App()
    made.configure("redis://127.0.0.1:1/0")
    return made


def test_a_tick_is_pushed_and_run(app: App) -> None:
    seen: list[datetime | None] = []

    @app.job(name="daily", cron="0 6 * * *", queue="low", tags=["x"])
    def daily() -> None:
        seen.append(current_job().tick)

    with fake() as jobs:
        pushed = jobs.tick(daily, at=SIX)
        assert pushed is not None
        assert (pushed.name, pushed.queue, pushed.at) == ("daily", "low", None)
        assert pushed.options["tags"] == ["x"]
        jobs.assert_pushed(daily, queue="low")
        assert jobs.tick(daily, at=SIX + timedelta(days=1)) is None, "the first has not ended"
        assert jobs.drain() == 1
        assert jobs.tick(daily, at=SIX + timedelta(days=1)) is not None
        assert jobs.drain() == 1
    assert seen == [SIX, SIX + timedelta(days=1)]


def test_inline_runs_it_at_once(app: App) -> None:
    seen: list[datetime | None] = []

    class Report(Job, app=app, name="report", every=3600):
        def perform(self) -> None:
            seen.append(current_job().tick)

    with inline() as jobs:
        assert jobs.tick(Report) is not None
        assert jobs.tick(Report, at=SIX) is not None
        assert len(jobs) == 0
    assert seen[1] == SIX
    assert seen[0] is not None
    assert seen[0].minute == seen[0].second == 0


def test_it_is_the_job_of_the_schedule(app: App) -> None:
    seen: list[tuple[str, bool]] = []
    schedules = [
        Schedule("0 6 * * *", args=["eu"], name="eu"),
        Schedule("0 6 * * *", args=["us"], kwargs={"full": True}, name="us", jitter=60),
    ]

    @app.job(name="report", cron=schedules)
    def report(region: str, full: bool = False) -> None:
        seen.append((region, full))

    with fake() as jobs:
        assert jobs.tick(report, "eu") is not None
        pushed = jobs.tick(report, "us", at=SIX)
        assert pushed is not None
        assert pushed.at is not None
        assert SIX.timestamp() <= pushed.at < SIX.timestamp() + 60
        jobs.drain(scheduled=True)
        with pytest.raises(ArgumentError, match="several schedules; say which one: 'eu', 'us'"):
            jobs.tick(report)
        with pytest.raises(ArgumentError, match="no schedule 'asia'"):
            jobs.tick(report, "asia")
    assert seen == [("eu", False), ("us", True)]


def test_what_is_no_tick(app: App) -> None:
    daily = app.job(name="daily", cron="0 6 * * *")(lambda: None)
    plain = app.job(name="plain")(lambda: None)
    with fake() as jobs:
        with pytest.raises(ArgumentError, match="plain is not a periodic job"):
            jobs.tick(plain)
        with pytest.raises(
            ArgumentError, match=r"is not due at 2027-01-01 07:00.*but at 2027-01-02 0"
        ):
            jobs.tick(daily, at=SIX + timedelta(hours=1))
        with pytest.raises(ArgumentError, match="no time zone"):
            jobs.tick(daily, at=datetime(2027, 1, 1, 6))
        assert len(jobs) == 0
