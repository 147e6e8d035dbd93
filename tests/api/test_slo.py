"""Objectives of queues: counted by workers, read by everybody."""

from __future__ import annotations

import threading

import pytest
import redis as redis_py
from prometheus_client.parser import text_string_to_metric_families

from jobd.ambient import clock
from jobd.api import Api, Slo
from jobd.api.shared.figures import Figures
from jobd.api.shared.prometheus import text
from jobd.settings.schema import Objective
from jobd.store.keys import Keys
from jobd.worker.starts import Starts

NOW = 1_795_416_072.5
MAIL = Objective("mail", 30.0)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which tests change."""
    moment = [NOW]
    monkeypatch.setattr(clock, "now", lambda: moment[0])
    return moment


def payload(waited: float, *, field: str = "enqueued_at") -> bytes:
    return f'{{"class":"A","args":[],"{field}":{NOW - waited!r}}}'.encode()


def of(redis: redis_py.Redis, queue: str = "mail") -> Slo | None:
    return {one.name: one.slo for one in Api(redis).queues()}.get(queue)


def test_what_started_later_than_the_objective_is_late(
    redis: redis_py.Redis, now: list[float]
) -> None:
    starts = Starts([MAIL])
    for waited in (0.0, 29.9, 30.5, 3600.0):
        starts.note("mail", payload(waited))
    starts.note("mail", payload(31.0, field="created_at"))
    starts.note("other", payload(99.0))
    # Those of Sidekiq 8, in milliseconds; and those that do not say when.
    milliseconds = int(1000 * (NOW - 31))
    starts.note("mail", b'{"class":"A","args":[],"enqueued_at":%d}' % milliseconds)
    for odd in (b"", b"[]", b'{"enqueued_at":"x"}', b'{"class":"A"}', b"\xff", b"[" * 100_000):
        starts.note("mail", odd)
    starts.send(redis, Keys())
    assert of(redis) == Slo(30.0, 12, 4, 4 / 12, 4 / 12, 4 / 12)
    assert of(redis, "other") is None


def test_the_windows_end(redis: redis_py.Redis, now: list[float]) -> None:
    starts = Starts([MAIL])
    starts.note("mail", payload(99.0))
    starts.send(redis, Keys())
    now[0] += 6 * 60
    starts.send(redis, Keys())
    assert of(redis) == Slo(30.0, 1, 1, None, 1.0, 1.0)
    now[0] += 65 * 60
    starts.send(redis, Keys())
    assert of(redis) == Slo(30.0, 1, 1, None, None, 1.0)
    now[0] += 6 * 3600
    starts.send(redis, Keys())
    assert of(redis) == Slo(30.0, 1, 1, None, None, None)


def test_an_objective_outlives_its_workers_for_a_day(
    redis: redis_py.Redis, now: list[float]
) -> None:
    Starts([MAIL]).send(redis, Keys())
    now[0] += 86_000
    assert of(redis) == Slo(30.0, 0, 0, None, None, None)
    now[0] += 1_000
    assert of(redis) is None


def test_without_an_objective_there_is_one_look(redis: redis_py.Redis) -> None:
    redis.sadd("queues", "mail")
    assert of(redis) is None
    assert redis.keys("jobd:slo*") == []


def test_what_a_full_server_refuses_is_sent_again(redis: redis_py.Redis) -> None:
    starts = Starts([MAIL])
    starts.note("mail", payload(0.0))
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis_py.exceptions.OutOfMemoryError):
            starts.send(redis, Keys())
    finally:
        redis.config_set("maxmemory", 0)
    starts.send(redis, Keys())
    found = of(redis)
    assert found is not None
    assert found.started == 1


def test_threads_lose_no_count(redis: redis_py.Redis) -> None:
    starts, raw = Starts([MAIL]), payload(99.0)

    def many() -> None:
        for _ in range(2_000):
            starts.note("mail", raw)

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        starts.send(redis, Keys())
    starts.send(redis, Keys())
    found = of(redis)
    assert found is not None
    assert (found.started, found.late) == (8_000, 8_000)


def test_nonsense_in_redis_breaks_nothing(redis: redis_py.Redis) -> None:
    Starts([MAIL]).send(redis, Keys())
    odd: dict[str | bytes, str] = {
        "x|t": "nan",
        "y|t": "1e999",
        "|t": "-1",
        "z|t": "5",
        "mail|s": "many",
        b"\xff|t": "1",
    }
    redis.hset("jobd:slo", mapping=dict(odd.items()))
    found = of(redis)
    assert found is not None
    assert (found.objective, found.started) == (30.0, 0)
    redis.delete("jobd:slo")
    redis.set("jobd:slo", "x")
    assert of(redis) is None


def test_prometheus_is_told(redis: redis_py.Redis) -> None:
    starts = Starts([MAIL, Objective("low", 0.5)])
    starts.note("mail", payload(99.0))
    starts.send(redis, Keys())
    told = {
        (sample.name, sample.labels.get("queue")): sample.value
        for family in text_string_to_metric_families(text(Figures(Api(redis))))
        for sample in family.samples
    }
    assert told["jobd_queue_slo_seconds", "mail"] == 30
    assert told["jobd_queue_slo_seconds", "low"] == 0.5
    assert told["jobd_queue_started_total", "mail"] == 1
    assert told["jobd_queue_started_late_total", "mail"] == 1
    assert told["jobd_queue_started_total", "low"] == 0
    # A queue that nobody has pushed to is there, for an alert.
    assert told["jobd_queue_latency_seconds", "low"] == 0
