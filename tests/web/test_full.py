"""A full Redis can be freed with the dashboard: it says so early, and deletes for good."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis as redis_py

from jobd.api import Api
from tests.api.conftest import job, push
from tests.api.test_sets import fill
from tests.web.frame import browser, guarded, log_in, token_of
from tests.web.site import Site


@contextmanager
def memory(redis: redis_py.Redis, share: float) -> Iterator[None]:
    """The server uses so large a share of what it may have."""
    used: Any = redis.info("memory")
    redis.config_set("maxmemory", int(used["used_memory"] / share))
    try:
        yield
    finally:
        redis.config_set("maxmemory", 0)


def test_it_says_so_before_pushes_are_refused(site: Site, api: Api, redis: redis_py.Redis) -> None:
    push(api, "default", job(1), b"x" * 1_000_000)
    # So that some pages do not fill the rest; made by the server, which keeps no copy of a request.
    redis.setrange("another", 50_000_000, "x")
    api.acting_as("bob").queue("default").delete(*api.queue("default").page(0, 1))
    with memory(redis, 0.9):
        for path in ("/", "/trash"):
            assert "delete jobs for good that are not needed" in site.get(path).text
        page = site.get("/queue", name="default")
        asked = site.send(
            "/queue/act", [*page.form("Delete").hidden, ("action", "delete"), ("key", page.keys[0])]
        )
        assert "delete jobs for good that are not needed" in asked.text
        assert "take memory until these 24 hours are over" in asked.text
        redis.set("any", "thing")


@pytest.mark.parametrize("permanent", [True, False])
def test_whatever_is_deleted_can_be_deleted_for_good(
    site: Site, api: Api, redis: redis_py.Redis, permanent: bool
) -> None:
    push(api, "default", *(job(n) for n in range(10)))
    push(api, "low", *(job(n) for n in range(10, 15)))
    fill(api.retries, *(job(n, "Bill" if n % 2 else "Mail") for n in range(20, 40)))
    fill(api.dead, *(job(n) for n in range(40, 50)))
    given = [("permanent", "1")] if permanent else []

    def confirm(address: str, *fields: tuple[str, str]) -> None:
        asked = site.send(address, [*site.get("/queues").form("Clear").hidden[:1], *fields])
        buttons = [text for form in asked.forms for text in form.buttons]
        button = next(text for text in buttons if text.startswith("Delete"))
        done = site.press(asked, button, *given)
        assert done.has_button("Undo") != permanent

    with memory(redis, 1.5):  # full
        queue = site.get("/queue", name="default")
        confirm("/queue/act", ("name", "default"), ("action", "delete"), ("key", queue.keys[0]))
        confirm("/queues/act", ("name", "low"), ("action", "clear"))
        confirm("/retries/act", ("action", "delete"), ("key", site.get("/retries").keys[0]))
        confirm("/retries/act", ("action", "delete"), ("all", "1"), ("q", "Bill"))
        confirm("/dead/act", ("action", "delete"), ("all", "1"))
        size = api.trash.page().size
        assert size == (0 if permanent else 5)
        assert api.queue("default").size == 9
        assert api.queue("low").size == api.dead.size == 0
        assert 9 <= api.retries.size <= 10


def test_on_a_full_server_people_log_in_empty_the_trash_and_log_out(
    redis: redis_py.Redis,
) -> None:
    api = Api(redis)
    push(api, "default", *(job(n) for n in range(120)))
    for one in api.queue("default").page(0, 120):
        api.acting_as("bob").queue("default").delete(one)
    with memory(redis, 1.5):
        client = browser(guarded(redis))
        log_in(client)
        page = client.get("/trash")
        assert page.status_code == 200
        sure = {"csrf": token_of(page), "sure": "1"}
        assert client.post("/trash/empty", data=sure).headers["location"].endswith("/trash")
        assert api.trash.page().size == 0
        assert client.post("/logout", data=sure).status_code == 303
        assert client.get("/trash").status_code != 200


def test_the_trash_is_emptied_step_by_step(
    site: Site, api: Api, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(api.retries, *(job(n) for n in range(3)))
    for entry in api.retries.page(0, 3):
        api.acting_as("bob").retries.delete(entry)
    asked = site.press(site.get("/trash"), "Empty the trash")
    assert "cannot be undone" in asked.text
    assert api.trash.page().size == 3
    monkeypatch.setattr("jobd.web.pages.trash.STEP", 0.0)
    with memory(redis, 1.5):
        page = site.press(asked, "Empty the trash")
        page = site.press(page, "Continue")
        page = site.press(page, "Continue")
    assert "Deleted 3 jobs for good" in page.text
    assert not site.get("/trash").has_button("Empty the trash")


def test_programs_delete_for_good_as_well(site: Site, api: Api, redis: redis_py.Redis) -> None:
    def ask(method: str, path: str, body: object = None, **query: Any) -> Any:
        answer = site.client.request(
            method,
            f"/api/v1{path}",
            params=query,
            json=body,
            headers={"authorization": "Bearer of-a-script"},
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    push(api, "default", *(job(n) for n in range(5)))
    fill(api.dead, *(job(n) for n in range(10, 30)))
    keys = [entry.key for entry in api.dead.page(0, 3)]
    with memory(redis, 1.5):
        assert "delete jobs for good" in ask("GET", "/redis")["memory_short"]
        ask("DELETE", "/job", queue="default", jid=f"{3:024x}", permanent="true")
        ask("DELETE", "/queues", queue="default", permanent="true")
        ask("POST", "/sets/dead/delete", {"keys": keys[:2], "permanent": True})
        ask("DELETE", "/sets/dead/job", key=keys[2], permanent="true")
        ask("POST", "/sets/dead/delete-all", {"match": f"{14:024x}", "permanent": True})
        assert api.dead.size == 16
        ask("DELETE", "/sets/dead", permanent="true")
        assert ask("GET", "/trash")["size"] == 0
        fill_one = api.acting_as("bob")
        redis.config_set("maxmemory", 0)
        push(api, "default", job(1), job(2))
        redis.config_set("maxmemory", 1)
        fill_one.queue("default").clear()
        assert ask("GET", "/trash")["size"] == 1
        told = {"changed": 2, "done": True, "cursor": "", "ref": "", "kept": 0}
        assert ask("POST", "/trash/empty") == told
    assert ask("GET", "/redis")["memory_short"] is None
