"""The same story on both stores leaves the same bytes in every key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import pytest

from jobd.api.features.cancellation import cancel
from jobd.errors import Snooze
from jobd.jobs.app import App
from jobd.testing import EmbeddedServer
from jobd.testing.simulation import World
from tests.conformance.conftest import STORES, on_store
from tests.support.real_store import CLOCK

_READ: dict[bytes, Callable[[Any, bytes], Any]] = {
    b"string": lambda redis, key: redis.get(key),
    b"list": lambda redis, key: redis.lrange(key, 0, -1),
    b"set": lambda redis, key: sorted(redis.smembers(key)),
    b"hash": lambda redis, key: redis.hgetall(key),
    b"zset": lambda redis, key: redis.zrange(key, 0, -1, withscores=True),
    # Their ids are times of the server itself.
    b"stream": lambda redis, key: [fields for _, fields in redis.xrange(key)],
}


class Contents(NamedTuple):
    """The values of all keys, and for how many seconds they stay; -1 for ever."""

    values: dict[bytes, Any]
    left: dict[bytes, int]


def contents(w: World) -> Contents:
    found = Contents({}, {})
    for key in w.redis.scan_iter():
        if key != CLOCK.encode():
            found.values[key] = _READ[cast(bytes, w.redis.type(key))](w.redis, key)
            found.left[key] = w.redis.ttl(key)
    return found


class Told(NamedTuple):
    """What a story has told, and what it has left; the same after all has run that waited."""

    told: list[Any]
    after: Contents
    drained: int
    at_the_end: Contents


def jobs_of(app: App) -> dict[str, Any]:
    def flaky(value: int) -> int:
        if value % 3 == 0:
            raise ValueError(f"{value} is divisible by three")
        if value % 7 == 0:
            raise Snooze(90)
        return value

    options: dict[str, Any] = {"keep_result": 7200, "retry": 3, "unique": True}
    return {
        "flaky": app.job(name="flaky", **options)(flaky),
        "plain": app.job(name="plain", queue="low", expires_in=3600)(lambda value: None),
        "index": app.job(name="index", debounce=30, max_wait=100, unique_by=["key"])(
            lambda key, value: None
        ),
    }


def story(w: World, app: App) -> list[Any]:
    """What happens, and what has been told meanwhile."""
    told: list[Any] = []
    jobs = jobs_of(app)
    by = w.api.acting_as("alice")
    for value in range(40):
        told.append(jobs["flaky"].perform_async(value % 25))
        told.append(jobs["plain"].perform_in(value * 100, value))
        told.append(jobs["index"].perform_async(value % 2, value))
    told.append(w.run(10))
    w.kill_during(jobs["flaky"])
    w.kill_during(jobs["flaky"], host=True, at="start")
    w.stop_during(jobs["flaky"])
    told.append(w.advance(minutes=10))
    told.append(by.scheduled.delete(*by.scheduled.page(0, 3).entries))
    told.append(by.retries.kill(*by.retries.page(0, 1).entries))
    told.append(cancel(w.scheduled.page().entries[0].jid, api=w.api))
    w.queue("low").pause()
    told.append(w.advance(minutes=20))
    told.append(jobs["flaky"].set(on_conflict="again").perform_async(3))
    told.append(by.trash.page().entries[-1].restore())
    told.append(by.queue("low").page().size)
    w.kill_during(jobs["plain"], host=True)
    w.queue("low").unpause()
    told.append(w.run())
    told.append(w.api.counters())
    return told


def test_a_story(server: EmbeddedServer) -> None:
    found = []
    for kind in STORES:
        app = App()
        with on_store(kind, server, app) as w:
            found.append(Told(story(w, app), contents(w), w.drain(), contents(w)))
    in_memory, on_server = found
    assert in_memory.told == on_server.told
    assert in_memory.drained == on_server.drained > 20
    for ours, theirs in (
        (in_memory.after, on_server.after),
        (in_memory.at_the_end, on_server.at_the_end),
    ):
        assert len(ours.values) > 40
        assert ours.values == theirs.values
        # The server's time goes on while the test runs.
        assert ours.left == pytest.approx(theirs.left, abs=60)
