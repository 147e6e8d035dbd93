"""The server's clock is set back an hour, and forward again, while periodic jobs are due."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from jobd import App
from jobd.api import Api, why_not_due
from jobd.keeper.leader import LEASE, LOOK
from jobd.keeper.periodic import Periodic
from jobd.settings.daemon import Config
from jobd.store.connection import connect
from jobd.store.keys import Keys
from jobd.testing import EmbeddedServer
from jobd.worker.schedules import Schedules
from tests.faults.clock import Clock, NoClock
from tests.support.daemon import wait

HOUR = 3600
KEYS = Keys()


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Clock]:
    try:
        made = Clock(tmp_path)
    except NoClock as reason:
        pytest.skip(str(reason))
    yield made
    made.close()


@pytest.fixture
def stepped(clock: Clock) -> Iterator[redis_py.Redis]:
    """A server whose clock can be set."""
    with EmbeddedServer(environment={**os.environ, **clock.environment}) as server:
        yield connect(server.url)


def test_no_tick_comes_twice_and_the_leader_stays(clock: Clock, stepped: redis_py.Redis) -> None:
    app = App()
    app.job(name="often", every=1, overlap="allow")(lambda: None)
    told = Schedules(stepped, KEYS, app.registry, Config(app="shop"), time.monotonic())
    told.turn()
    keeper = Periodic(stepped, KEYS, "keeper", lambda _token: None)
    api = Api(stepped)
    keeper.start()

    def pushed() -> list[float]:
        raw: Any = stepped.lrange(KEYS.queue("default"), 0, -1)
        return [json.loads(one)["jobd"]["tick"] for one in reversed(raw)]

    def more(count: int) -> None:
        before = len(pushed())
        assert wait(lambda: len(pushed()) >= before + count, 30, "ticks come")

    def seen(seconds: int) -> None:
        clock.step(seconds)
        at = time.time() + seconds
        assert wait(lambda: abs(keeper.leadership.server_time() - at) < 60, 30, "it has looked")
        told.turn()

    try:
        more(3)
        seen(-HOUR)
        known = len(pushed())
        time.sleep(2 * LOOK)
        assert len(pushed()) == known, "what was pushed before is not pushed again"
        assert keeper.leadership.token == 1
        until = float(stepped.hget(KEYS.jobd_leader, "until") or 0)
        assert until < keeper.leadership.server_time() + LEASE + 1
        one = api.periodic["often"]
        [reason] = why_not_due(api, one)
        assert reason.kind == "scheduled"
        assert (reason.at or 0) > keeper.leadership.server_time() + HOUR / 2
        api.periodic.pause(one)
        api.periodic.resume(api.periodic["often"])
        more(2)
        seen(0)
        more(2)
    finally:
        keeper.quiet = True
        assert keeper.stop(10)
    ticks = pushed()
    assert max(Counter(ticks).values()) == 1
    missed = [one for one in api.periodic.ticks(api.periodic["often"]) if one.what == "missed"]
    assert any(one.then - one.tick > HOUR / 2 for one in missed), "the hour is one record"
