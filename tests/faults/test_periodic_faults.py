"""Keepers are killed while periodic jobs are due: no tick is missed, and none is pushed twice."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from typing import Any

import pytest
import redis as redis_py

from jobd.store.keys import Keys
from tests.conftest import StartDaemon

KEYS = Keys()

JOBS = {"tick": 1, "tack": 1, "tock": 2, "cron": 1, "cron2": 2}
"""Seconds between the ticks of each."""

APP = """
    from jobd import job

    options = {"catch_up": "all", "overlap": "allow", "queue": "unserved"}

    @job(name="tick", every=1, **options)
    def tick(): ...

    @job(name="tack", every=1, **options)
    def tack(): ...

    @job(name="tock", every=2, **options)
    def tock(): ...

    @job(name="cron", cron="* * * * * *", **options)
    def cron(): ...

    @job(name="cron2", cron="*/2 * * * * *", **options)
    def cron2(): ...
"""


@pytest.mark.parametrize(
    ("kills", "least"),
    [(15, 50), pytest.param(200, 1000, marks=[pytest.mark.minutes, pytest.mark.timeout(3600)])],
)
def test_keepers_are_killed_over_many_ticks(
    daemon: StartDaemon,
    redis: redis_py.Redis,
    request: pytest.FixtureRequest,
    kills: int,
    least: int,
) -> None:
    """Of three daemons: no tick is missed, and none is doubled."""
    running = [daemon(APP, env={"JOBD_APP": "app"}) for _ in range(3)]
    chance = random.Random(request.node.name)
    killed, began = 0, time.time()
    while killed < kills or redis.llen(KEYS.queue("unserved")) < least:
        living = [pid for one in running if (pid := one.keeper())]
        if living:
            os.kill(chance.choice(living), signal.SIGKILL)
            killed += 1
        time.sleep(chance.uniform(0.2, 1.5))
    last = time.time()

    def pushed() -> list[dict[str, Any]]:
        raw: Any = redis.lrange(KEYS.queue("unserved"), 0, -1)
        return [json.loads(one) for one in reversed(raw)]

    def ticks(name: str) -> list[int]:
        return [int(job["jobd"]["tick"]) for job in pushed() if job["class"] == name]

    running[0].wait(
        lambda: all(ticks(name) and ticks(name)[-1] > last for name in JOBS),
        60,
        "a tick after the last kill",
    )
    late = sorted(job["enqueued_at"] - job["jobd"]["tick"] for job in pushed())
    print(
        f"{killed} keepers killed in {last - began:.0f} s over {len(late)} ticks: late by "
        f"{late[len(late) // 2]:.2f} s (p50), {late[int(len(late) * 0.99)]:.2f} s (p99), "
        f"{late[-1]:.2f} s at most"
    )
    for name, step in JOBS.items():
        found = ticks(name)
        assert max(Counter(found).values()) == 1, f"none of {name} is doubled"
        assert found == list(range(found[0], found[-1] + 1, step)), f"none of {name} is missed"
        assert found[-1] - found[0] >= last - began - 5
    for one in running:
        one.exit_codes = None
