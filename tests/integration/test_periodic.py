"""Periodic jobs against a real server: each tick once, by whichever keeper and version."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest
import redis as redis_py

from jobd import App, Schedule
from jobd.keeper import periodic
from jobd.keeper.periodic import Periodic
from jobd.schedules.entry import id_of
from jobd.settings.daemon import Config
from jobd.settings.periodic import read as read_section
from jobd.store import known
from jobd.store.connection import connect
from jobd.store.keys import Keys
from jobd.store.ticks import TickCalls
from jobd.testing import EmbeddedServer
from jobd.worker.schedules import Schedules
from tests.conftest import StartDaemon
from tests.support.daemon import wait

KEYS = Keys()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held is looked at again soon."""
    monkeypatch.setattr(periodic, "HELD", 0.05)
    monkeypatch.setattr(known, "FRESH", 0.0)


@pytest.fixture
def keeper(redis: redis_py.Redis) -> Periodic:
    return Periodic(redis, KEYS, "keeper", lambda _token: None)


def app_with(*names: str, **options: Any) -> App:
    app = App()
    for name in names:

        def function(number: int = 1) -> None: ...

        app.job(name=name, **{"every": 3600, **options})(function)
    return app


def store(redis: redis_py.Redis, application: App, age: float = 10.0, **settings: Any) -> Schedules:
    """What a worker does whose version was started *age* seconds ago."""
    config = Config(**{"app": "shop", **settings})
    loop = Schedules(redis, KEYS, application.registry, config, time.monotonic() - age)
    loop.turn()
    return loop


def due(redis: redis_py.Redis, name: str, ago: float = 1.0, app: str = "shop") -> float:
    """Let the next tick of a schedule be over; returns it."""
    tick = round(time.time() - ago, 3)
    assert redis.zadd(KEYS.periodic, {id_of(app, name): tick}, xx=True, ch=True)
    return tick


def jobs(redis: redis_py.Redis, queue: str = "default") -> list[dict[str, Any]]:
    found: Any = redis.lrange(KEYS.queue(queue), 0, -1)
    return [json.loads(raw) for raw in reversed(found)]


def ticks(redis: redis_py.Redis, name: str) -> list[dict[str, Any]]:
    found: Any = redis.lrange(KEYS.ticks(id_of("shop", name)), 0, -1)
    return [json.loads(raw) for raw in found]


def names(redis: redis_py.Redis) -> set[str]:
    found: Any = redis.zrange(KEYS.periodic, 0, -1)
    raw: list[Any] = [redis.hget(KEYS.schedule_of(one.decode()), "entry") for one in found]
    stored = [json.loads(one) for one in raw if one]  # one may be removed meanwhile
    return {f"{one['app']}/{one['name']}" for one in stored}


# -- what is stored ------------------------------------------------------------------------------


def test_the_running_version_owns_the_schedules(redis: redis_py.Redis) -> None:
    store(redis, app_with("a", "b"), age=100)
    store(redis, app_with("x"), age=100, app="other")
    assert names(redis) == {"shop/a", "shop/b", "other/x"}
    store(redis, app_with("b", "c"), age=50)
    assert names(redis) == {"shop/b", "shop/c", "other/x"}, "a removed one goes"
    store(redis, app_with("a", "b"), age=100)
    assert names(redis) == {"shop/b", "shop/c", "other/x"}, "an older version changes nothing"
    store(redis, App(), age=40)
    assert names(redis) == {"other/x"}
    found: Any = redis.keys("jobd:periodic:*")
    assert len(found) == 3, "nothing is left of them but the other's schedule and the owners"
    assert redis.zrange(KEYS.periodic_seen, 0, -1) == [b"other"]


