"""A server that may throw jobs away is pointed out, once."""

from __future__ import annotations

import redis as redis_py

from tests.conftest import StartDaemon


def test_an_evicting_server_is_warned_about(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        running = daemon("", "-w", "2")
        running.wait_for_log("redis_may_evict_jobs.*allkeys-lru.*noeviction")
    finally:
        redis.config_set("maxmemory-policy", "noeviction")
    assert sum(record["event"] == "redis_may_evict_jobs" for record in running.records()) == 1
