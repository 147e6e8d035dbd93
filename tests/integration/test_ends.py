"""Ends that are neither success nor failure, expired, put off and set aside; retries on purpose."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import redis as redis_py

from jobd import Client
from jobd.api import Api
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon

APP = """
    from pathlib import Path
    import jobd
    from jobd import Retry, Snooze, current_job, death_handlers, error_handlers, job

    def note(name):
        with Path(name).open("a") as file:
            file.write("x")

    @error_handlers.append
    def tell(error, about):
        note("told")

    @death_handlers.append
    def dead(item, error):
        note("dead")

    @job(name="touch")
    def touch(name="touched"):
        note(name)

    @job(name="late", expires_in=0.001)
    def late():
        note("late")

    @job(name="push_late")
    def push_late():
        late.perform_async()
        late.perform_in(0.5)
        late.set(expires_in=600).perform_async()

    @job(name="put_off")
    def put_off(delay, times):
        if current_job().payload.get("jobd", {}).get("snoozes", 0) < times:
            note("put_off")
            raise Snooze(delay)
        note("through")

    @job(name="put_off_async")
    async def put_off_async(delay, times):
        put_off(delay, times)

    @job(name="ask", retry=1)
    def ask(caused):
        if caused:
            try:
                1 / 0
            except ZeroDivisionError as error:
                raise Retry(after=0.2) from error
        raise Retry(after=0.2)
