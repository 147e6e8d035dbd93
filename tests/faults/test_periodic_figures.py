"""What a thousand schedules cost, in time of processors, since others may be at work here; how late
their jobs are is printed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import redis as redis_py

from jobd import App
from jobd.keeper.leader import LOOK
from jobd.keeper.periodic import Periodic
from jobd.settings.daemon import Config
from jobd.store.keys import Keys
from jobd.worker.schedules import Schedules

SCHEDULES = 1000
KEYS = Keys()


def store(redis: redis_py.Redis, **options: Any) -> Periodic:
    """A thousand schedules, and a keeper."""
    app = App()
    for number in range(SCHEDULES):
        app.job(name=f"job{number}", **options)(lambda: None)
    Schedules(redis, KEYS, app.registry, Config(app="shop"), time.monotonic()).turn()
    return Periodic(redis, KEYS, "keeper", lambda _token: None)


def cost(redis: redis_py.Redis, act: Callable[[], object]) -> tuple[float, float]:
    """Seconds that this process and the server have computed for it."""

    def used() -> float:
        found: Any = redis.info("cpu")
        return float(found["used_cpu_user_main_thread"] + found["used_cpu_sys_main_thread"])

    server, own = used(), time.process_time()
    act()
    return time.process_time() - own, used() - server


def test_a_thousand_ticks_at_one_moment(redis: redis_py.Redis) -> None:
    keeper = store(redis, cron="*/5 * * * * *")
    keeper.turn()

    def push() -> None:
        give_up = time.monotonic() + 60
        while redis.llen(KEYS.queue("default")) < SCHEDULES and time.monotonic() < give_up:
            time.sleep(min(keeper.turn() or 0.0, 0.5))

    own, server = cost(redis, push)
    raw: Any = redis.lrange(KEYS.queue("default"), 0, -1)
    late = sorted(job["enqueued_at"] - job["jobd"]["tick"] for job in map(json.loads, raw))
    assert len(late) == SCHEDULES
    print(
        f"{SCHEDULES} ticks at one moment: keeper {own:.3f} s, server {server:.3f} s of a "
        f"processor; late by {late[SCHEDULES // 2] * 1000:.0f} ms (p50), "
        f"{late[int(SCHEDULES * 0.99)] * 1000:.0f} ms (p99)"
    )
    assert own < 1.0
    assert server < 0.2


def test_an_idle_leader(redis: redis_py.Redis) -> None:
    keeper = store(redis, cron="0 0 1 1 *")
    assert keeper.turn() == LOOK
    looks = 50
    own, server = cost(redis, lambda: [keeper.turn() for _ in range(looks)])
    share = own / looks / LOOK, server / looks / LOOK
    print(f"an idle leader of {SCHEDULES} schedules: {share[0]:.3%}, server {share[1]:.3%}")
    assert max(share) < 0.01