def test_an_unchanged_line_keeps_its_next_tick_and_a_changed_one_begins_now(
    redis: redis_py.Redis,
) -> None:
    store(redis, app_with("a", "b"), age=100)
    tick = due(redis, "a", 500)
    due(redis, "b", 500)
    app = app_with("a")

    @app.job(name="b", every=60)
    def b() -> None: ...

    store(redis, app, age=50)
    assert redis.zscore(KEYS.periodic, id_of("shop", "a")) == tick
    again: Any = redis.zscore(KEYS.periodic, id_of("shop", "b"))
    assert again > time.time()


def test_what_was_deleted_by_hand_comes_back(redis: redis_py.Redis) -> None:
    loop = store(redis, app_with("a"))
    redis.flushall()
    loop.turn()
    assert names(redis) == {"shop/a"}
    assert redis.zcard(KEYS.classes) == 1


def test_a_version_from_before_the_clock_was_set_back_holds_nothing_up(
    redis: redis_py.Redis,
) -> None:
    store(redis, app_with("a"))
    stored = json.loads(redis.hget(KEYS.periodic_apps, "shop") or b"")
    redis.hset(KEYS.periodic_apps, "shop", json.dumps({**stored, "version": time.time() + 3600}))
    store(redis, app_with("b"))
    assert names(redis) == {"shop/b"}


def test_an_application_without_schedules_stores_nothing(redis: redis_py.Redis) -> None:
    app = App()
    app.job(name="plain")(lambda_free)
    store(redis, app)
    assert not redis.exists(KEYS.periodic, KEYS.periodic_apps)


def lambda_free() -> None: ...


# -- ticks ---------------------------------------------------------------------------------------


def test_a_tick_is_pushed_with_everything_that_hangs_on_it(
    redis: redis_py.Redis, keeper: Periodic
) -> None:
    store(redis, app_with("a", queue="low", expires_in=60, keep_result=30))
    tick = due(redis, "a", 0.2)
    keeper.turn()
    [job] = jobs(redis, "low")
    field = job["jobd"]
    assert (field["tick"], field["schedule"]) == (tick, "a")
    assert field["expires_at"] == pytest.approx(time.time() + 60, abs=5)
    assert redis.hget(KEYS.result(job["jid"]), "state") == b"queued"
    assert redis.hget(KEYS.lock(field["lock"]["key"]), "jid") == job["jid"].encode()
    assert job["enqueued_at"] == pytest.approx(time.time(), abs=5)
    [record] = ticks(redis, "a")
    assert (record["what"], record["tick"], record["jid"]) == (record["what"], tick, job["jid"])
    following: Any = redis.zscore(KEYS.periodic, id_of("shop", "a"))
    assert following > time.time()


