"""What workers count, in the form of Sidekiq 8, and what charts read."""

from __future__ import annotations

import datetime
import threading
from typing import Any

import pytest
import redis as redis_py
from time_machine import travel

from jobd import Client
from jobd.api import Api, Mark
from jobd.errors import ArgumentError
from jobd.wire.histogram import BOUNDS
from jobd.worker.metrics import Metrics
from tests.api.conftest import NOW, job, push
from tests.conftest import StartDaemon

MINUTE = NOW // 60 * 60


def test_a_worker_writes_what_sidekiq_8_reads(api: Api) -> None:
    metrics, prefix = Metrics(), api.keys.prefix
    for seconds in (0.0, 0.0199, 0.02, 400.0):
        metrics.done("Mail", seconds)
    metrics.failed("Mail")
    with travel(datetime.datetime(2026, 3, 4, 5, 6, 7, tzinfo=datetime.UTC), tick=False):
        metrics.send(api.redis, api.keys)
        metrics.send(api.redis, api.keys)
    fields = {b"Mail|p": b"5", b"Mail|f": b"1", b"Mail|ms": b"400040"}
    for key, ttl in ((f"{prefix}j|260304|5:06", 8), (f"{prefix}j|260304|5:0", 72)):
        assert api.redis.hgetall(key) == fields
        assert 0 <= ttl * 3600 - api.redis.ttl(key) < 60
    histogram = f"{prefix}h|Mail-4-5:6"
    raw: Any = api.redis.get(histogram)
    assert raw == b"\x00\x02\x00\x01" + bytes(2 * 23) + b"\x00\x01"
    assert len(raw) == 2 * (len(BOUNDS) + 1)
    assert 8 * 3600 - 60 < api.redis.ttl(histogram) <= 8 * 3600
    assert api.redis.dbsize() == 3


def test_a_full_bucket_stays_full(api: Api) -> None:
    metrics = Metrics()
    for _ in range(70_000):
        metrics.done("Mail", 0.0)
    with travel(NOW, tick=False):
        metrics.send(api.redis, api.keys)
        metrics.done("Mail", 0.0)
        metrics.send(api.redis, api.keys)
        assert api.metrics.histogram("Mail").counts[0] == 65_535
        assert api.metrics.for_job("Mail").processed == 70_001


def test_what_was_not_taken_is_sent_later(api: Api) -> None:
    metrics = Metrics()
    metrics.done("Mail", 1.5)
    metrics.done("odd|name", 1.5)
    away = redis_py.Redis(unix_socket_path="/nonexistent")
    with pytest.raises(redis_py.RedisError):
        metrics.send(away, api.keys)
    metrics.done("Mail", 0.5)
    metrics.send(api.redis, api.keys)
    (found,) = api.metrics.top_jobs(minutes=2)
    assert (found.name, found.processed, found.ms, found.average) == ("Mail", 2, 2000, 1.0)


def test_many_threads_lose_no_count(api: Api) -> None:
    metrics = Metrics()

    def work() -> None:
        for _ in range(20_000):
            metrics.done("Mail", 0.001)
            metrics.failed("Bill")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        metrics.send(api.redis, api.keys)
    metrics.send(api.redis, api.keys)
    found = {one.name: one for one in api.metrics.top_jobs(minutes=5)}
    assert (found["Mail"].processed, found["Mail"].failed) == (80_000, 0)
    assert found["Mail"].ms == pytest.approx(80_000, rel=0.02)  # each time whole milliseconds
    assert (found["Bill"].processed, found["Bill"].failed) == (80_000, 80_000)


def test_periods_and_series(api: Api) -> None:
    redis, keys = api.redis, api.keys
    redis.hset(keys.metrics_minute(MINUTE), mapping={"Mail|p": 4, "Mail|f": 1, "Mail|ms": 300})
    redis.hset(keys.metrics_minute(MINUTE - 120), mapping={"Mail|p": 1, "A::Bill|p": 2, "x": "?"})
    redis.hset(keys.metrics_minute(MINUTE - 3600), mapping={"Old|p": 9})
    redis.hset(keys.metrics_ten_minutes(NOW - 7200), mapping={"Mail|p": 7, "Mail|ms": "soon"})
    with travel(NOW, tick=False):
        mail, bill, _ = api.metrics.top_jobs()
        assert (mail.name, mail.processed, mail.failed, mail.ms) == ("Mail", 5, 1, 300)
        assert (mail.average, mail.failure_rate) == (0.075, 0.2)
        assert (bill.name, bill.processed, bill.average) == ("A::Bill", 2, 0.0)
        assert [point.processed for point in mail.series[-4:]] == [0, 1, 0, 4]
        assert [point.at for point in mail.series][-2:] == [MINUTE - 60, MINUTE]
        assert len(mail.series) == 60
        assert api.metrics.for_job("Mail") == mail
        assert api.metrics.for_job("None").processed == 0
        assert [one.name for one in api.metrics.top_jobs(match="bill")] == ["A::Bill"]
        assert {one.name for one in api.metrics.top_jobs(minutes=480)} >= {"Old", "Mail"}
        (long,) = api.metrics.top_jobs(hours=3)
        assert (long.processed, len(long.series)) == (7, 18)
        for minutes, hours in ((481, None), (0, None), (None, 73), (None, 0), (1, 1)):
            with pytest.raises(ArgumentError):
                api.metrics.top_jobs(minutes=minutes, hours=hours)


