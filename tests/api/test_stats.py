"""The counters."""

from __future__ import annotations

import datetime

import pytest
import redis as redis_py
from time_machine import travel

import jobd
from jobd.api import Api, Day, Queue, QueueSummary, RetrySet, Stats
from jobd.errors import ArgumentError
from jobd.jobs.app import default
from jobd.testing import EmbeddedServer
from tests.api.conftest import NOW, PLAIN, push


def test_an_empty_database(api: Api) -> None:
    assert api.stats() == Stats(0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0, 0, 0, {})
    assert api.queues() == []
    assert list(api.queue("default").page()) == []
    assert list(api.dead.page()) == list(api.dead) == []
    assert api.processes.all() == []
    assert api.work.all() == []
    assert list(api.trash) == []
    assert list(api.audit) == []
    assert api.retries.groups().run() == []


def test_everything_is_counted(api: Api) -> None:
    keys, redis = api.keys, api.redis
    redis.set(keys.processed, 12)
    redis.set(keys.failed, 3)
    redis.set(keys.expired, 2)
    redis.set(keys.duplicates, 4)
    redis.set(keys.cancelled, 5)
    push(api, "default", PLAIN, PLAIN.replace(b'"Ok"', b'"Newer"'))
    push(api, "low", b"a", b"b", b"c")
    redis.zadd(keys.schedule, {"s": 1.5})
    redis.zadd(keys.retry, {"r": 1, "r2": 2})
    redis.zadd(keys.dead, {"d": 1, "d2": 2, "d3": 3})
    redis.sadd(keys.processes, "h:1:a", "h:2:gone")
    redis.hset(keys.process("h:1:a"), mapping={"busy": 4, "info": "{}"})
    redis.zadd(keys.owners, {"h:1:a": 1})
    redis.hset(keys.inflight("h:1:a"), mapping={"1:default": "x", "2:default": "y"})
    with travel(NOW, tick=False):
        assert api.stats() == Stats(
            processed=12,
            failed=3,
            expired=2,
            duplicates=4,
            cancelled=5,
            scheduled_size=1,
            retry_size=2,
            dead_size=3,
            processes_size=2,
            default_queue_latency=9.5,
            enqueued=5,
            workers_size=4,
            in_flight=2,
            queues={"low": 3, "default": 2},
        )
        redis.sadd(keys.paused, "low")
        assert api.queues() == [
            QueueSummary("default", 2, 9.5, paused=False),
            QueueSummary("low", 3, 0.0, paused=True),
        ]


def test_reset_touches_only_the_totals_asked_for(api: Api) -> None:
    today = datetime.datetime.now(datetime.UTC).date()
    api.redis.set(api.keys.processed, 12)
    api.redis.set(api.keys.failed, 3)
    api.redis.set(api.keys.processed_on(today.isoformat()), 12)
    api.reset_stats("failed")
    assert (api.counters().processed, api.counters().failed) == (12, 0)
    api.reset_stats()
    assert api.counters().processed == 0
    assert api.history(1) == [Day(today, 12, 0)]
    with pytest.raises(ArgumentError, match="processed"):
        api.reset_stats("dead")  # type: ignore[arg-type]


def test_history_has_a_value_for_every_day(api: Api) -> None:
    api.redis.set(api.keys.processed_on("2026-03-01"), 7)
    api.redis.set(api.keys.failed_on("2026-02-28"), 2)
    last = datetime.date(2026, 3, 1)
    assert api.history(2, last) == [Day(last, 7, 0), Day(datetime.date(2026, 2, 28), 0, 2)]
    assert len(api.history(1825)) == 1825
    for days in (0, 1826):
        with pytest.raises(ArgumentError, match="1825"):
            api.history(days)


def test_keys_of_another_type_and_names_that_are_no_text_hide_nothing_else(api: Api) -> None:
    push(api, "default", PLAIN)
    api.redis.sadd(api.keys.queues, "odd", b"\xff\xfe")
    api.redis.set(api.keys.queue("odd"), "?")
    api.redis.set(api.keys.dead, "?")
    api.redis.sadd(api.keys.processes, b"\xff", "h:1:a")
    api.redis.set(api.keys.process("h:1:a"), "?")
    assert {queue.name: queue.size for queue in api.queues()} == {"default": 1, "odd": 0, "��": 0}
    assert (api.stats().enqueued, api.stats().dead_size) == (1, 0)
    assert api.processes.all() == []
    assert api.work.all() == []


def test_the_parts_use_the_client_that_pushes(
    server: EmbeddedServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default, "_client", None)
    jobd.configure(server.url, prefix="shop:").push({"class": "A", "args": []})
    assert redis.llen("shop:queue:default") == 1
    assert Queue("default").size == 1
    assert RetrySet().size == 0
    assert Api().stats().enqueued == 1
    assert Api(server.url).stats().enqueued == 0
    assert Api(jobd.Client(server.url, "shop:")).stats().enqueued == 1


@pytest.mark.parametrize("protocol", [2, 3])
def test_either_protocol_of_the_server(
    server: EmbeddedServer, redis: redis_py.Redis, protocol: int
) -> None:
    with redis_py.Redis.from_url(server.url, protocol=protocol) as other:
        api = Api(other).acting_as("me")
        push(api, "default", PLAIN)
        api.redis.zadd(api.keys.retry, {PLAIN: NOW})
        api.redis.sadd(api.keys.processes, "h:1:a")
        api.redis.hset(api.keys.process("h:1:a"), mapping={"busy": 4, "info": "{}"})
        assert api.stats().queues == {"default": 1}
        assert [entry.score for entry in api.retries.page()] == [NOW]
        assert [entry.score for entry in api.retries] == [NOW]
        assert api.retries.fetch(NOW, "1befef82961e0772dce5ae4d") is not None
        assert api.processes["h:1:a"].busy == 4
        assert api.retries.kill(*api.retries) == 1
        (deletion,) = api.trash
        assert deletion.restore() == 1
        assert [entry.action for entry in api.audit] == ["restore", "kill"]
        assert api.info().version


def test_a_client_that_decodes_is_refused(server: EmbeddedServer) -> None:
    with (
        redis_py.Redis.from_url(server.url, decode_responses=True) as decoding,
        pytest.raises(ArgumentError, match="decode_responses"),
    ):
        Api(decoding)
