"""The pages of the periodic jobs, and the same in ``/api/v1``."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import redis as redis_py

from jobd.api import Api
from jobd.schedules.entry import id_of
from jobd.web import Role
from tests.api.test_periodic import store
from tests.web.frame import TOKEN, bearer, browser, guarded
from tests.web.site import Site, as_role

NASTY = "<b>\"&'x"


def test_there_are_none(site: Site) -> None:
    assert "No periodic jobs" in site.get("/periodic").text


def test_they_are_listed_paused_and_run(site: Site, api: Api) -> None:
    store(api, "shop", NASTY)
    page = site.get("/periodic")
    assert NASTY in page.text
    assert "0 6 * * * (Europe/Berlin)" in page.text
    page = site.press(page, "Pause")
    assert "is paused" in page.text
    assert api.periodic[NASTY].next is None
    page = site.press(page, "Resume")
    assert api.periodic[NASTY].next is not None
    page = site.press(page, "Run now")
    assert "Pushed" in page.text
    assert "pushed by a user" in page.text
    assert "had not ended" in site.press(page, "Run now").text or api.queue("default").size == 1
    told = site.get("/audit").text
    assert "paused" in told
    assert NASTY in told
    one = site.get(f"/periodic/job?id={id_of('shop', NASTY)}")
    assert one.status == 200
    assert "pushed by a user" in one.text


def test_a_line_is_changed_on_the_page(site: Site, api: Api) -> None:
    store(api, "shop", "a")
    place = f"/periodic/job?id={id_of('shop', 'a')}"
    assert "changed until the next deploy" in change(site, place, "*/10 * * * *", "Europe/Berlin")
    assert api.periodic["a"].line.cron == "*/10 * * * *"
    for line, problem in (("61 * * * *", "malformed"), ("0 0 * 2 1#5", "not due within 5 years")):
        assert problem in change(site, place, line, "UTC")
    assert "not a time zone" in change(site, place, "@daily", "Mars")
    change(site, place, "@every 90s", "Europe/Berlin")
    assert api.periodic["a"].line.every == 90
    assert "A user has changed its line" in site.get(place).text
    site.press(site.get(place), "Reset")
    assert api.periodic["a"].line.cron == "0 6 * * *"


def change(site: Site, place: str, line: str, tz: str) -> str:
    return site.press(site.get(place), "Change", ("line", line), ("tz", tz)).text


def test_the_timeline(site: Site, api: Api) -> None:
    store(api, "shop", NASTY)
    store(api, "shop2", "often", cron="* * * * *")
    now = time.time()
    records = {"fired": 60, "late": 120, "missed": 180, "skipped": 240, "other": 300}
    for what, ago in records.items():
        record = json.dumps({"what": what, "at": now, "tick": now - ago, "why": NASTY})
        api.redis.lpush(api.keys.ticks(id_of("shop", NASTY)), record)
    for path in ("/periodic", f"/periodic/job?id={id_of('shop', NASTY)}"):
        text = site.get(path).html
        for what in ("fired", "late", "missed", "skipped", "due"):
            assert f'<rect class="{what}"' in text, (path, what)
        assert NASTY not in text
    assert '<rect class="band"' in site.get("/periodic").html


def test_one_that_is_gone(site: Site, api: Api) -> None:
    store(api, "shop", "a")
    name = id_of("shop", "a")
    assert site.look("/periodic/job", id=name).status == 200
    api.redis.flushall()
    assert "is gone" in site.look("/periodic/job", id=name).text
    assert site.look("/periodic/job", id=name).status == 404


def test_viewers_only_look(api: Api) -> None:
    store(api, "shop", "a")
    assert not as_role(api, Role.VIEWER).get("/periodic").has_button("Pause")


@pytest.mark.parametrize("prefix", [""])
def test_the_same_for_programs(redis: redis_py.Redis, prefix: str) -> None:
    api, client = Api(redis, prefix), browser(guarded(redis))
    store(api, "shop", "a")
    name = id_of("shop", "a")

    def ask(method: str, path: str, status: int = 200, **body: Any) -> Any:
        given: Any = {"json": body} if body else {}
        answer = client.request(method, f"/api/v1{path}", headers=bearer(TOKEN), **given)
        assert answer.status_code == status, answer.text
        return answer.json()

    [one] = ask("GET", "/periodic")
    assert (one["id"], one["app"], one["line"], one["tz"]) == (
        name,
        "shop",
        "0 6 * * *",
        "Europe/Berlin",
    )
    assert ask("POST", "/periodic/pause", id=name)["done"] is True
    assert ask("POST", "/periodic/pause", id=name)["done"] is False
    assert ask("GET", "/periodic")[0]["paused"] is True
    assert ask("POST", "/periodic/resume", id=name)["done"] is True
    jid = ask("POST", "/periodic/run", id=name)["jid"]
    assert ask("POST", "/periodic/run", 409, id=name)["status"] == 409
    found = ask("GET", f"/periodic/{name}")
    assert [tick["jid"] for tick in found["ticks"]] == [jid]
    assert len(found["upcoming"]) == 20
    assert ask("GET", "/periodic?start=1") == []
    assert {one["kind"] for one in found["reasons"]} == {"overlap", "scheduled"}
    assert found["ticks"][0]["what"] == "run"
    assert ask("POST", "/periodic/set", id=name, line="*/5 * * * *")["done"] is True
    changed = ask("GET", f"/periodic/{name}")
    assert (changed["line"], changed["tz"], changed["changed"]) == (
        "*/5 * * * *",
        "Europe/Berlin",
        True,
    )
    refused = ask("POST", "/periodic/set", 400, id=name, line="never")
    assert "malformed" in refused["detail"]
    assert (
        "time zone" in ask("POST", "/periodic/set", 400, id=name, line="@daily", tz="M")["detail"]
    )
    assert ask("POST", "/periodic/reset", id=name)["done"] is True
    assert ask("POST", "/periodic/reset", id=name)["done"] is False
    ask("GET", "/periodic/0000000000000000", 404)
    ask("GET", "/periodic/x", 404)