"""


def push(running: Daemon, name: str, *args: Any, **fields: Any) -> str:
    jid = Client(running.url).push({"class": name, "args": list(args), **fields})
    assert jid is not None
    return jid


def members(redis: Any, key: str) -> list[tuple[bytes, float]]:
    found: list[tuple[bytes, float]] = redis.zrange(key, 0, -1, withscores=True)
    return found


def said(running: Daemon, event: str) -> list[dict[str, Any]]:
    return [record for record in running.records() if record["event"] == event]


def times(running: Daemon, name: str) -> int:
    file = running.directory / name
    return len(file.read_text()) if file.exists() else 0


def test_a_job_that_is_too_late_never_starts(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP)
    redis.sadd("paused", "default")
    push(running, "touch", "too late", expires_in=0.01)
    push(running, "touch", "in time", expires_in=600)
    push(running, "touch", "by hand", jobd={"v": 1, "expires_at": time.time() - 1})
    time.sleep(0.02)
    redis.srem("paused", "default")
    running.wait(lambda: redis.get("jobd:stat:expired") == b"2", 10, "two have expired")
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "one has run")
    assert times(running, "in time") == 1
    assert not times(running, "too late") + times(running, "by hand")
    assert redis.get("stat:failed") is None
    assert len(said(running, "job_expired")) == 2
    assert Api(running.url).counters().expired == 2
    assert not list(redis.scan_iter("jobd:inflight:*"))
    assert not redis.exists("dead", "retry")


def test_many_that_are_too_late_go_together(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "-c", "2")
    redis.sadd("paused", "default")
    Client(running.url).push_bulk(
        {"class": "touch", "args": [["no"]] * 500, "expires_in": 0.001, "queue": "default"}
    )
    time.sleep(0.002)
    redis.config_resetstat()
    redis.srem("paused", "default")
    running.wait(lambda: redis.get("jobd:stat:expired") == b"500", 20, "all have expired")
    commands: Any = redis.info("commandstats")
    assert commands["cmdstat_incrby"]["calls"] < 200
    assert not times(running, "no")


def test_it_is_counted_from_the_time_at_which_a_job_is_due(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP)
    push(running, "touch", "then", at=time.time() + 1, expires_in=30)
    [(raw, at)] = members(redis, "schedule")
    assert json.loads(raw)["jobd"] == {"v": 1, "expires_at": pytest.approx(at + 30, abs=0.01)}
    running.wait(lambda: times(running, "then"), 15, "it runs")


def test_a_retry_by_hand_runs_however_late_it_is(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP)
    raw = json.dumps(
        {
            "class": "touch",
            "args": ["by hand"],
            "queue": "default",
            "jid": "ab" * 12,
            "retry": True,
            "jobd": {"v": 1, "expires_at": 1.5, "snoozes": 3},
        }
    )
    redis.zadd("dead", {raw: time.time()})
    assert Api(running.url).dead.retry(*Api(running.url).dead.page()) == 1
    running.wait(lambda: times(running, "by hand"), 10, "it runs")


@pytest.mark.parametrize("name", ["put_off", "put_off_async"])
@pytest.mark.parametrize("delay", [0, 0.2])
def test_a_job_can_put_itself_off(
    daemon: StartDaemon, redis: redis_py.Redis, delay: float, name: str
) -> None:
    running = daemon(APP, "-c", "1")
    push(running, name, delay, 2, retry=0)
    running.wait(lambda: times(running, "through"), 30, "it goes through")
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "one execution is counted")
    assert times(running, "put_off") == 2
    assert redis.get("stat:failed") is None
    assert not times(running, "told") + times(running, "dead")
    assert [one["delay"] for one in said(running, "job_snoozed")] == [delay, delay]
    assert not redis.exists("dead", "retry", "schedule")


def test_a_job_that_is_put_off_goes_behind_the_others(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-c", "1")
    redis.sadd("paused", "default")
    first = push(running, "put_off", 0, 1)
    second = push(running, "touch")
    redis.srem("paused", "default")
    running.wait(lambda: redis.get("stat:processed") == b"2", 10, "both have run")
    done = [one["jid"] for one in said(running, "job_done")]
    assert done == [second, first]


def test_a_job_that_puts_itself_off_for_ever_fails_at_last(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP)
    push(running, "put_off", 60, 5_000, retry=0, jobd={"v": 1, "snoozes": 1_000})
    running.wait(lambda: redis.zcard("dead") == 1, 10, "it is dead")
    [(raw, _)] = members(redis, "dead")
    assert "1,000 times" in json.loads(raw)["error_message"]


@pytest.mark.parametrize(
    ("caused", "error"), [(False, "jobd.errors.Retry"), (True, "ZeroDivisionError")]
)
def test_a_job_can_choose_when_it_is_tried_again(
    daemon: StartDaemon, redis: redis_py.Redis, caused: bool, error: str
) -> None:
    running = daemon(APP)
    running.expect_in_log("Retry", "ZeroDivisionError")
    push(running, "ask", caused, retry=1)
    running.wait(lambda: redis.zcard("retry") == 1, 10, "it waits for its retry")
    [(raw, at)] = members(redis, "retry")
    item = json.loads(raw)
    assert (item["error_class"], item["retry_count"]) == (error, 0)
    assert at - item["failed_at"] < 1, "and no jitter"
    assert not times(running, "told"), "it has been told nothing so far"
    running.wait(lambda: redis.zcard("dead") == 1, 30, "it has used up its retry")
    running.wait(lambda: times(running, "told") == times(running, "dead") == 1, 5, "both are told")
    assert redis.get("stat:failed") == b"2"


@pytest.mark.parametrize(
    "field", [{"v": 2, "whatever": 1}, {"v": 1, "colour": "b"}, {"expires_at": 1}]
)
def test_what_hangs_on_a_job_and_is_not_known_here_is_not_left_out(
    daemon: StartDaemon, redis: redis_py.Redis, field: dict[str, Any]
) -> None:
    running = daemon(APP)
    item = {"class": "touch", "args": [], "queue": "default", "jid": "ab" * 12, "jobd": field}
    redis.sadd("queues", "default")
    redis.lpush("queue:default", json.dumps({**item, "created_at": 1.5, "enqueued_at": 2.5}))
    running.wait(lambda: redis.zcard("schedule") == 1, 10, "it waits for others")
    [(raw, at)] = members(redis, "schedule")
    assert json.loads(raw)["jobd"] == {**field, "aside": 1}
    assert 8 < at - time.time() < 11
    [warned] = said(running, "job_set_aside")
    assert "attachments of" in warned["reason"]
    assert not times(running, "touched")
    redis.delete("schedule")


@pytest.mark.parametrize("field", [5, {"v": 1, "expires_at": "soon"}, {"v": 1, "snoozes": 1.5}])
def test_what_no_version_has_written_is_a_malformed_job(
    daemon: StartDaemon, redis: redis_py.Redis, field: Any
) -> None:
    running = daemon(APP)
    item = {"class": "touch", "args": [], "queue": "default", "jid": "ab" * 12, "jobd": field}
    redis.lpush("queue:default", json.dumps(item))
    running.wait(lambda: redis.zcard("dead") == 1, 10, "it is dead")
    [(raw, _)] = members(redis, "dead")
    assert "the field jobd" in json.loads(raw)["error_message"]
    assert not times(running, "touched")