def test_many_keepers_push_each_tick_once(redis: redis_py.Redis, server: EmbeddedServer) -> None:
    """Ten keepers that all call at the same moment, for 40 schedules."""
    store(redis, app_with(*(f"s{number}" for number in range(40)), overlap="allow"))
    for number in range(40):
        due(redis, f"s{number}", 2)
    keepers = [
        Periodic(connect(server.url), KEYS, f"keeper{number}", lambda _token: None)
        for number in range(10)
    ]
    barrier = threading.Barrier(10)

    def look(one: Periodic) -> None:
        barrier.wait()
        for _ in range(3):
            one.turn()

    threads = [threading.Thread(target=look, args=(one,)) for one in keepers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    found = jobs(redis)
    assert len(found) == 40
    assert len({job["jid"] for job in found}) == 40


def test_a_call_sent_again_changes_nothing(redis: redis_py.Redis, keeper: Periodic) -> None:
    """Its reply was lost: the next tick is another one already."""
    store(redis, app_with("a", overlap="allow"))
    due(redis, "a")
    plans = keeper._prepare(keeper._due(time.time()), time.time())
    calls = TickCalls(redis, KEYS, [plan.call for plan in plans])
    assert [taken.what in ("fired", "late") for taken in calls.send()] == [True]
    redis.script_flush()
    assert [taken.what for taken in calls.send()] == ["gone"], "also where the server has forgotten"
    assert len(jobs(redis)) == 1


def test_a_tick_is_skipped_while_the_job_of_an_earlier_one_lives(
    redis: redis_py.Redis, keeper: Periodic
) -> None:
    store(redis, app_with("a"))
    due(redis, "a", 3)
    keeper.turn()
    due(redis, "a", 2)
    keeper.turn()
    [job] = jobs(redis)
    assert [(one["what"], one.get("holder")) for one in ticks(redis, "a")] == [
        ("skipped", job["jid"]),
        ("late", None),
    ]
    assert redis.zcard(KEYS.contested) == 1, "reconciliation looks whether that job is still there"


def test_jitter_puts_the_job_off(redis: redis_py.Redis, keeper: Periodic) -> None:
    store(redis, app_with("a", jitter=1800))
    tick = due(redis, "a", 0.5)
    keeper.turn()
    found: Any = redis.zrange(KEYS.schedule, 0, -1, withscores=True)
    [(raw, at)] = found
    assert tick <= at < tick + 1800
    assert not jobs(redis)
    assert json.loads(raw)["jobd"]["tick"] == tick


def test_what_nobody_can_run_is_held_and_then_missed(
    redis: redis_py.Redis, keeper: Periodic
) -> None:
    store(redis, app_with("a", grace=5))
    redis.delete(KEYS.classes)
    tick = due(redis, "a", 2)
    keeper.turn()
    assert not jobs(redis)
    assert redis.zscore(KEYS.periodic, id_of("shop", "a")) == tick
    time.sleep(0.06)
    due(redis, "a", 6)
    keeper.turn()
    [record] = ticks(redis, "a")
    assert (record["what"], record["why"]) == ("missed", "no living worker knows the job a")
    assert not jobs(redis)


def test_a_foreign_job_needs_a_process_that_serves_its_queue(
    redis: redis_py.Redis, keeper: Periodic
) -> None:
    section = {"job": "Ruby::Job", "every": 60, "foreign": True, "queue": "ruby", "name": "r"}
    [written], problems = read_section([section], "jobd.toml: periodic")
    assert not problems
    store(redis, App(), periodic=(written,))
    due(redis, "r")
    keeper.turn()
    assert not jobs(redis, "ruby")
    redis.sadd(KEYS.processes, "vm:1:a")
    redis.hset("vm:1:a", "info", json.dumps({"queues": ["ruby"]}))
    time.sleep(0.06)
    keeper.turn()
    [job] = jobs(redis, "ruby")
    assert (job["class"], "lock" in job["jobd"]) == ("Ruby::Job", False)


def test_a_bad_schedule_stops_no_other(redis: redis_py.Redis, keeper: Periodic) -> None:
    store(redis, app_with("a", "b", "c", "d", "e"))
    for name in "abcde":
        due(redis, name)
    redis.hset(KEYS.schedule_of(id_of("shop", "a")), "entry", b"nonsense")
    redis.delete(KEYS.schedule_of(id_of("shop", "b")))
    raw: Any = redis.hget(KEYS.schedule_of(id_of("shop", "c")), "entry")
    malformed = json.dumps({**json.loads(raw), "every": 0.0, "cron": "61 * * * *"})
    redis.hset(KEYS.schedule_of(id_of("shop", "c")), "entry", malformed)
    nowhere = json.dumps({**json.loads(raw), "every": 0.0, "cron": "@", "tz": "Mars"})
    redis.hset(KEYS.schedule_of(id_of("shop", "d")), "entry", nowhere)
    keeper.turn()
    assert [job["class"] for job in jobs(redis)] == ["e"]


def test_a_queue_of_another_type_is_told(redis: redis_py.Redis, keeper: Periodic) -> None:
    store(redis, app_with("a", "b", queue="low"))
    redis.set(KEYS.queue("low"), "x")
    tick = due(redis, "a")
    keeper.turn()
    assert redis.zscore(KEYS.periodic, id_of("shop", "a")) == tick, "it is late, not lost"


@pytest.mark.parametrize("key", [KEYS.ticks(id_of("shop", "a")), KEYS.schedule, KEYS.queues])
def test_keys_of_another_type_hold_schedules_up_and_the_keeper_does_not_spin(
    redis: redis_py.Redis, keeper: Periodic, key: str
) -> None:
    store(redis, app_with("a", "b"))
    tick = due(redis, "a")
    redis.delete(key)
    redis.set(key, "text")
    keeper.turn()
    assert redis.zscore(KEYS.periodic, id_of("shop", "a")) == tick, "it is late, not lost"
    assert (keeper.turn() or 0) >= 1, "it is left alone for a while"
    redis.delete(key)
    keeper._held.clear()
    keeper.turn()
    assert len(jobs(redis)) == 1


def test_an_application_of_which_nobody_hears_has_no_ticks(
    redis: redis_py.Redis, keeper: Periodic
) -> None:
    """It has been given another name: its schedules are those of the new one."""
    store(redis, app_with("a", grace=5), app="old")
    store(redis, app_with("a", grace=5), app="new")
    due(redis, "a", 6, "old")
    due(redis, "a", 1, "new")
    redis.zadd(KEYS.periodic_seen, {"old": time.time() - 100})
    keeper.turn()
    assert len(jobs(redis)) == 1
    told: Any = redis.lindex(KEYS.ticks(id_of("old", "a")), 0)
    assert "no worker of the application old is running" in told.decode()
    redis.zadd(KEYS.periodic_seen, {"old": time.time() - 31 * 86400})
    store(redis, app_with("b"), age=1, app="new")
    assert names(redis) == {"new/b"}, "after a month it is forgotten"


def test_a_full_server_makes_ticks_late_and_loses_none(
    redis: redis_py.Redis, keeper: Periodic
) -> None:
    store(redis, app_with("a"))
    tick = due(redis, "a")
    redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis_py.ResponseError, match="memory"):
            keeper.turn()
    finally:
        redis.config_set("maxmemory", 0)
    assert redis.zscore(KEYS.periodic, id_of("shop", "a")) == tick
    assert not ticks(redis, "a")
    keeper.turn()
    assert len(jobs(redis)) == 1


