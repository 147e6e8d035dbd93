"""What would leave jobs lying, or throw them away, is pointed out at the start, once."""

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
