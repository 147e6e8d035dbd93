"""What a job may say about when it is pushed by itself, and what the configuration may."""

from __future__ import annotations

import re
import textwrap
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobd import App, ArgumentError, Job, Schedule
from jobd.jobs.periodic import entries_of, owner_of
from jobd.schedules.entry import Entry
from jobd.settings.daemon import Config
from jobd.settings.load import read


def entries(app: App, **settings: Any) -> dict[str, Entry]:
    found, problems = entries_of(app.registry, Config(**settings))
    assert not problems
    return {one.name: one for one in found}


def test_a_job_with_a_line() -> None:
    app = App()

    @app.job(
        name="a", cron="*/5  * * * *", tz="Europe/Berlin", queue="low", grace=timedelta(hours=1)
    )
    def a() -> None: ...

    [made] = entries(app).values()
    assert (made.name, made.queue, made.cron, made.tz) == (
        "a",
        "low",
        "*/5 * * * *",
        "Europe/Berlin",
    )
    assert (made.catch_up, made.grace, made.overlap, made.jitter) == ("last", 3600.0, "skip", 0.0)
    assert made.payload == {"retry": True, "queue": "low", "args": [], "class": "a"}


def test_a_job_with_several_schedules() -> None:
    app = App()

    @app.job(
        name="report",
        tz="Asia/Tokyo",
        catch_up="none",
        cron=[
            Schedule(
                "0 6 * * *", args=["eu"], kwargs={"full": True}, name="eu", tz="Europe/Berlin"
            ),
            Schedule("0 7 * * *", args=["jp"], catch_up="all"),
            Schedule(every=90, args=["x"]),
        ],
    )
    def report(region: str, *, full: bool = False) -> None: ...

    found = entries(app)
    assert list(found) == ["eu", "report 0 7 * * * (Asia/Tokyo)", "report every 90 s"]
    eu, jp, often = found.values()
    assert (eu.tz, eu.catch_up, eu.payload["args"]) == ("Europe/Berlin", "none", ["eu"])
    assert eu.payload["kwargs"] == {"full": True}
    assert (jp.tz, jp.catch_up) == ("Asia/Tokyo", "all")
    assert (often.every, often.tz) == (90.0, "UTC")


def test_a_class_has_its_own_and_passes_none_on() -> None:
    app = App()

    class Clean(Job, app=app, name="clean", every=60):
        def perform(self) -> None: ...

    class Other(Clean, name="other"): ...

    assert list(entries(app)) == ["clean"]


def test_what_hangs_on_it_is_computed_when_it_is_stored() -> None:
    app = App()

    @app.job(name="a", every=60, unique=True, keep_result=30, expires_in=20, tags=["t"])
    def a(x: int = 1) -> None: ...

    [made] = entries(app).values()
    assert made.expires_in == 20
    assert made.payload["jobd"]["result"] == 30
    assert made.payload["jobd"]["lock"]["held"] is True
    assert "unique" not in made.payload
    assert made.payload["tags"] == ["t"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cron": "* * *"}, "a: cron '\\* \\* \\*' is malformed"),
        ({"cron": "@daily", "tz": "Mars"}, "a: tz 'Mars' is not a time zone"),
        ({"cron": "@daily", "every": 5}, "not both"),
        ({"cron": 5}, "cron must be a line, a Schedule or a list of these"),
        ({"cron": [5]}, "must be text"),
        ({"tz": "UTC"}, "tz: needs cron or every"),
        ({"jitter": 5}, "jitter: needs cron or every"),
        ({"every": 5, "jitter": 5}, "must be shorter than every"),
        ({"every": 5, "catch_up": "some"}, "must be one of last, all, none, not 'some'"),
        ({"every": 5, "overlap": False}, "overlap must be one of skip, allow, not False"),
        ({"every": 5, "grace": -1}, "grace must be a number of seconds from 0"),
        ({"cron": ["@daily", "@daily"]}, "two schedules are called"),
        ({"cron": Schedule("@daily", args=[1, 2])}, "calls it with other arguments than it takes"),
        ({"corn": "@daily"}, "'corn' is not an option; did you mean 'cron'"),
    ],
)
def test_mistakes_are_told_at_the_import(options: dict[str, Any], message: str) -> None:
    def a() -> None: ...

    with pytest.raises(ArgumentError, match=message):
        App().job(name="a", **options)(a)


