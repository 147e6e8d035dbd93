"""The pages of the metrics."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py
import time_machine
from starlette.testclient import TestClient

from jobd.api import Api
from jobd.store.keys import Keys
from jobd.web import Role, User, dashboard
from jobd.worker.metrics import Metrics
from tests.web.site import Page


@pytest.fixture
def client(redis: redis_py.Redis) -> Iterator[TestClient]:
    with TestClient(
        dashboard(redis, login=lambda _: User("ada", Role.VIEWER)), base_url="http://localhost"
    ) as made:
        yield made


def ran(redis: redis_py.Redis, name: str, *seconds: float, failed: int = 0) -> None:
    metrics = Metrics()
    for each in seconds:
        metrics.done(name, each)
    for _ in range(failed):
        metrics.failed(name)
    metrics.send(redis, Keys())


def test_an_empty_installation_says_so(client: TestClient) -> None:
    assert "Nothing has run in this period" in client.get("/classes").text


@pytest.mark.parametrize("hours", [1, 2, 4, 8, 24, 48, 72])
def test_all_periods_show_the_classes(
    client: TestClient, redis: redis_py.Redis, hours: int
) -> None:
    ran(redis, "shop.mail", 0.1, 0.2, failed=1)
    ran(redis, "shop.image", 2.0)
    page = client.get("/classes", params={"hours": hours})
    assert page.status_code == 200
    table = page.text[page.text.index('id="classes"') :]
    assert table.index(">shop.image<") < table.index(">shop.mail<")
    assert "33.3 %" in page.text
    assert ("In each minute, of" if hours <= 4 else "In each ten minutes, of") in page.text
    assert "the time of a job counts when it ends" in page.text


def test_a_search_leaves_the_others_out(client: TestClient, redis: redis_py.Redis) -> None:
    ran(redis, "shop.mail", 0.1)
    ran(redis, "shop.image", 2.0)
    text = client.get("/classes", params={"class": "MAIL"}).text
    assert "shop.mail" in text
    assert "shop.image" not in text
    assert "No such class" in client.get("/classes", params={"class": "nobody"}).text


def chart(client: TestClient, ident: str, path: str, **query: Any) -> dict[str, Any]:
    page = Page(client.get(path, params=query))
    (drawn,) = (given["data-chart"] for _, given in page.tags if given.get("id") == ident)
    found: dict[str, Any] = json.loads(drawn)
    return found


def test_the_classes_of_the_chart_can_be_chosen(client: TestClient, redis: redis_py.Redis) -> None:
    for number in range(9):
        ran(redis, f"shop.job{number}", 9.0 - number)
    drawn = chart(client, "metrics-chart", "/classes")
    assert [one["label"] for one in drawn["series"]] == [f"shop.job{number}" for number in range(6)]
    chosen: dict[str, Any] = {
        "show": ["shop.job8", "shop.job1", "nothing"],
        "scale": "log",
        "hours": 8,
    }
    drawn = chart(client, "metrics-chart", "/classes", **chosen)
    assert [one["label"] for one in drawn["series"]] == ["shop.job1", "shop.job8"]
    assert drawn["log"] is True
    page = Page(client.get("/classes", params=chosen))
    assert sorted(
        given["value"]
        for _, given in page.tags
        if given.get("name") == "show" and "checked" in given
    ) == ["shop.job1", "shop.job8"]
    assert page.links["2 h"] == "/classes?hours=2&show=shop.job1&show=shop.job8&scale=log"
    assert page.links["Linear"] == "/classes?hours=8&show=shop.job1&show=shop.job8"


def test_percentiles_of_hours(client: TestClient, redis: redis_py.Redis) -> None:
    with time_machine.travel(time.time() - 5 * 3600, tick=False):
        ran(redis, "shop.old", *[0.01] * 9, 3.0)
    page = Page(client.get("/classes", params={"hours": 8}))
    assert "shop.old ≤ 3.8 s" in page.text, "the slowest"
    assert "≤ 20 ms ≤ 3.8 s ≤ 3.8 s" in page.text
    page = Page(client.get("/classes", params={"hours": 24}))
    assert "on average" in page.text
    assert "shop.old 309 ms" in page.text
    assert "p95" not in page.text, "no columns of which nothing can be known"
    assert "percentiles for up to 8 hours" in page.text


def test_durations_over_time(client: TestClient, redis: redis_py.Redis) -> None:
    now = time.time()
    for ago, seconds in ((3 * 3600, 0.1), (600, 2.0)):
        with time_machine.travel(now - ago, tick=False):
            ran(redis, "shop.mail", *[seconds] * 20)
    drawn = chart(client, "durations-chart", "/classes/one", name="shop.mail", hours=4)
    assert len(drawn["times"]) == 60
    assert drawn["band"] is True
    assert [one["label"] for one in drawn["series"]] == ["p50", "p95"]
    median, slow = (list(filter(None, one["values"])) for one in drawn["series"])
    assert [round(each, 3) for each in median] == [0.125, 2.1]
    assert [round(each, 3) for each in slow] == [0.147, 2.46]


def test_one_class_has_its_histogram_and_the_deploys(
    client: TestClient, redis: redis_py.Redis
) -> None:
    ran(redis, "shop.mail", *[0.1] * 99, 3.0)
    Api(redis).deploys.mark("v17 <b>bold</b>")
    page = client.get("/classes/one", params={"name": "shop.mail"})
    assert page.status_code == 200
    assert "v17" in page.text
    assert "<b>bold" not in page.text


def test_percentiles_are_bounds_and_those_without_one_come_first(
    client: TestClient, redis: redis_py.Redis
) -> None:
    ran(redis, "shop.mail", *[0.01] * 9, failed=2)
    ran(redis, "shop.image", 30.0)
    ran(redis, "shop.report", 400.0)
    ran(redis, "shop.export", 900.0, failed=1)
    page = Page(client.get("/classes"))
    assert (
        "shop.export > 5 min 35 s shop.report > 5 min 35 s shop.image ≤ 45 s shop.mail ≤ 20 ms"
        in page.text
    )
    assert "shop.report 1 0 6 min 40 s 6 min 40 s > 5 min 35 s > 5 min 35 s" in page.text
    page = Page(client.get("/classes/one", params={"name": "shop.mail"}))
    assert "≤ 20 ms p50 ≤ 20 ms p95 ≤ 20 ms p99" in page.text
    assert "percentiles are of the 9 executions that succeeded" in page.text
    assert "How long they took of the 9 that succeeded" in page.text
    page = Page(client.get("/classes/one", params={"name": "shop.export"}))
    assert "> 5 min 35 s p95" in page.text


def test_a_class_that_only_fails_has_no_times(client: TestClient, redis: redis_py.Redis) -> None:
    ran(redis, "shop.broken", failed=3)
    page = Page(client.get("/classes/one", params={"name": "shop.broken"}))
    assert "No execution has succeeded" in page.text
    assert "– p95" in page.text
    assert "histogram" not in [given.get("id") for _, given in page.tags]


@pytest.mark.parametrize("query", ["hours=x", "hours=99999999999", "hours=-1", "class=%00%ff"])
def test_nonsense_in_the_address_does_not_hurt(client: TestClient, query: str) -> None:
    assert client.get(f"/classes?{query}").status_code == 200
    assert client.get(f"/classes/one?{query}").status_code == 200


def test_hostile_names_stay_text(client: TestClient, redis: redis_py.Redis) -> None:
    for name in ("<script>alert(1)</script>", "x" * 100_000, "'\"&", "\u202e", "a\nb"):
        ran(redis, name, 0.1, failed=1)
    page = client.get("/classes")
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert len(page.text) < 10_000 + 5 * 100_000
