"""What would leave jobs lying, or throw them away, is pointed out at the start, once."""

from __future__ import annotations

import json
from typing import Any

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


def test_a_server_that_is_nearly_full_is_warned_about_before_it_refuses(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    memory: Any = redis.info("memory")
    redis.config_set("maxmemory", int(memory["used_memory"] / 0.9) + 5_000_000)
    try:
        # The daemon itself takes some memory; what is left is filled until it is short.
        running = daemon("", "-q", "other")
        assert not json.loads(running.jobctl("status", "--json").stdout)["memory_short"]
        while (memory := redis.info("memory"))["used_memory"] < 0.85 * memory["maxmemory"]:
            redis.lpush("queue:default", "x" * 100_000)
        running.wait(
            lambda: "of the memory it may have" in running.jobctl("status").stdout, 20, "it says so"
        )
        assert "Raise maxmemory" in running.jobctl("status").stdout
        redis.lpush("queue:default", "x")  # nothing has been refused yet
        redis.delete("queue:default")
        running.wait(
            lambda: "of the memory" not in running.jobctl("status").stdout, 20, "it is over"
        )
    finally:
        redis.config_set("maxmemory", 0)
    assert sum(record["event"] == "redis_nearly_full" for record in running.records()) == 1


def test_a_queue_that_is_not_served_is_warned_about(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    app = """
        from jobd import job

        @job(queue="mail")
        def send(): ...
    """
    running = daemon(app, "-w", "2")
    running.wait_for_log('queues_not_served.*"queues":"mail"')
    assert sum(record["event"] == "queues_not_served" for record in running.records()) == 1
