"""The lead: one of all keepers has it, and the next one soon after."""

from __future__ import annotations

import os
import signal
import time
from datetime import datetime
from typing import Any

import pytest
import redis as redis_py

from jobd.keeper.leader import LEASE, LOOK, Leadership
from jobd.store.keys import Keys
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon, wait

KEYS = Keys()

APP = """
    from pathlib import Path
    from jobd import on

    @on("leader")
    def lead():
        with Path("leads").open("a") as file:
            file.write("x")
"""


def keeper(redis: redis_py.Redis, name: str) -> Leadership:
    return Leadership(redis, KEYS, name)


def lead(redis: redis_py.Redis) -> dict[bytes, bytes]:
    found: Any = redis.hgetall(KEYS.jobd_leader)
    return dict(found)


def when(running: Daemon, *, leads: bool) -> float:
    """When a daemon has last said that it leads, or that it does not lead any more."""
    said = [r for r in running.records() if r["event"] == "lead_changed" and r["leads"] is leads]
    return datetime.fromisoformat(said[-1]["timestamp"]).timestamp() if said else 0.0


def test_one_leads_and_each_lead_has_a_number(redis: redis_py.Redis) -> None:
    one, two = keeper(redis, "one"), keeper(redis, "two")
    one.look()
    assert one.token == 1
    assert two.look().again == pytest.approx(LOOK)
    assert two.token == 0
    one.give_up()
    two.look()
    one.look()
    assert (one.token, two.token) == (0, 2)
    assert lead(redis)[b"holder"] == b"two"


def test_a_dead_leader_is_followed_when_its_lease_ends(redis: redis_py.Redis) -> None:
    one, two = keeper(redis, "one"), keeper(redis, "two")
    one.look()
    left = float(lead(redis)[b"until"]) - float(lead(redis)[b"since"])
    assert left == pytest.approx(LEASE, abs=0.01)
    redis.hset(KEYS.jobd_leader, "until", time.time() + 0.2)
    assert two.look().again <= 0.2, "it looks again just then"
    wait(lambda: two.look() and two.token == 2, 5, "it leads")
    one.look()
    assert one.token == 0


def test_a_lease_from_before_the_clock_was_set_back_counts_from_now(redis: redis_py.Redis) -> None:
    one, two = keeper(redis, "one"), keeper(redis, "two")
    one.look()
    redis.hset(KEYS.jobd_leader, "until", time.time() + 3600)
    two.look()
    assert two.token == 0
    one.look()
    assert one.token == 1
    assert float(lead(redis)[b"until"]) < time.time() + LEASE + 5, "it is written, so that it ends"
    redis.hset(KEYS.jobd_leader, "until", time.time() + 3600)
    assert two.look().again == LOOK
    assert float(lead(redis)[b"until"]) < time.time() + LEASE + 5, "also by one that waits for it"


def test_a_keeper_that_may_not_lead_only_looks(redis: redis_py.Redis) -> None:
    none = keeper(redis, "")
    redis.zadd(KEYS.periodic, {"a": 5.5})
    assert none.look().due == 5.5
    assert none.token == 0
    assert not lead(redis)


@pytest.mark.parametrize("value", ["text", None])
def test_a_key_of_another_type_keeps_the_lead_from_all(
    redis: redis_py.Redis, value: str | None
) -> None:
    if value:
        redis.set(KEYS.jobd_leader, value)
        redis.zadd(KEYS.periodic, {"a": 5.5})
    one = keeper(redis, "one")
    seen = one.look()
    assert (one.token, seen.due) == ((0, 5.5) if value else (1, float("inf")))


def test_looking_costs_one_command_and_a_lead_few_writes(redis: redis_py.Redis) -> None:
    one, two = keeper(redis, "one"), keeper(redis, "two")
    for each in (one, two):
        each.look()
    before: Any = redis.info("commandstats")
    for each in (one, two) * 10:
        each.look()
    after: Any = redis.info("commandstats")

    def calls(stats: Any, command: str) -> int:
        return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))

    assert calls(after, "evalsha") - calls(before, "evalsha") == 20
    assert calls(after, "hset") == calls(before, "hset"), "a lease is renewed when a third is over"


def test_one_worker_of_the_leader_runs_the_hook(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "-w", "3")
    file = running.directory / "leads"
    running.wait(file.exists, 10, "the hook has run")
    running.wait(lambda: lead(redis).get(b"holder"), 10, "it leads")
    assert file.read_text() == "x"
    holder = lead(redis)[b"holder"].decode()
    assert holder.split(":")[1] == str(running.keeper())
    for pid in running.workers():
        os.kill(pid, signal.SIGKILL)
    running.expect_in_log("killed")
    running.wait(lambda: file.read_text() == "xx", 20, "the hook has run in another worker")


def test_hand_over_at_a_stop_a_quiet_and_a_death(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    one = daemon(APP)
    one.wait(lambda: lead(redis).get(b"token") == b"1", 10, "the first leads")
    two = daemon(APP)
    out = daemon(APP, env={"JOBD_LEADER": "false"})

    def holder() -> int:
        return int((lead(redis).get(b"holder") or b"::").split(b":")[1] or 0)

    assert holder() == one.keeper()
    one.signal(signal.SIGTSTP)
    two.wait(lambda: holder() == two.keeper(), 10, "the second leads")
    two.wait(lambda: when(two, leads=True) and when(one, leads=False), 10, "they have said so")
    assert when(two, leads=True) - when(one, leads=False) < 2
    assert one.jobctl("resume").returncode == 0
    two.stop()
    one.wait(lambda: holder() == one.keeper(), 10, "the first leads again")
    one.wait(lambda: when(one, leads=True) > when(two, leads=False), 10, "it has said so")
    assert when(one, leads=True) - when(two, leads=False) < 2
    pid = one.keeper()
    assert pid
    os.kill(pid, signal.SIGKILL)
    one.wait(
        lambda: one.keeper() not in (None, pid) and holder() == one.keeper(),
        LEASE + 5,
        "its next keeper leads",
    )
    one.stop()
    time.sleep(LOOK + 0.2)
    assert holder() == 0, "the one that may not lead does not"
    assert not (out.directory / "leads").exists(), "nor does it run the hook"
    assert (two.directory / "leads").read_text() == "x"
    assert len((one.directory / "leads").read_text()) >= 2, "each lead has its own"
