"""``assert_pushed`` and ``assert_not_pushed``: what they accept, and what they say."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from unittest import mock

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from jobd import App, ArgumentError, Job
from jobd.contrib.sqlalchemy import after_commit
from jobd.testing import Jobs, fake

app = App()
app.configure("redis://127.0.0.1:1/0")  # nothing listens there


@app.job(name="shop.welcome", queue="mail")
def welcome(user_id: Any, *, loud: bool = False, order: Any = None) -> None: ...


@app.job(name="shop.clean")
def clean(days: int = 7) -> None: ...


@app.job(name="shop.move")
def move(queue: str, at: int = 0) -> None: ...


@app.job(name="shop.repeat")
def repeat(times: int) -> None: ...


class Resize(Job, app=app, name="shop.Resize"):
    def perform(self, path: str, width: int = 640) -> None: ...


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    with fake() as jobs:
        yield jobs


def failure(call: Callable[[], object]) -> str:
    with pytest.raises(AssertionError) as caught:
        call()
    return str(caught.value)


# --- what is accepted ------------------------------------------------------------------------


def test_arguments_are_those_that_the_function_gets(jobs: Jobs) -> None:
    welcome.perform_async(7, loud=True)
    pushed = jobs.assert_pushed(welcome, 7, loud=True)
    assert pushed is jobs.pushed()[0]
    jobs.assert_pushed(welcome, user_id=7, loud=True, order=None)
    jobs.assert_pushed(welcome)
    jobs.assert_pushed("shop.welcome", 7, loud=True)
    jobs.assert_pushed(welcome.set(queue="other"), 7, loud=True)  # the same job
    jobs.assert_not_pushed(welcome, 7)
    jobs.assert_not_pushed(welcome, 7, loud=False)
    jobs.assert_not_pushed(clean)
    jobs.assert_not_pushed("Invoice")


def test_jobs_that_are_classes_and_jobs_by_name(jobs: Jobs) -> None:
    Resize.perform_async("a.png")
    app.client.push({"class": "Invoice", "args": [1, {"a": 2}], "kwargs": {"x": 3}})
    jobs.assert_pushed(Resize, "a.png", 640)
    jobs.assert_pushed("shop.Resize", "a.png")
    jobs.assert_pushed("Invoice", 1, {"a": 2}, x=3)
    jobs.assert_not_pushed("Invoice", 1)
    # By name, there is no signature to know defaults from.
    jobs.assert_not_pushed("shop.Resize", "a.png", 640)


def test_no_arguments_means_any_and_none_can_be_meant(jobs: Jobs) -> None:
    clean.perform_async(3)
    jobs.assert_pushed(clean)
    jobs.assert_not_pushed(clean, with_args=((), {}))
    clean.perform_async()
    jobs.assert_pushed(clean, with_args=((), {}))
    jobs.assert_pushed(clean, 7)


def test_matchers_of_other_libraries(jobs: Jobs) -> None:
    welcome.perform_async(7, order={"id": 3, "total": 0.1 + 0.2, "items": [1]})
    jobs.assert_pushed(welcome, mock.ANY, order=mock.ANY)
    jobs.assert_pushed(welcome, 7, order={"id": mock.ANY, "total": mock.ANY, "items": [1]})
    jobs.assert_pushed(welcome, pytest.approx(7.0000001), order=mock.ANY)


@pytest.mark.parametrize("in_", [3600, 3600.9, timedelta(hours=1), timedelta(seconds=3599.5)])
def test_times_may_differ_by_a_second(jobs: Jobs, in_: Any) -> None:
    welcome.perform_in(3600, 7)
    jobs.assert_pushed(welcome, 7, in_=in_)
    jobs.assert_not_pushed(welcome, 7, in_=3602)
    jobs.assert_not_pushed(welcome, 7, in_=0)


def test_points_in_time(jobs: Jobs) -> None:
    when = datetime.now(UTC) + timedelta(days=1)
    welcome.perform_at(when, 7)
    jobs.assert_pushed(welcome, 7, at=when)
    jobs.assert_pushed(welcome, 7, at=when.timestamp())
    jobs.assert_pushed(welcome, 7, in_=timedelta(days=1))
    jobs.assert_not_pushed(welcome, 7, at=when + timedelta(seconds=2))


def test_at_once(jobs: Jobs) -> None:
    welcome.perform_async(7)
    jobs.assert_pushed(welcome, 7, in_=0)
    jobs.assert_not_pushed(welcome, 7, in_=60)


def test_queue_and_count(jobs: Jobs) -> None:
    welcome.perform_bulk([[7], [7]])
    welcome.set(queue="low").perform_async(7)
    jobs.assert_pushed(welcome, 7, queue="low", times=1)
    jobs.assert_pushed(welcome, 7, times=3)
    jobs.assert_not_pushed(welcome, 7, queue="high")


def test_arguments_with_the_names_of_options(jobs: Jobs) -> None:
    move.perform_async("left", at=3)
    jobs.assert_pushed(move, with_args=(("left",), {"at": 3}), queue="default")
    jobs.assert_pushed(move, with_args=([], {"queue": "left", "at": 3}))
    with pytest.raises(ArgumentError, match=r"shop.move has an argument called 'queue'.*with_args"):
        jobs.assert_pushed(move, queue="left")
    repeat.perform_async(times=5)
    with pytest.raises(ArgumentError, match=r"shop.repeat has an argument called 'times'"):
        jobs.assert_pushed(repeat, times=1)
    jobs.assert_pushed(repeat, with_args=((5,), {}), times=1)


def test_jobs_that_have_run_were_pushed(jobs: Jobs) -> None:
    welcome.perform_async(7)
    jobs.drain()
    jobs.assert_pushed(welcome, 7, times=1)
    jobs.clear()
    jobs.assert_not_pushed(welcome)


# --- what no push could be -------------------------------------------------------------------

WRONG: dict[str, tuple[Callable[[Jobs], object], str]] = {
    "keyword": (
        lambda jobs: jobs.assert_not_pushed(welcome, 7, lound=True),
        r"shop.welcome: got an unexpected keyword argument 'lound'; its signature is",
    ),
    "missing": (lambda jobs: jobs.assert_pushed(welcome, loud=True), "missing a required argument"),
    "both": (lambda jobs: jobs.assert_pushed(clean, in_=1, at=2), "either in_ or at"),
    "naive": (lambda jobs: jobs.assert_pushed(clean, at=datetime(2100, 1, 1)), "no time zone"),
    "time": (lambda jobs: jobs.assert_pushed(clean, in_=cast("Any", "1h")), "a time must be"),
    "times": (lambda jobs: jobs.assert_pushed(clean, times=0), "use assert_not_pushed"),
    "args": (
        lambda jobs: jobs.assert_pushed(clean, with_args=cast("Any", [1])),
        "with_args is a pair of positional and keyword arguments",
    ),
    "two": (lambda jobs: jobs.assert_pushed(clean, 1, with_args=((1,), {})), "either as they are"),
    "function": (
        lambda jobs: jobs.assert_pushed(cast("Any", welcome.__wrapped__), 7),
        r"<function welcome at .*> is not a job: give a function with @job",
    ),
    "class": (lambda jobs: jobs.pushed(Job), "is not a job"),
    "drain": (lambda jobs: jobs.drain(cast("Any", 3)), "3 is not a job"),
}


@pytest.mark.parametrize("what", WRONG)
def test_an_assertion_that_says_nothing_is_refused(jobs: Jobs, what: str) -> None:
    call, text = WRONG[what]
    with pytest.raises(ArgumentError, match=text):
        call(jobs)


# --- what failures say -----------------------------------------------------------------------


def test_nothing_was_pushed(jobs: Jobs) -> None:
    assert failure(lambda: jobs.assert_pushed(welcome, 7)) == (
        "no push was like shop.welcome(7)\nnothing was pushed"
    )


@pytest.mark.parametrize(
    ("when", "text"),
    [
        ({"in_": 0}, "now"),
        ({"in_": timedelta(minutes=2)}, "in 120 s"),
        ({"at": datetime(2030, 1, 2, tzinfo=UTC)}, "at 2030-01-02 00:00:00+00:00"),
    ],
)
def test_the_time_that_was_expected_is_shown_as_that_of_a_push(
    jobs: Jobs, when: dict[str, Any], text: str
) -> None:
    said = failure(lambda: jobs.assert_pushed(welcome, 7, **when))
    assert said == f"no push was like shop.welcome(7), due {text}\nnothing was pushed"


def test_only_others_were_pushed(jobs: Jobs) -> None:
    clean.perform_in(60)
    assert failure(lambda: jobs.assert_pushed(welcome)) == (
        "no push was like shop.welcome(…)\n"
        "pushed: 1\n"
        "    shop.clean() to queue 'default', due in 60 s"
    )


def test_the_nearest_is_shown_with_its_differences(jobs: Jobs) -> None:
    welcome.perform_async(8)
    welcome.perform_in(60, 7, loud=True)
    welcome.perform_async(9, loud=False)
    text = failure(lambda: jobs.assert_pushed(welcome, 7, loud=True, queue="low", in_=90))
    assert text == (
        "no push was like shop.welcome(7, loud=True) to queue 'low', due in 90 s\n"
        "nearest: shop.welcome(7, loud=True) to queue 'mail', due in 60 s\n"
        "    queue: expected 'low', got 'mail'\n"
        "    due: expected in 90 s, got in 60 s\n"
        "pushed: 3\n"
        "    shop.welcome(8) to queue 'mail'\n"
        "    shop.welcome(7, loud=True) to queue 'mail', due in 60 s\n"
        "    shop.welcome(9, loud=False) to queue 'mail'"
    )


def test_differences_are_shown_as_deep_as_they_are(jobs: Jobs) -> None:
    welcome.perform_async(7, order={"id": 1, "lines": [{"sku": "a"}, {"sku": "b", "n": 2}]})
    wanted = {"id": 1, "lines": [{"sku": "a"}, {"sku": "c"}], "by": 3}
    text = failure(lambda: jobs.assert_pushed(welcome, 7, order=wanted))
    assert "\n    order['lines'][1]['sku']: expected 'c', got 'b'\n" in text
    assert "\n    order['lines'][1]['n']: expected nothing, got 2\n" in text
    assert "\n    order['by']: expected 3, got nothing\n" in text
    assert "user_id" not in text


def test_long_texts_are_shown_where_they_differ(jobs: Jobs) -> None:
    welcome.perform_async("x" * 5000 + "old" + "y" * 5000)
    text = failure(lambda: jobs.assert_pushed(welcome, "x" * 5000 + "new" + "y" * 5000))
    assert "    user_id[4990:]: expected 'xxxxxxxxxxnewyyyyy" in text
    assert "got 'xxxxxxxxxxoldyyyyy" in text
    assert max(map(len, text.splitlines())) < 300


def test_what_no_job_receives_is_remarked(jobs: Jobs) -> None:
    welcome.perform_async("00000000-0000-0000-0000-000000000000")
    text = failure(lambda: jobs.assert_pushed(welcome, uuid.UUID(int=0)))
    assert "which no push carries: argument it is of type UUID" in text
    assert "pass str(value)" in text


def test_by_name_arguments_have_places(jobs: Jobs) -> None:
    app.client.push({"class": "Invoice", "args": [1, 2]})
    text = failure(lambda: jobs.assert_pushed("Invoice", 1, 3, x=1))
    assert "    args[1]: expected 3, got 2\n    x: expected 1, got nothing\n" in text


def test_counts(jobs: Jobs) -> None:
    welcome.perform_bulk([[7], [7]])
    assert failure(lambda: jobs.assert_pushed(welcome, 7, times=3)) == (
        "2 pushes were like shop.welcome(7), expected 3\n"
        "pushed: 2\n"
        "    shop.welcome(7) to queue 'mail'\n"
        "    shop.welcome(7) to queue 'mail'"
    )
    text = failure(lambda: jobs.assert_not_pushed(welcome, 7))
    assert text.startswith("2 pushes were like shop.welcome(7), expected none\n")


def test_long_lists_are_cut(jobs: Jobs) -> None:
    welcome.perform_bulk([[n] for n in range(30)])
    text = failure(lambda: jobs.assert_pushed(welcome, 99))
    assert text.endswith("\n    and 20 more")
    assert len(text.splitlines()) == 15


def test_pushes_that_wait_for_a_commit_are_told(jobs: Jobs) -> None:
    engine = create_engine("sqlite://")
    with Session(engine) as session, session.begin():
        after_commit(session, welcome).perform_async(7)
        after_commit(session, clean).perform_async(7)
        said = failure(lambda: jobs.assert_pushed(welcome, 7))
        assert "held back until a transaction has committed: 2" in said
        assert "captureOnCommitCallbacks(execute=True)" in said
    jobs.assert_pushed(welcome, 7)
    assert "held back" not in failure(lambda: jobs.assert_pushed(welcome, 8))
    engine.dispose()
