"""A job is found by its id wherever it is, in bounded steps."""

from __future__ import annotations

import json

import pytest

from jobd.api import Api
from jobd.errors import ArgumentError
from tests.api.conftest import HOSTILE, NOW, job, push
from tests.api.test_processes import NEW, WORK, beat

ME = "vm:7:n"
JID = f"{4711:024x}"


def places(api: Api, jid: str = JID) -> list[tuple[str, str]]:
    return [(found.place, found.key) for found in api.find(jid)]


def test_wherever_it_is(api: Api) -> None:
    assert places(api) == []
    api.redis.zadd(api.keys.dead, {job(4711): NOW})
    push(api, "low", job(1), job(4711), job(2))
    api.redis.zadd(api.keys.retry, {job(4711): NOW + 0.5, job(3): NOW})
    api.redis.zadd(api.keys.schedule, {job(4711): NOW + 1})
    beat(api, ME, NEW)
    api.redis.hset(api.keys.work(ME), "t", json.dumps({**WORK, "payload": job(4711).decode()}))
    assert places(api) == [
        ("work", JID),
        ("retry", f"{NOW + 0.5!r}-{JID}"),
        ("schedule", f"{NOW + 1!r}-{JID}"),
        ("dead", f"{NOW!r}-{JID}"),
        ("queue:low", JID),
    ]
    assert places(api, "*") == []
    with pytest.raises(ArgumentError, match="by its id"):
        api.find("")


def test_one_that_waits_for_a_lock(api: Api) -> None:
    lock = api.keys.lock("report")
    api.redis.hset(lock, mapping={"jid": "holder", "again": job(4711), "again_jid": JID})
    api.redis.zadd(api.keys.contested, {lock: NOW, api.keys.lock("gone"): NOW})
    assert places(api) == [("lock", JID)]
    assert places(api, "holder") == []
    search = api.find(JID)
    assert search.place == "lock"
    assert api.find(JID, cursor=search.cursor).first(1)[0].job.value == job(4711)


def test_what_a_worker_has_claimed_and_nobody_shows_yet(api: Api) -> None:
    now = api.redis.time()[0]
    api.redis.zadd(api.keys.owners, {ME: now + 60, "vm:8:dead": -5, "vm:9:old": now - 5})
    api.redis.hset(api.keys.inflight(ME), "1:a:b", job(4711))
    api.redis.hset(api.keys.inflight(ME), b"odd\xff", b"\xff")
    api.redis.hset(api.keys.inflight("vm:8:dead"), "1:low", job(8))
    api.redis.hset(api.keys.inflight("vm:9:old"), "1:low", job(9))
    assert places(api) == [("work", JID)]
    claims = {claim.job.jid: claim for claim in api.in_flight}
    mine = claims[JID]
    assert (mine.owner, mine.queue, mine.job.queue) == (ME, "a:b", "a:b")
    assert 55 < mine.lease <= 60
    assert claims[f"{8:024x}"].lease < 0
    assert -10 < claims[f"{9:024x}"].lease < 0
    assert api.in_flight.find_job("missing") is None


def test_it_goes_on_where_it_was(api: Api) -> None:
    push(api, "a", *(job(n) for n in range(3_000)))
    push(api, "c", job(4711))
    search = api.find(JID)
    steps, found = 0, []
    while not search.done:
        cursor = search.cursor
        found += [one.place for one in search.next()]
        steps += 1
        search = api.find(JID, cursor=search.cursor) if search.cursor else search
        assert search.done or search.cursor != cursor
    assert found == ["queue:c"]
    assert steps > 6
    assert api.find(JID, cursor="@queue:b").place == "queue:c", "queue b has gone meanwhile"
    assert api.find(JID, cursor="@queue:z").done
    assert api.find(JID, cursor="@?").place == "queue:a"
    with pytest.raises(ArgumentError, match="not a cursor"):
        api.find(JID, cursor="x@retry").first(1)


def test_among_what_is_no_job(api: Api) -> None:
    push(api, "q", *HOSTILE, job(4711))
    api.redis.zadd(api.keys.retry, {raw: NOW + n for n, raw in enumerate(HOSTILE)})
    api.redis.hset(api.keys.inflight(ME), mapping={f"{n}:q": raw for n, raw in enumerate(HOSTILE)})
    api.redis.zadd(api.keys.owners, {ME: NOW * 2})
    assert places(api) == [("queue:q", JID)]
