"""The data API reads what wire.md says is there, whoever wrote it."""

from __future__ import annotations

import base64
import datetime
import json
import zlib

import pytest
import redis as redis_py

from jobd import api
from jobd.redis.keys import Keys

NOW = 1795416100.0
PLAIN = (
    b'{"retry":true,"queue":"default","args":[1,"two"],"class":"Ok",'
    b'"jid":"1befef82961e0772dce5ae4d","created_at":1795416072.920344,'
    b'"enqueued_at":1795416090.5}'
)


@pytest.fixture(params=["", "{app}:"])
def keys(request: pytest.FixtureRequest) -> Keys:
    return Keys(request.param)


def test_an_empty_database(redis: redis_py.Redis, keys: Keys) -> None:
    assert api.stats(redis, keys) == api.Stats(0, 0, 0, 0, 0, 0, 0, 0, 0)
    assert api.queues(redis, keys) == []
    assert api.queued(redis, keys, "default") == []
    assert api.entries(redis, keys, "dead") == []
    assert api.processes(redis, keys) == []


def test_stats_count_everything(redis: redis_py.Redis, keys: Keys) -> None:
    redis.set(keys.processed, 12)
    redis.set(keys.failed, 3)
    redis.sadd(keys.queues, "default", "low")
    redis.lpush(keys.queue("default"), "a", "b")
    redis.lpush(keys.queue("low"), "c")
    redis.zadd(keys.schedule, {"s": 1.5})
    redis.zadd(keys.retry, {"r": 1, "r2": 2})
    redis.zadd(keys.dead, {"d": 1, "d2": 2, "d3": 3})
    redis.sadd(keys.processes, "h:1:a", "h:2:gone")
    redis.hset(keys.process("h:1:a"), mapping={"busy": 4, "info": "{}"})
    redis.zadd(keys.owners, {"h:1:a": 1})
    redis.hset(keys.inflight("h:1:a"), mapping={"1:default": "x", "2:default": "y"})
    assert api.stats(redis, keys) == api.Stats(
        processed=12,
        failed=3,
        enqueued=3,
        scheduled=1,
        retries=2,
        dead=3,
        in_flight=2,
        processes=1,
        busy=4,
    )


def test_history_has_a_value_for_every_day(redis: redis_py.Redis, keys: Keys) -> None:
    redis.set(keys.processed_on("2026-03-01"), 7)
    redis.set(keys.failed_on("2026-02-28"), 2)
    last = datetime.date(2026, 3, 1)
    assert api.history(redis, keys, last, 2) == [
        api.Day(last, 7, 0),
        api.Day(datetime.date(2026, 2, 28), 0, 2),
    ]
    with pytest.raises(ValueError, match="1825"):
        api.history(redis, keys, last, 0)


def test_queues_with_size_latency_and_pause(redis: redis_py.Redis, keys: Keys) -> None:
    redis.sadd(keys.queues, "low", "default")
    redis.sadd(keys.paused, "low")
    redis.lpush(keys.queue("default"), PLAIN, PLAIN.replace(b'"Ok"', b'"Newer"'))
    assert api.queues(redis, keys, now=NOW) == [
        api.Queue("default", 2, 9.5, paused=False),
        api.Queue("low", 0, 0.0, paused=True),
    ]
    found = [record.class_ for record in api.queued(redis, keys, "default")]
    assert found == ["Ok", "Newer"]
    assert [r.class_ for r in api.queued(redis, keys, "default", start=1, count=1)] == ["Newer"]
    assert api.queued(redis, keys, "default", start=2) == []


def test_entries_in_either_order(redis: redis_py.Redis, keys: Keys) -> None:
    redis.zadd(keys.retry, {PLAIN: NOW + 0.25, b"not json": NOW})
    first, second = api.entries(redis, keys, "retry")
    assert (first.score, second.score) == (NOW, NOW + 0.25)
    assert second.record.jid == "1befef82961e0772dce5ae4d"
    assert first.record.args == ["not json"]
    assert first.record.class_ == ""
    assert api.entries(redis, keys, "retry", count=1, highest_first=True) == [second]


def test_a_record_reads_every_version() -> None:
    lines = ["app.rb:1:in `perform'", "x"]
    packed = base64.b64encode(zlib.compress(json.dumps(lines).encode()))
    for wrapped in (packed, packed[:20] + b"\n" + packed[20:] + b"\n"):
        record = api.Record.read(
            json.dumps({"error_backtrace": wrapped.decode(), "failed_at": 1795416072500}).encode()
        )
        assert record.error_backtrace == lines
        assert record.failed_at == 1795416072.5
    assert api.Record.read(b'{"error_backtrace":"?"}').error_backtrace == []
    assert api.Record.read(b'{"error_backtrace":["a"]}').error_backtrace == ["a"]
    wrapped_job = b'{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"Mailer","args":[{}]}'
    assert api.Record.read(wrapped_job).class_ == "Mailer"
    assert api.Record.read(b'{"class":"A","display_class":"B#c"}').class_ == "B#c"
    for nonsense in (b"[]", b"1", b'{"class":1,"args":{},"jid":null}', b"\xff", b"[" * 5000):
        record = api.Record.read(nonsense)
        assert (record.class_, record.jid, record.latency(NOW)) == ("", "", 0.0)
        assert record.args == [nonsense.decode(errors="replace")]


def test_processes_of_both_eras(redis: redis_py.Redis, keys: Keys) -> None:
    base = {"hostname": "vm", "started_at": 1795416082.5, "pid": 7, "tag": "", "labels": ["x"]}
    new = {**base, "capsules": {"default": {"mode": "strict", "weights": {"a": 0, "b": 0}}}}
    old = {**base, "pid": 6, "concurrency": 4, "queues": ["default", "slow"]}
    work = {"queue": "slow", "payload": PLAIN.decode(), "run_at": 1795416082}
    redis.sadd(keys.processes, "vm:7:n", "vm:6:o", "vm:5:dead")
    redis.hset(
        keys.process("vm:7:n"),
        mapping={
            "info": json.dumps(new),
            "concurrency": 10,
            "busy": 1,
            "beat": "1795416087.63",
            "quiet": "true",
            "rss": 30928,
            "rtt_us": 92,
        },
    )
    redis.hset(keys.work("vm:7:n"), "c0u", json.dumps(work))
    redis.hset(keys.process("vm:6:o"), mapping={"info": json.dumps(old), "quiet": "false"})
    redis.hset(keys.workers("vm:6:o"), "t", json.dumps({**work, "payload": json.loads(PLAIN)}))
    ruby, python = api.processes(redis, keys)
    assert (ruby.identity, ruby.concurrency, ruby.queues) == ("vm:6:o", 4, ("default", "slow"))
    assert (python.concurrency, python.queues, python.quiet) == (10, ("a", "b"), True)
    assert (python.beat, python.rss, python.rtt, python.busy) == (1795416087.63, 30928, 92, 1)
    assert (python.labels, python.hostname, python.started_at) == (("x",), "vm", 1795416082.5)
    for process in (ruby, python):
        (running,) = process.work
        assert (running.queue, running.run_at, running.record.class_) == ("slow", 1795416082, "Ok")
