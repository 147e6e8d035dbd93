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

APP = """
    from jobd import job

    @job(name="tick", every=1, catch_up="all", overlap="allow", queue="unserved")
    def tick(): ...

    @job(name="other", cron="*/2 * * * * *", catch_up="all", overlap="allow", queue="unserved")
    def other(): ...
"""

SECONDS = 25


def test_keepers_are_killed_over_many_ticks(
    daemon: StartDaemon, redis: redis_py.Redis, request: pytest.FixtureRequest
) -> None:
    running = [daemon(APP, env={"JOBD_APP": "app"}) for _ in range(3)]
    chance = random.Random(request.node.name)
    killed, end = 0, time.monotonic() + SECONDS
    while time.monotonic() < end:
        living = [pid for one in running if (pid := one.keeper())]
        if living:
            os.kill(chance.choice(living), signal.SIGKILL)
            killed += 1
        time.sleep(chance.uniform(0.2, 1.0))
    assert killed >= 15
    last = time.time()

    def pushed() -> list[dict[str, Any]]:
        raw: Any = redis.lrange(KEYS.queue("unserved"), 0, -1)
        return [json.loads(one) for one in reversed(raw)]

    def ticks(name: str) -> list[int]:
        return [int(job["jobd"]["tick"]) for job in pushed() if job["class"] == name]

    running[0].wait(
        lambda: all(ticks(name) and ticks(name)[-1] > last for name in ("tick", "other")),
        60,
        "a tick after the last kill",
    )
    for name, step in (("tick", 1), ("other", 2)):
        found = ticks(name)
        assert max(Counter(found).values()) == 1, "none is doubled"
        assert found == list(range(found[0], found[-1] + 1, step)), "none is missed"
        assert found[-1] - found[0] >= SECONDS - 2
    for one in running:
        one.exit_codes = None