def test_percentiles(api: Api) -> None:
    metrics = Metrics()
    for seconds in [0.01] * 90 + [0.4] * 9 + [1000.0]:
        metrics.done("Mail", seconds)
    with travel(NOW, tick=False):
        metrics.send(api.redis, api.keys)
        found = api.metrics.histogram("Mail", minutes=3)
        assert (found.percentile(0.5), found.percentile(0.95)) == (0.02, 0.5)
        assert (found.percentile(0.99), found.percentile(1.0)) == (0.5, float("inf"))
        assert [(at, sum(counts)) for at, counts in found.series] == [
            (MINUTE - 120, 0),
            (MINUTE - 60, 0),
            (MINUTE, 100),
        ]
        assert api.metrics.histogram("None").percentile(0.5) is None


def test_a_minute_has_one_mark_and_the_first_stays(api: Api) -> None:
    deploys = api.acting_as("ci").deploys
    with travel(NOW, tick=False):
        assert deploys.mark("first")
        assert not deploys.mark("second"), "it is not shown, and so it is not done"
        assert deploys.mark("second", at=NOW + 60), "the attempt does not keep it away"
        assert [mark.label for mark in deploys.fetch()] == ["first", "second"]
    assert [entry.target for entry in api.audit.page()] == ["deploy:second", "deploy:first"]


def test_deploys(api: Api) -> None:
    deploys = api.acting_as("ci").deploys
    with travel(NOW, tick=False):
        assert deploys.mark("a1b2c3 Mails")
        assert not deploys.mark("a1b2c3 Mails")
        deploys.mark("earlier", at=NOW - 86_400)
        api.redis.hset(api.keys.marks(NOW), mapping={"2026-11-23T09:00:30+02:00": "r", "?": "x"})
        at = datetime.datetime.fromtimestamp(MINUTE, datetime.UTC)
        early = datetime.datetime(2026, 11, 23, 7, 0, 30, tzinfo=datetime.UTC)
        today = sorted([Mark(at, "a1b2c3 Mails"), Mark(early, "r")], key=lambda mark: mark.at)
        assert deploys.fetch() == today
        assert [mark.label for mark in deploys.fetch(2)] == [
            "earlier",
            *(mark.label for mark in today),
        ]
    assert {(entry.who, entry.action) for entry in api.audit.page()} == {("ci", "mark")}
    for days in (0, 91):
        with pytest.raises(ArgumentError, match="90"):
            deploys.fetch(days)
    with pytest.raises(ArgumentError, match="label"):
        deploys.mark("")


APP = """
    import time
    from jobd import job

    @job(name="Nap")
    def nap(seconds):
        time.sleep(seconds / 1000)

    @job(name="Boom", retry=False)
    def boom(number):
        raise ValueError(number)
"""


def test_a_daemon_counts(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "-c", "2")
    api = Api(redis)
    push(api, "default", *(job(40, "Nap") for _ in range(5)), job(1, "Boom"), job(1, "Unknown"))
    wrapped = {"wrapped": "Inner::Job", "queue": "default"}
    push(api, "default", job(1, "Nap", **wrapped), job(1, "Boom", **wrapped))
    push(api, "default", job(1, "Nap", wrapped=7), job(1, "Unknown", **wrapped))
    running.wait(lambda: api.counters().processed == 11, 10, "all have run")
    running.stop()
    found = {one.name: one for one in api.metrics.top_jobs(minutes=5)}
    assert found.keys() == {"Nap", "Boom", "Inner::Job"}
    assert (found["Inner::Job"].processed, found["Inner::Job"].failed) == (2, 1)
    assert (found["Nap"].processed, found["Nap"].failed) == (6, 0)
    assert 200 <= found["Nap"].ms < 5000
    assert (found["Boom"].processed, found["Boom"].failed) == (1, 1)
    assert sum(api.metrics.histogram("Nap").counts) == 6


def test_it_can_be_switched_off(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon("from jobd import job\n@job\ndef nothing():\n    pass\n", "--no-metrics")
    Client(running.url).push({"class": "app.nothing", "args": []})
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "it has run")
    assert running.stop() == 0
    assert redis.keys("j|*") == redis.keys("h|*") == []
