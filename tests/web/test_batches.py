"""The pages of the batches, and the same in ``/api/v1``."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import redis as redis_py

import jobd
from jobd.api import Api
from jobd.api.features import batch_parts
from jobd.features.batches.record import BatchStatus, status_of
from jobd.testing import EmbeddedServer
from jobd.web import Role
from jobd.web.shared.batch_rates import BatchRates
from tests.support.workflows import NASTY, end, jobs_of
from tests.web.frame import TOKEN, bearer, browser, guarded
from tests.web.site import Site, as_role

PREFIX = "{app}:"


@pytest.fixture
def jobs(server: EmbeddedServer, api: Api) -> Any:
    assert api.redis.ping()
    return jobs_of(server.url, PREFIX)


def pushed(jobs: Any, count: int = 3) -> jobd.Batch:
    """A batch with another one of one job inside, and a callback for two events."""
    with jobd.Batch(NASTY, tags=[NASTY], client=jobs.client) as batch:
        batch.on_success(jobs.tell)
        batch.on_death(jobs.refund)
        jobs.pack.perform_bulk([[number] for number in range(count)])
        with jobd.Batch("inside", client=jobs.client):
            jobs.ship.perform_async()
    return batch


def test_there_are_none(site: Site) -> None:
    assert "No batches" in site.get("/batches").text


def test_one_goes_on_and_ends(site: Site, jobs: Any, redis: redis_py.Redis) -> None:
    bid = pushed(jobs).bid
    page = site.get("/batches")
    assert NASTY in page.text
    assert "0 of 4" in page.text
    page = site.get(f"/batches/batch?id={bid}")
    assert NASTY in page.text
    assert "inside" in page.text
    assert "shop.tell" in page.text
    assert "0 of 4 · 0 %" in page.text
    assert not page.has_button("Close batch")
    end(redis, PREFIX, "failed")
    page = site.get(f"/batches/batch?id={bid}")
    assert "1 of 4 · 25 %" in page.text
    assert page.links[f"{bid}00000002"].endswith(f"/find?jid={bid}00000002")
    assert "pushed" in page.text, "the callback of its death"
    end(redis, PREFIX, most=10)
    page = site.get(f"/batches/batch?id={bid}")
    assert "4 of 4 · 100 %" in page.text
    assert "failed" in page.text
    assert not page.has_button("Retry")


def test_one_is_cancelled_and_deleted(site: Site, api: Api, jobs: Any) -> None:
    bid = pushed(jobs).bid
    place = f"/batches/batch?id={bid}"
    asked = site.press(site.get(place), "Cancel batch")
    assert f"Cancel batch {bid}?" in asked.text
    assert api.batches.get(bid).cancelled_at is None
    page = site.press(asked, "Cancel batch")
    assert f"Batch {bid} is cancelled: 4 jobs were taken out or told." in page.text
    assert api.batches.get(bid).cancelled == 3
    page = site.press(site.press(site.get(place), "Delete batch"), "Delete batch")
    assert f"Batch {bid} is deleted." in page.text
    assert site.look("/batches/batch", id=bid).status == 404
    told = site.get("/audit").text
    assert f"cancelled {bid}" in told
    assert f"deleted {bid}" in told


def test_many_jobs_are_cancelled_in_steps_that_go_on(
    site: Site, api: Api, jobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.web.pages.batches.STEP", 0.0)
    monkeypatch.setattr("jobd.web.v1.batches.CANCELLING", 0.0)
    bids = [pushed(jobs, 700).bid for _ in range(2)]
    page = site.press(site.get(f"/batches/batch?id={bids[0]}"), "Cancel batch")
    page, seen = site.press(page, "Cancel batch"), []
    while page.has_button("Continue"):
        seen.append(page.text)
        page = site.press(page, "Continue")
    assert len(seen) > 10
    assert f"Cancelling batch {bids[0]}" in seen[0]
    assert "of 1,402." in seen[-1]
    assert f"Batch {bids[0]} is cancelled: 701 jobs were taken out or told." in page.text
    client = browser(guarded(api))
    client.headers.update(bearer(TOKEN))
    body, changed, done = {"bid": bids[1]}, 0, False
    while not done:
        told = client.post("/api/v1/batches/cancel", json=body).json()
        body["cursor"], changed, done = told["cursor"], changed + told["changed"], told["done"]
    assert (changed, body["cursor"]) == (701, "")
    for cursor in ("7", "x@queue:a", "@nowhere"):
        wrong = {"bid": bids[1], "cursor": cursor}
        assert client.post("/api/v1/batches/cancel", json=wrong).status_code == 400
    assert [api.batches.get(bid).cancelled for bid in bids] == [700, 700]


def test_a_block_that_is_open_is_closed(site: Site, api: Api, jobs: Any) -> None:
    batch = jobd.Batch(client=jobs.client)
    batch.__enter__()
    jobs.pack.perform_bulk([[number] for number in range(1_000)])
    batch.__exit__(KeyError, KeyError(), None)
    api.redis.hset(api.keys.batch(batch.bid), "abandoned_at", "1.0")  # an hour later
    page = site.get(f"/batches/batch?id={batch.bid}")
    assert "Its producer seems to have died" in page.text
    page = site.press(page, "Close batch")
    assert f"Closed 1 block of batch {batch.bid}." in page.text
    assert (batch.status.open, batch.status.state) == (0, "running")
    assert f"closed {batch.bid}" in site.get("/audit").text


def test_one_that_is_gone(site: Site) -> None:
    assert site.look("/batches/batch", id="gone").status == 404


def test_viewers_only_look_and_operators_close(api: Api, jobs: Any) -> None:
    place = f"/batches/batch?id={pushed(jobs).bid}"
    for role in (Role.VIEWER, Role.OPERATOR):
        page = as_role(api, role).get(place)
        assert not page.has_button("Cancel batch")
        assert not page.has_button("Delete batch")


def test_the_same_in_the_api(api: Api, jobs: Any, redis: redis_py.Redis) -> None:
    client = browser(guarded(api))
    client.headers.update(bearer(TOKEN))
    bid = pushed(jobs).bid
    inner, one = sorted(client.get("/api/v1/batches").json(), key=lambda each: each["total"])
    assert (one["bid"], one["description"], one["tags"]) == (bid, NASTY, [NASTY])
    assert (one["state"], one["total"], one["pending"], one["parent"]) == ("running", 4, 4, "")
    assert (inner["parent"], inner["rate"], inner["left"]) == (bid, None, None)
    end(redis, PREFIX, "failed")
    found = client.get(f"/api/v1/batches/{bid}").json()
    assert (found["dead"], found["progress"]) == (1, 0.25)
    assert found["rate"] > 0
    assert found["left"] > 0
    assert found["failures"] == [{"jid": f"{bid}00000002", "state": "dead"}]
    assert [(each["event"], each["name"], each["pushed"]) for each in found["callbacks"]] == [
        ("success", "shop.tell", False),
        ("death", "", True),
    ]
    assert [each["bid"] for each in found["inside"]] == [inner["bid"]]
    assert found["all_inside"]
    assert client.post("/api/v1/batches/close", json={"bid": bid}).json() == {"changed": 0}
    assert client.post("/api/v1/batches/cancel", json={"bid": bid}).json() == {
        "changed": 3,
        "done": True,
        "cursor": "",
    }
    assert client.delete(f"/api/v1/batches/{bid}").json() == {"changed": 1}
    assert client.delete(f"/api/v1/batches/{bid}").status_code == 404
    for what in ("cancel", "close"):
        told = client.post(f"/api/v1/batches/{what}", json={"bid": "0" * 16})
        assert told.status_code == 404
    told = client.post("/api/v1/batches/cancel", json={"bid": "*"})
    assert told.status_code == 400


def test_who_did_it_is_in_the_audit_log_once(api: Api, jobs: Any) -> None:
    bid = pushed(jobs).bid
    alice = api.acting_as("alice")
    alice.batches.close(bid)  # nothing is open
    for _ in range(2):
        alice.batches.cancel(bid)
        alice.batches.delete(bid)
        if api.batches.newest():
            bid = api.batches.newest()[0].bid
    told = [(one.action, one.who) for one in api.audit.page(50) if one.action.endswith("batch")]
    assert told == [*2 * [("delete batch", "alice")], *2 * [("cancel batch", "alice")]]


def test_the_members_that_are_named_are_those_that_failed(
    api: Api, jobs: Any, redis: redis_py.Redis
) -> None:
    with jobd.Batch(client=jobs.client) as one:
        jobs.pack.perform_async(1)
    states = bytes([0x11, 0x2A, 0x93, 0xB4]) + bytes(batch_parts.PART) + bytes([0x0B])
    redis.set(api.keys.batch_members(one.bid), states)
    redis.hset(api.keys.batch(one.bid), "failed", 4)
    found = batch_parts.parts(api, one.status, 10).failures
    assert [(int(each.jid[16:], 16), each.state) for each in found] == [
        (4, "pending"),
        (5, "dead"),
        (6, "dead"),
        (2 * batch_parts.PART + 9, "dead"),
    ]
    assert batch_parts.parts(api, one.status, 2).failures == found[:2]


@pytest.mark.parametrize("most", [1, 100])
def test_a_batch_inside_that_has_failed_is_no_job(
    api: Api, jobs: Any, redis: redis_py.Redis, most: int
) -> None:
    with jobd.Batch("outer", client=jobs.client) as outer:
        with jobd.Batch("inner", client=jobs.client) as inner:
            jobs.ship.perform_async()
        jids = jobs.pack.perform_bulk([[1], [2]])
    end(redis, PREFIX, "failed", most=3)
    assert (outer.status.dead, inner.status.dead) == (3, 1)
    parts = batch_parts.parts(api, outer.status, most)
    assert [(each.bid, each.state) for each in parts.inside] == [(inner.bid, "failed")]
    assert [each.jid for each in parts.failures] == jids[:most]


def test_the_rate_is_that_of_the_last_looks() -> None:
    def status(done: int, ended_at: float | None = None) -> BatchStatus:
        fields = {b"total": b"100", b"pending": b"%d" % (100 - done), b"created_at": b"0"}
        found = status_of("b", fields)
        assert found is not None
        return dataclasses.replace(found, ended_at=ended_at)

    rates = BatchRates()
    first = rates.look([status(10)], 1000.0)["b"]
    assert first.rate is not None
    assert first.rate < 0.001, "since 1970"
    pace = rates.look([status(30)], 1010.0)["b"]
    assert (pace.rate, pace.left) == (2.0, 35.0)
    pace = rates.look([status(30)], 1020.0)["b"]
    assert (pace.rate, pace.left) == (1.0, 70.0)
    for second in range(1030, 1330, 10):
        pace = rates.look([status(30)], float(second))["b"]
    assert (pace.rate, pace.left) == (0.0, None)
    assert rates.look([status(100, ended_at=50.0)], 2000.0)["b"] == (2.0, None)
