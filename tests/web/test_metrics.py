"""What Prometheus is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import redis as redis_py
from prometheus_client.parser import text_string_to_metric_families

from jobd.api import Api
from jobd.api.shared import prometheus
from jobd.settings.schema import Objective
from jobd.store.keys import Keys
from jobd.worker.starts import Starts
from tests.api.conftest import job, push
from tests.web.frame import VIEWING, bearer, browser, guarded

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(redis: redis_py.Redis) -> Samples:
    answer = browser(guarded(redis)).get("/metrics", headers=bearer(VIEWING))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_everything_that_alerts_are_made_of(redis: redis_py.Redis) -> None:
    api = Api(redis)
    redis.mset({"stat:processed": 1_234_567_890_123, "stat:failed": 17})
    push(api, "mail", *(job(n) for n in range(3)))
    push(api, 'odd "name"\n\\', b"not json")
    api.queue("mail").pause()
    redis.zadd("retry", {"a": 1, "b": 2})
    redis.zadd("dead", {"c": 1})
    redis.sadd("processes", "h:1:a", "h:2:b")
    for identity, quiet in (("h:1:a", "false"), ("h:2:b", "true")):
        info = '{"pid":1,"concurrency":5}'
        redis.hset(identity, mapping={"info": info, "busy": "2", "rss": "1000", "quiet": quiet})
    found = scrape(redis)
    assert found["jobd_jobs_processed_total", ()] == 1_234_567_890_123
    assert found["jobd_jobs_failed_total", ()] == 17
    states = {name[1][0][1]: value for name, value in found.items() if name[0] == "jobd_jobs"}
    assert states == {
        "enqueued": 4,
        "scheduled": 0,
        "retry": 2,
        "dead": 1,
        "running": 4,
        "in_flight": 0,
    }
    mail = (("queue", "mail"),)
    assert found["jobd_queue_jobs", mail] == 3
    assert found["jobd_queue_latency_seconds", mail] >= 0
    assert found["jobd_queue_paused", mail] == 1
    assert found["jobd_queue_jobs", (("queue", 'odd "name"\n\\'),)] == 1
    assert (found["jobd_processes", ()], found["jobd_processes_stopping", ()]) == (2, 1)
    assert (found["jobd_threads", ()], found["jobd_threads_busy", ()]) == (10, 4)
    assert found["jobd_processes_resident_bytes", ()] == 2_048_000
    assert found["jobd_redis_latency_seconds", ()] > 0
    assert found["jobd_redis_memory_bytes", ()] > 0


def test_nobody_fills_prometheus_with_queues(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "MOST_QUEUES", 3)
    api = Api(redis)
    for number in range(9):
        push(api, f"q{number}", *(job(n) for n in range(number + 1)))
    push(api, "x" * 100_000, *(job(n) for n in range(20)))
    found = scrape(redis)
    named = {labels[0][1] for name, labels in found if name == "jobd_queue_jobs"}
    assert named == {"q8", "q7", "q6"}
    assert found["jobd_queues", ()] == 10


def test_the_manual_names_every_metric(redis: redis_py.Redis) -> None:
    page = (Path(__file__).parents[2] / "docs/dashboard.md").read_text()
    push(Api(redis), "mail", job(1))
    Starts([Objective("mail", 30.0)]).send(redis, Keys())
    told = {name for name, _ in scrape(redis)}
    assert set(re.findall(r"`(jobd_\w+)`", page)) == told


def test_strangers_are_told_nothing(redis: redis_py.Redis) -> None:
    assert browser(guarded(redis)).get("/metrics").status_code == 401