def test_a_lead_is_kept_on_a_full_server(redis: redis_py.Redis, keeper: Periodic) -> None:
    redis.config_set("maxmemory", 1)
    try:
        keeper.turn()
    finally:
        redis.config_set("maxmemory", 0)
    assert keeper.leadership.token == 1


# -- with daemons --------------------------------------------------------------------------------

DAEMON = """
    from pathlib import Path
    from jobd import current_job, job

    @job(name="often", every=1, catch_up="all", overlap="allow")
    def often():
        with Path("ticks").open("a") as file:
            file.write(f"{current_job().tick.timestamp():.0f}\\n")
"""


def test_a_daemon_pushes_and_runs_each_tick(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(DAEMON)
    file = running.directory / "ticks"
    running.wait(lambda: file.exists() and len(file.read_text().split()) >= 4, 20, "four ticks")
    # The jobs of ticks that were late run side by side.
    found = sorted(int(tick) for tick in file.read_text().split())
    assert found == list(range(found[0], found[0] + len(found))), "each second, each once"


def test_a_reload_replaces_the_schedules(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(DAEMON)
    running.wait(lambda: names(redis) == {"app/often"}, 10, "they are stored")
    running.write_app(DAEMON.replace("often", "seldom").replace("every=1,", "every=3600,"))
    assert running.jobctl("reload").returncode == 0
    running.wait(lambda: names(redis) == {"app/seldom"}, 10, "those of the new version")


def test_schedules_of_several_arguments_keep_apart(redis: redis_py.Redis) -> None:
    app = App()

    @app.job(name="r", cron=[Schedule("@daily", args=[n], name=f"r{n}") for n in range(3)])
    def r(n: int) -> None: ...

    store(redis, app)
    assert names(redis) == {"shop/r0", "shop/r1", "shop/r2"}
    assert wait(lambda: redis.zcard(KEYS.periodic) == 3, 1, "three")
