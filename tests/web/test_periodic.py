"""The pages of the periodic jobs, and the same in ``/api/v1``."""

from __future__ import annotations

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
    ask("GET", "/periodic/0000000000000000", 404)
    ask("GET", "/periodic/x", 404)
