"""Where every job is: the proof that none is lost.

A job that was pushed has been done, or is in exactly one place in Redis. It may have run more
than once (the promise is at least once), but it is never nowhere and never in two places.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import redis as redis_py

from jobd.store.keys import Keys


def whereabouts(redis: redis_py.Redis, keys: Keys | None = None) -> dict[str, list[str]]:
    """For every job in Redis: its jid (else its raw payload) and the keys that hold it."""
    keys = keys or Keys()
    found: dict[str, list[str]] = {}

    def note(raw: Any, place: str) -> None:
        try:
            jid = str(json.loads(raw)["jid"])
        except (ValueError, KeyError, TypeError, RecursionError):
            jid = raw.decode(errors="replace")
        found.setdefault(jid, []).append(place)

    for key in (keys.schedule, keys.retry, keys.dead):
        for raw in redis.zrange(key, 0, -1):
            note(raw, key)
    for pattern in (keys.queue("*"), keys.claim("*", "*")):
        for name in redis.scan_iter(match=pattern, count=1000):
            for raw in redis.lrange(name, 0, -1):
                note(raw, str(name, "utf-8"))
    for name in redis.scan_iter(match=keys.inflight("*"), count=1000):
        for raw in redis.hvals(name):
            note(raw, str(name, "utf-8"))
    return found


def assert_conserved(
    redis: redis_py.Redis,
    pushed: Collection[str],
    done: Collection[str],
    keys: Keys | None = None,
) -> None:
    """Every jid of *pushed* is in *done* or in one place in Redis, never in both or in two."""
    places = whereabouts(redis, keys)
    finished = set(done)
    lost = [jid for jid in pushed if jid not in finished and jid not in places]
    twice = {jid: at for jid, at in places.items() if len(at) > 1 or jid in finished}
    strange = (finished | places.keys()) - set(pushed)
    assert not lost, f"{len(lost)} of {len(pushed)} jobs are lost: {lost[:5]}"
    assert not twice, f"{len(twice)} jobs are in more than one place: {list(twice.items())[:5]}"
    assert not strange, f"jobs that nobody pushed: {sorted(strange)[:5]}"


def assert_orderly(redis: redis_py.Redis, keys: Keys | None = None, *, stopped: bool) -> None:
    """What holds without knowing what was pushed: no job is in two places; and when all daemons
    have *stopped* in good order, each is where a person can see it, and none is in flight."""
    places = whereabouts(redis, keys)
    # Twice under one key is the same job pushed twice, as tests do.
    twice = {jid: at for jid, at in places.items() if len(set(at)) > 1}
    assert not twice, f"{len(twice)} jobs are in more than one place: {list(twice.items())[:5]}"
    if stopped:
        keys = keys or Keys()
        held = [*redis.scan_iter(keys.inflight("*")), *redis.scan_iter(keys.claim("*", "*"))]
        assert not held, f"jobs are still in flight, and nobody is left to do them: {held}"
