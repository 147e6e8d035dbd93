"""The overview: a new installation, the backlog, warnings about Redis, and the charts' numbers."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis as redis_py
from starlette.testclient import TestClient

import jobd
from jobd.api import Api
from jobd.store.trouble import where
from jobd.version import VERSION
from jobd.web import Role, User, dashboard
from jobd.web.views.render import TABS, Tab
from tests.api.conftest import job, push
from tests.web.site import Page, Site, as_role
from tests.web.test_busy import NASTY, ONE, process


def points(page: Page, chart: str) -> Any:
    (given,) = (given for _, given in page.tags if given.get("id") == chart)
    return json.loads(given["data-points"])


@pytest.mark.parametrize("tab", TABS, ids=lambda tab: tab.page)
def test_each_entry_of_the_navigation_leads_to_its_page(tab: Tab, site: Site) -> None:
    page = site.get(site.get("/").links[tab.text])
    assert page.html.count('aria-current="page"') == 1
    here = page.html.index('aria-current="page"')
    assert tab.text in page.html[here : page.html.index("</a>", here)]


@pytest.mark.parametrize("path", ["/nowhere", "/queuesx", "/find?jid=0"])
def test_a_page_of_no_entry_highlights_none(path: str, site: Site) -> None:
    page = site.look(path)
    assert page.status == 404
    assert 'aria-current="page"' not in page.html


def test_a_new_installation_says_how_to_begin(site: Site, api: Api) -> None:
    page = site.get("/")
    assert "Three lines push the first job" in page.text
    assert "client.push(" in page.html
    push(api, "default", job(1))
    assert "Three lines" not in as_role(api, Role.ADMIN).get("/").text


def test_the_three_lines_push_a_job(
    site: Site, api: Api, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    html = site.get("/").html
    lines = html[html.index("from jobd import Client") : html.index("</pre>")]
    lines = lines.replace("&#34;", '"').replace("&quot;", '"')
    real = jobd.Client
    monkeypatch.setattr(jobd, "Client", lambda url: real(redis=redis))
    exec(lines, {})
    pushed: Any = redis.lindex("queue:default", 0)
    assert b"hello.greet" in pushed


def test_the_backlog_by_age(site: Site, api: Api) -> None:
    now = time.time()
    push(api, "fresh", job(1, created_at=now - 5))
    push(api, "old", job(2, created_at=now - 4000), job(3))
    push(api, NASTY, job(4, created_at=now - 100))
    api.queue("old").pause()
    api.queue("nothing").pause()
    process(api, ONE)
    page = site.get("/")
    assert "4 waiting in 3 queues" in page.text, "not in the empty one"
    assert page.text.index(" old ") < page.text.index(" fresh "), "the oldest first"
    assert "1 h 6 min" in page.text
    assert "paused" in page.text
    assert page.links["old"] == "/queues/queue?name=old" or "old" in page.links["old"]
    bars = {given.get("class") for tag, given in page.tags if tag == "progress"}
    assert bars == {"bad", "warn", "good", ""}
    assert "<script>window" not in page.html


def test_queues_of_which_none_has_jobs(site: Site, api: Api) -> None:
    api.queue("mail").pause()
    text = site.get("/").text
    assert "Backlog Nothing waits" in text
    assert "mail paused" in text


def test_days_of_history(site: Site, api: Api) -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    api.redis.set(api.keys.processed_on(today.isoformat()), 2000)
    api.redis.set(api.keys.failed_on(today.isoformat()), 30)
    old = today - datetime.timedelta(days=170)
    api.redis.set(api.keys.processed_on(old.isoformat()), 1000)
    page = site.get("/")
    assert "2,000 processed, 30 failed (1.5 %)" in page.text
    assert len(points(page, "days-chart")[0]) == 30
    page = site.get(page.links["180 days"])
    assert "3,000 processed" in page.text
    times, processed, failed = points(page, "days-chart")
    assert (len(times), processed[-1], failed[-1], processed[9]) == (180, 2000, 30, 1000)
    assert len(points(site.get("/", days="x"), "days-chart")[0]) == 30


def test_the_chart_of_now_does_not_begin_anew(site: Site, api: Api) -> None:
    site.get("/")
    api.redis.set(api.keys.processed, 50)
    time.sleep(1.6)  # for which the counters are the same
    found = points(site.get("/"), "now-chart")
    assert [processed for _, processed, _ in found] == [0, 50]


@pytest.fixture
def small_memory(redis: redis_py.Redis) -> Iterator[None]:
    settings = ("maxmemory", "maxmemory-policy", "save", "appendonly")
    before: dict[str, Any] = {}
    for name in settings:
        found: Any = redis.config_get(name)
        before |= found
    redis.config_set("maxmemory-policy", "allkeys-lru")
    redis.config_set("save", "")
    redis.config_set("appendonly", "no")
    redis.config_set("maxmemory", "1gb")
    yield
    for name, value in before.items():
        redis.config_set(name, value)


@pytest.mark.usefixtures("small_memory")
def test_a_redis_that_loses_jobs_is_shouted_about(site: Site) -> None:
    page = site.get("/")
    assert "eviction policy is allkeys-lru" in page.text
    assert "writes nothing to disk" in page.text
    assert "2 warnings" in page.text
    alerts = [given for _, given in page.tags if given.get("role") == "alert"]
    assert sum("bad" in given["class"] and "hidden" not in given for given in alerts) == 2


def test_keys_are_explained_on_every_page(site: Site) -> None:
    for path in ("/", "/busy", "/retries"):
        (dialog,) = (given for tag, given in site.get(path).tags if tag == "dialog")
        assert dialog["id"] == "keys"
        assert "next and previous row" in site.get(path).text


def test_every_page_says_which_redis_it_is(site: Site, api: Api, redis: redis_py.Redis) -> None:
    api.redis.mset({api.keys.processed: 1_234_567, api.keys.failed: 89})
    push(api, "default", job(1))
    for path in ("/", "/audit", "/queue?name=default", "/find"):
        text = site.get(path).text
        assert "Processed 1,234,567 Failed 89" in text, path
        assert f"Redis {api.info().version}" in text
        assert f"at {where(redis)} , database 0, prefix {{app}}:" in text
        assert f"jobd {VERSION}" in text
    assert "Queues 1 " in site.get("/audit").text, "counters are there without JavaScript"


def test_no_password_is_in_the_footer() -> None:
    app = dashboard("redis://app:s3cret@127.0.0.1:1/7", login=lambda _: User("x", Role.VIEWER))
    with TestClient(app, base_url="http://localhost") as client:
        answer = client.get("/audit")
    assert answer.status_code == 503
    assert "127.0.0.1:1</b>, database 7" in answer.text
    assert "s3cret" not in answer.text