def test_options_of_a_call_say_where_they_belong() -> None:
    app = App()

    @app.job(name="a")
    def a() -> None: ...

    with pytest.raises(ArgumentError, match="give it to @job or to the class"):
        a.set(cron="@daily")  # type: ignore[call-arg]
    with pytest.raises(ArgumentError, match="has no effect in the body of the class"):

        class B(Job, app=app):
            every = 5

            def perform(self) -> None: ...


FILE = """
    app = "shop"
    [[periodic]]
    job = "known"
    cron = "0 6 * * *"
    tz = "Europe/Berlin"
    args = [7]
    queue = "low"
    [[periodic]]
    job = "Reports::Nightly"
    name = "nightly"
    every = 30
    foreign = true
    extra = {tenant = "t"}
    [environments.quiet]
    periodic = []
"""


def loaded(tmp_path: Path, text: str, **flags: str) -> Any:
    file = tmp_path / "jobd.toml"
    file.write_text(textwrap.dedent(text))
    return read(str(file), {}, flags)


def test_the_configuration_has_some_too(tmp_path: Path) -> None:
    config = loaded(tmp_path, FILE).settings()
    app = App()

    @app.job(name="known", retry=3)
    def known(number: int) -> None: ...

    found, problems = entries_of(app.registry, config)
    assert not problems
    ours, theirs = found
    assert (ours.app, ours.name, ours.payload["retry"], ours.queue) == ("shop", "known", 3, "low")
    assert ours.payload["args"] == [7]
    assert (theirs.name, theirs.job, theirs.foreign) == ("nightly", "Reports::Nightly", True)
    assert (theirs.overlap, theirs.payload["tenant"]) == ("allow", "t")
    assert loaded(tmp_path, FILE, environment="quiet").settings().periodic == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("periodic = 5", "must be sections, \\[\\[periodic\\]\\]"),
        ("[[periodic]]\ncron = '@daily'", "periodic 1: job must be the class name"),
        ("[[periodic]]\njob = 'a'", "periodic 1 \\(a\\): when is it due"),
        ("[[periodic]]\njob = 'a'\ncorn = '@daily'", "corn is not known here; did you mean cron"),
        ("[[periodic]]\njob = 'a'\ncron = '* *'", "periodic 1 \\(a\\): cron .* is malformed"),
        ("[[periodic]]\njob = 'a'\ncron = ['@daily']", "write a section for each line"),
        ("[[periodic]]\njob = 'a'\nevery = 5\nqueue = 'a b'", "cannot be shown by dashboards"),
        ("[[periodic]]\njob = 'a'\nevery = 5\nforeign = 'yes'", "foreign must be true or false"),
        ("[[periodic]]\njob = 'a'\nevery = 5\nargs = 'x'", "args of a schedule must be a list"),
        ("[[periodic]]\njob = 'a'\nevery = 5\nargs = [2026-01-01]", "is not JSON"),
    ],
)
def test_mistakes_in_the_configuration(tmp_path: Path, text: str, message: str) -> None:
    [problem] = loaded(tmp_path, text).problems
    assert re.search(message, problem), problem


def test_one_bad_schedule_stops_no_other() -> None:
    app = App()

    @app.job(name="bad", every=5, debounce=5)
    def bad() -> None: ...

    @app.job(name="large", cron=Schedule(every=5, args=["x" * 5000]))
    def large(text: str) -> None: ...

    @app.job(name="good", every=5)
    def good() -> None: ...

    found, problems = entries_of(app.registry, Config(max_payload=1024))
    assert [one.name for one in found] == ["good"]
    assert [one.name for one in problems] == ["bad", "large"]


def test_overlap_of_foreign_jobs_cannot_be_seen(tmp_path: Path) -> None:
    text = "[[periodic]]\njob = 'A'\nevery = 5\nforeign = true\noverlap = 'skip'"
    _, [problem] = entries_of(App().registry, loaded(tmp_path, text).settings())
    assert "which a foreign one does not" in problem.error


def test_the_owner() -> None:
    assert owner_of(Config(app="shop", require=("a",))) == "shop"
    assert owner_of(Config(require=("shop.jobs", "./more.py"))) == "shop.jobs ./more.py"
    assert owner_of(Config()) == "jobs"
