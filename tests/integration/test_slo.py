"""Objectives of queues, with a real daemon, seen by jobctl and the dashboard."""

from __future__ import annotations

import json
import time

import redis as redis_py

from jobd.api import Api
from tests.conftest import StartDaemon
from tests.support import forkserver
from tests.support.daemon import Daemon, environment
from tests.web.frame import browser, guarded, log_in

APP = """
from jobd import job

@job
def work(): ...

@job
async def awork(): ...

@job(retry=False)
def fails(): raise ValueError("on purpose")
"""


def push(redis: redis_py.Redis, name: str, waited: float, number: int) -> None:
    redis.sadd("queues", "default")
    item = {"class": f"app.{name}", "args": [], "jid": f"j{number:023}", "created_at": 1.0}
    item["enqueued_at"] = time.time() - waited
    redis.lpush("queue:default", json.dumps(item))


def jobctl(running: Daemon, *words: str) -> str:
    done = forkserver.server.run(
        "jobctl",
        [*words, "--redis", running.url],
        directory=running.directory,
        environment=environment(),
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_late_starts_are_shown(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "--slo", "default=600", "-c", "2")
    for number, (name, waited) in enumerate(
        [(name, waited) for name in ("work", "awork", "fails") for waited in (0.0, 9999.0)]
    ):
        push(redis, name, waited, number)
    api = Api(redis)

    def counted() -> tuple[int, int] | None:
        slo = {queue.name: queue.slo for queue in api.queues()}["default"]
        return (slo.started, slo.late) if slo is not None and slo.started == 6 else None

    assert running.wait(counted, 60, "counted with a heartbeat") == (6, 3)

    table = jobctl(running, "queues", "ls")
    assert "LATE" in table
    assert "50% > 10m" in table
    listed = jobctl(running, "queues", "ls", "--json")
    told = json.loads(listed.splitlines()[0])
    assert told["slo"]["burn_1h"] == 0.5
    assert "50% > 10m" in jobctl(running, "stats")

    client = browser(guarded(redis))
    log_in(client)
    for page in ("/", "/queues"):
        assert "50 % late" in client.get(page).text
    answer = client.get("/api/v1/queues").json()
    assert answer["queues"][0]["slo"]["late"] == 3


def test_nothing_is_counted_without(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP)
    push(redis, "work", 9999.0, 1)
    running.wait(lambda: redis.get("stat:processed") == b"1", 30, "processed")
    running.stop()
    assert redis.keys("jobd:slo*") == []
    table = jobctl(running, "queues", "ls")
    assert "LATE" not in table
