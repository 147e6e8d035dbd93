"""Ends that are read without decoding the payload: they have the same effect as those that are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py

from jobd import App, Batch, chain, chord
from jobd.store import scripts
from jobd.store.inflight import Claimed, End, InFlight
from jobd.store.keys import Keys
from jobd.store.pipeline import Wire
from jobd.testing import EmbeddedServer

KEYS = Keys()
INFLIGHT = InFlight(KEYS, "host:1:x", ["default"])
MANY = 30

_TIME = re.compile(rb"\d{10}\.\d+")


def plain(_number: int) -> None:
    pass


def unique(app: App) -> None:
    app.job(name="a", unique=True)(plain).perform_bulk([(n,) for n in range(MANY)])


def unique_for_a_time(app: App) -> None:
    app.job(name="a", unique_for=3600)(plain).perform_bulk([(n,) for n in range(MANY)])


def unique_for_longer(app: App) -> None:
    job = app.job(name="a", unique_for=3600, unique_until="expiry")(plain)
    job.perform_bulk([(n,) for n in range(MANY)])


def unique_with_another_that_waits(app: App) -> None:
    job = app.job(name="a", unique=True, on_conflict="again")(plain)
    for _ in range(2):
        job.perform_bulk([(n,) for n in range(3)])


def kept(app: App) -> None:
    app.job(name="a", keep_result=3600)(plain).perform_bulk([(n,) for n in range(MANY)])


def unique_and_kept(app: App) -> None:
    app.job(name="a", unique=True, keep_result=3600.5)(plain).perform_bulk([(n,) for n in range(3)])


def in_a_batch(app: App) -> None:
    job = app.job(name="a")(plain)
    batch = Batch(client=app.client)
    batch.on_success(job, -1)
    with batch:
        job.perform_bulk([(n,) for n in range(MANY + 1)])


def kept_in_a_batch(app: App) -> None:
    with Batch(client=app.client):
        app.job(name="a", keep_result=3600)(plain).perform_bulk([(n,) for n in range(3)])


def in_a_chain(app: App) -> None:
    job = app.job(name="a")(plain)
    chain(job.si(1), job.si(2)).perform_async()


def in_a_chord(app: App) -> None:
    job = app.job(name="a")(plain)
    chord([job.si(n) for n in range(MANY)], job.si(-1)).perform_async()


def tricky(app: App) -> None:
    """Arguments that look like what is searched for."""
    text = ',"jid":"ab","created_at":1.5,"jobd":{"v":1,"result":60},"enqueued_at":2.5}'
    looks = json.loads("{" + text[1:])
    job = app.job(name="a", keep_result=3600)(lambda *_: None)
    job.perform_bulk([(text,), (looks,), ({"a": [looks]},)])
    app.job(name="b")(lambda *_: None).perform_bulk([(text,), (looks,)])


CASES = (
    *(unique, unique_for_a_time, unique_for_longer, unique_with_another_that_waits, kept),
    *(unique_and_kept, in_a_batch, kept_in_a_batch, in_a_chain, in_a_chord, tricky),
)


@pytest.mark.parametrize("state", ["done", "expired", "cancelled"])
@pytest.mark.parametrize("push", CASES, ids=lambda case: case.__name__)
def test_the_end_is_that_of_a_decoded_payload(
    server: EmbeddedServer, redis: redis_py.Redis, push: Callable[[App], None], state: End
) -> None:
    app = App()
    app.configure(server.url)
    push(app)
    before: dict[bytes, tuple[Any, int]] = {
        key: (redis.dump(key), max(0, redis.pttl(key))) for key in redis.scan_iter()
    }
    outcomes = []
    for spelled in (bytes, spaced):
        redis.flushall()
        for key, (value, ttl) in before.items():
            redis.restore(key, ttl, value)
        ended = end_all(redis, state, spelled)
        outcomes.append((ended, everything(redis)))
    assert outcomes[0][0] > 0
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("push", "command"), [(unique, "del"), (in_a_batch, "setrange"), (in_a_chord, "setrange")]
)
def test_many_of_one_kind_are_written_at_once(
    server: EmbeddedServer, redis: redis_py.Redis, push: Callable[[App], None], command: str
) -> None:
    app = App()
    app.configure(server.url)
    push(app)
    redis.config_resetstat()
    assert end_all(redis, "done", bytes) >= MANY
    calls = redis.info("commandstats")[f"cmdstat_{command}"]["calls"]
    # Of a chord, the callback's letter is written as well.
    assert calls <= 2


def spaced(raw: bytes) -> bytes:
    """The same payload as another program may write it."""
    return json.dumps(json.loads(raw)).encode()


def end_all(redis: redis_py.Redis, state: End, spelled: Callable[[bytes], bytes]) -> int:
    """End all queued jobs in one call, as their worker."""
    queued: Any = redis.lrange(KEYS.queue("default"), 0, -1)
    redis.delete(KEYS.queue("default"))
    jobs = [Claimed(n, "default", spelled(raw)) for n, raw in enumerate(reversed(queued))]
    for job in jobs:
        redis.hset(KEYS.inflight("host:1:x"), job.tag, job.payload)
    wire = Wire(redis)
    wire.connect((scripts.END,))
    wire.send(INFLIGHT.end(state, [(job, b"") for job in jobs]))
    ended: int = wire.read()
    wire.close()
    return ended


def everything(redis: redis_py.Redis) -> dict[bytes, Any]:
    """All that is in Redis, without spaces and the moments at which it was written."""
    return {
        key: (_content(redis, key), (redis.ttl(key) + 900) // 1800) for key in redis.scan_iter()
    }


def _content(client: redis_py.Redis, key: bytes) -> Any:
    redis: Any = client
    match redis.type(key):
        case b"hash":
            return {name: _timeless(value) for name, value in redis.hgetall(key).items()}
        case b"list":
            return [
                json.loads(_timeless(raw).replace(b"TIME", b"0"))
                for raw in redis.lrange(key, 0, -1)
            ]
        case b"zset":
            return {_timeless(member) for member, _ in redis.zscan_iter(key)}
        case b"set":
            return redis.smembers(key)
    return redis.get(key)


def _timeless(value: bytes) -> bytes:
    return _TIME.sub(b"TIME", value).replace(b" ", b"")  # of payloads, which are kept as they are
