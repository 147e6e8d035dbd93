"""The data format, field by field, as it lies in Redis after a real daemon has been at work.

Whoever reads these keys (Sidekiq's dashboard, its data API, scripts of others) relies on every
name, type, order and unit that is asserted here.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import redis as redis_py

from jobd import Client
from jobd.version import VERSION
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon

APP = """
    from pathlib import Path
    import time
    from jobd import current_job, job

    @job(name="Ok")
    def ok(*args):
        Path("done").write_text(current_job().jid)

    @job(name="Boom")
    def boom(n):
        raise ArithmeticError(f"boom \u00e9 {n}")

    @job(name="Wait")
    def wait(path):
        Path(f"started-{current_job().jid}").touch()
        while not Path(path).exists():
            time.sleep(0.01)
"""

YEARS = 5 * 365 * 86400
FLOAT = re.compile(r"\d+\.\d+")
NOW = 1795416072.920344


def dumps(fields: object) -> str:
    """Compact JSON in raw UTF-8, as Sidekiq writes it."""
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False)


def payload(name: str, *args: object, **fields: object) -> dict[str, Any]:
    """What a Sidekiq 6.4 pushes."""
    return {
        "retry": True,
        "queue": "default",
        **fields,
        "args": list(args),
        "class": name,
        "jid": "1befef82961e0772dce5ae4d",
        "created_at": NOW,
        "enqueued_at": NOW + 0.5,
    }


def now_text(text: str, since: float) -> bool:
    """Whether *text* is a float of seconds between *since* and now."""
    return bool(FLOAT.fullmatch(text)) and since <= float(text) <= time.time()


def one(members: Any) -> tuple[str, float]:
    """The only member of a set, and its score."""
    ((raw, score),) = members
    return raw.decode(), score


def only_process(redis: redis_py.Redis) -> str:
    """The identity of the only worker that dashboards see."""
    listed: Any = redis.smembers("processes")
    (identity,) = listed
    return str(identity, "utf-8")


def text_of(raw: str, field: str) -> str:
    """The text of a number in a payload."""
    found = re.search(rf'"{field}":([^,}}]+)', raw)
    assert found, f"{field} is not in {raw}"
    return found[1]


@pytest.fixture
def began() -> float:
    return time.time()


def test_a_payload_of_somebody_elses_program_runs(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP)
    # Neither a jid nor a retry, a queue that nobody has announced, spaces, a field of their own.
    redis.lpush("queue:default", '{ "class" : "Ok",  "args":[1, "two"], "x" : 1e2 }')
    running.wait((running.directory / "done").exists, 10, "it runs")
    running.wait(lambda: redis.get("stat:processed") == b"1", 5, "it is counted")
    assert redis.llen("queue:default") == 0


def test_the_retry_set(daemon: StartDaemon, redis: redis_py.Redis, began: float) -> None:
    pushed = payload("Boom", 7, backtrace=3, tags=["a", "b"], mine={"k": [1.5, None, True]})
    redis.lpush("queue:default", dumps(pushed))
    running = daemon(APP)
    running.wait(lambda: redis.zcard("retry") == 1, 10, "it has failed")
    raw, score = one(redis.zrange("retry", 0, -1, withscores=True))
    failed = json.loads(raw)
    assert raw == dumps(failed), "compact, raw UTF-8"
    # What was there keeps its order and value; what is new follows in this order.
    assert list(failed.items())[: len(pushed)] == list(pushed.items())
    assert list(failed)[len(pushed) :] == [
        "error_message",
        "error_class",
        "failed_at",
        "retry_count",
        "error_backtrace",
    ]
    assert failed["error_message"] == "boom é 7"
    assert failed["error_class"] == "ArithmeticError"
    assert failed["retry_count"] == 0
    assert now_text(text_of(raw, "failed_at"), began)
    assert 15 <= score - failed["failed_at"] < 25.1, "15 s, and a jitter below 10 s"
    backtrace = json.loads(
        zlib.decompress(base64.b64decode(failed["error_backtrace"], validate=True))
    )
    assert all(re.fullmatch(r".+:\d+:in '\w+'", line) for line in backtrace)
    assert "app.py" in backtrace[0]
    assert len(backtrace) <= 3

    # It fails again: promoted with a new enqueued_at, then counted.
    redis.zadd("retry", {raw: began - 1}, xx=True)

    def failed_again() -> Any:
        entries: Any = redis.zrange("retry", 0, -1, withscores=True)
        return [entry for entry in entries if b"retried_at" in entry[0]]

    again, score = one(running.wait(failed_again, 10, "it has failed a second time"))
    second = json.loads(again)
    assert list(second) == [*failed, "retried_at"]
    changed = {key for key in failed if second[key] != failed[key]}
    assert changed <= {"enqueued_at", "retry_count", "error_backtrace"}
    assert second["retry_count"] == 1
    assert now_text(text_of(again, "enqueued_at"), began)
    assert now_text(text_of(again, "retried_at"), began)
    assert 16 <= score - second["retried_at"] < 36.1, "16 s, and a jitter below 20 s"


@pytest.mark.parametrize(
    ("retry", "places"), [(False, {}), (0, {"dead": 1}), (None, {"retry": 1}), (1, {"retry": 1})]
)
def test_every_kind_of_retry(
    daemon: StartDaemon, redis: redis_py.Redis, retry: object, places: dict[str, int]
) -> None:
    redis.lpush("queue:default", dumps(payload("Boom", 1) | {"retry": retry}))
    running = daemon(APP)
    running.wait(lambda: redis.get("stat:failed") == b"1", 10, "it has failed")
    found = {key: size for key in ("retry", "dead", "schedule") if (size := redis.zcard(key))}
    assert found == places


def test_the_retry_queue(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    redis.lpush("queue:default", dumps(payload("Boom", 1, retry_queue="later")))
    running = daemon(APP)
    running.wait(lambda: redis.zcard("retry") == 1, 10, "it has failed")
    raw, _ = one(redis.zrange("retry", 0, -1, withscores=True))
    assert json.loads(raw)["queue"] == "later"
    assert list(json.loads(raw))[:2] == ["retry", "queue"], "in its place"


def test_the_dead_set(daemon: StartDaemon, redis: redis_py.Redis, began: float) -> None:
    old = time.time() - 15552000 - 60
    redis.zadd("dead", {f"older {number}": old + number for number in range(5)})
    redis.zadd("dead", {f"newer {number}": began - 10 + number / 100 for number in range(9)})
    pushed = payload("Boom", 1) | {"retry": 0}
    redis.lpush("queue:default", dumps(pushed))
    running = daemon(APP, "--dead-max-jobs", "5")
    running.wait(lambda: redis.zcard("dead") == 4, 10, "one less than dead_max_jobs is kept")
    members: Any = redis.zrange("dead", 0, -1, withscores=True)
    assert [raw for raw, _ in members[:-1]] == [b"newer 6", b"newer 7", b"newer 8"]
    raw, score = one(members[-1:])
    assert began <= score <= time.time()
    died = json.loads(raw)
    assert raw == dumps(died)
    assert list(died) == [*pushed, "error_message", "error_class", "failed_at", "retry_count"]
    assert died["retry_count"] == 0

    redis.lpush("queue:default", b"not json")
    running.wait(lambda: redis.zscore("dead", "not json"), 10, "it is kept as the raw string")
    assert redis.get("stat:processed") == b"1", "what is no job counts nowhere"


def test_the_schedule_and_what_leaves_it(
    daemon: StartDaemon, redis: redis_py.Redis, began: float
) -> None:
    at = began + 3600.123456
    jid = Client(redis=redis).push({"class": "Ok", "args": [1], "at": at, "mine": "é"})
    raw, score = one(redis.zrange("schedule", 0, -1, withscores=True))
    assert score == at, "the score survives text"
    scheduled = json.loads(raw)
    assert raw == dumps(scheduled)
    assert list(scheduled) == ["retry", "queue", "class", "args", "mine", "jid", "created_at"]
    assert (scheduled["retry"], scheduled["queue"]) == (True, "default")
    assert now_text(text_of(raw, "created_at"), began)

    running = daemon(APP, "-q", "other")
    redis.zadd("schedule", {raw: began}, xx=True)
    (queued,) = running.wait(lambda: redis.lrange("queue:default", 0, -1), 10, "it is promoted")
    text = queued.decode()
    assert text.startswith(raw[:-1] + ',"enqueued_at":'), "only enqueued_at is new"
    assert now_text(text_of(text, "enqueued_at"), began)
    assert json.loads(text)["jid"] == jid
    assert redis.smembers("queues") == {b"default"}
    assert redis.zcard("schedule") == 0


def test_stats(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP)
    for name in ("Ok", "Ok", "Boom", "Nobody"):
        redis.lpush("queue:default", dumps(payload(name, 1)))
    running.wait(lambda: redis.get("stat:processed") == b"4", 10, "all are counted")
    day = datetime.now(UTC).date().isoformat()
    found = {key.decode(): redis.get(key) for key in redis.scan_iter("stat:*")}
    assert found == {
        "stat:processed": b"4",
        f"stat:processed:{day}": b"4",
        "stat:failed": b"2",
        f"stat:failed:{day}": b"2",
    }
    for name in ("processed", "failed"):
        assert redis.ttl(f"stat:{name}") == -1
        assert YEARS - 60 < redis.ttl(f"stat:{name}:{day}") <= YEARS


def test_processes_and_work(daemon: StartDaemon, redis: redis_py.Redis, began: float) -> None:
    running = daemon(
        APP,
        *("-c", "3", "-q", "default,2", "-q", "low,1", "--tag", "shop"),
        env={"JOBD_LABELS": "blue fast"},
    )
    gate = running.directory / "gate"
    waiting = dumps(payload("Wait", str(gate), mine="é"))
    redis.lpush("queue:default", waiting)
    identity = only_process(redis)
    (pid,) = running.workers()
    assert re.fullmatch(rf"{re.escape(socket.gethostname())}:{pid}:[0-9a-f]{{12}}", identity)

    work: dict[bytes, bytes] = running.wait(
        lambda: redis.hgetall(f"{identity}:work"), 15, "the next beat shows the running job"
    )
    assert redis.hgetall(f"{identity}:workers") == work, "under the name of old versions too"
    for key in (identity, f"{identity}:work", f"{identity}:workers"):
        assert 45 < redis.ttl(key) <= 60
    ((tid, entry),) = work.items()
    assert re.fullmatch(rb"[\w-]+", tid)
    shown = json.loads(entry)
    assert list(shown) == ["queue", "payload", "run_at"]
    assert (shown["queue"], shown["payload"]) == ("default", waiting)
    assert type(shown["run_at"]) is int
    assert int(began) <= shown["run_at"] <= time.time()

    hashed: Any = redis.hgetall(identity)
    process = {str(key, "utf-8"): str(value, "utf-8") for key, value in hashed.items()}
    sidekiqs = {"info", "concurrency", "busy", "beat", "rtt_us", "quiet", "rss"}
    assert set(process) == sidekiqs | {"coroutines", "loop_lag_us"}
    assert (process["concurrency"], process["busy"], process["quiet"]) == ("3", "1", "false")
    assert now_text(process["beat"], began)
    assert re.fullmatch(r"\d+", process["rtt_us"])
    assert 10_000 < int(process["rss"]) < 1_000_000, "kilobytes"
    info = json.loads(process["info"])
    assert process["info"] == dumps(info)
    assert now_text(text_of(process["info"], "started_at"), began)
    weights = {"default": 2, "low": 1}
    assert info == {
        "hostname": socket.gethostname(),
        "started_at": info["started_at"],
        "pid": pid,
        "tag": "shop",
        "concurrency": 3,
        "queues": ["default", "low"],
        "weights": [weights],
        "labels": ["blue", "fast"],
        "identity": identity,
        "version": f"jobd {VERSION}",
        "implementation": "jobd",
        "embedded": False,
        "capsules": {"default": {"concurrency": 3, "mode": "weighted", "weights": weights}},
    }

    # In flight, leased, and in no queue; the bytes are those that were pushed.
    assert redis.llen("queue:default") == 0
    inflight: Any = redis.hgetall(f"jobd:inflight:{identity}")
    ((tag, held),) = inflight.items()
    assert re.fullmatch(rb"\d+:default", tag)
    assert held == waiting.encode()
    lease: Any = redis.zscore("jobd:owners", identity)
    assert time.time() < lease <= time.time() + 61

    gate.touch()
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "the job is done")
    assert running.stop() == 0
    assert redis.smembers("processes") == set()
    left = {key.decode() for key in redis.scan_iter("*")}
    assert {key for key in left if identity in key} <= {identity}, "left to expire"
    # Who leads, what keepers say, and the names of the jobs that workers know, are no jobs.
    known = ("jobd:leader", "jobd:keepers", "jobd:classes")
    assert {key for key in left if key.startswith("jobd:") and not key.startswith(known)} == set()


SIGNALS: dict[str, Callable[[Daemon, redis_py.Redis, str], object]] = {
    "TSTP": lambda _running, redis, identity: redis.hget(identity, "quiet") == b"true",
    "TTIN": lambda running, redis, identity: (
        '"event":"thread_dump"' in running.log() and redis.exists(f"jobd:stacks:{identity}")
    ),
    "TERM": lambda _running, redis, identity: identity.encode() not in redis.smembers("processes"),
}


def test_the_list_of_signals(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP)
    identity = only_process(redis)
    # As Sidekiq's API does; one signal is taken a beat, the oldest first. What a signal changes
    # is told with another beat, which follows at once.
    for name in SIGNALS:
        redis.lpush(f"{identity}-signals", name)
    redis.expire(f"{identity}-signals", 60)
    for name, happened in SIGNALS.items():
        running.wait(lambda check=happened: check(running, redis, identity), 25, name)  # type: ignore[misc]
    running.wait(lambda: redis.scard("processes") == 1, 10, "the worker has been replaced")


def test_what_was_cut_short_goes_back_as_it_was(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "-c", "2", "-t", "0.2")
    pushed = [
        dumps(payload("Wait", "never") | {"jid": f"{number:024x}", "n": number})
        for number in range(5)
    ]
    redis.lpush("queue:default", *pushed)
    started = running.directory.glob
    running.wait(lambda: len(list(started("started-*"))) == 2, 10, "two of them run")
    assert running.stop() == 0
    found: Any = redis.lrange("queue:default", 0, -1)
    assert [raw.decode() for raw in reversed(found)] == pushed, "same bytes, same order"
    assert redis.zcard("retry") == 0
    # Executions that were cut short count, as they do in Sidekiq.
    assert (redis.get("stat:processed"), redis.get("stat:failed")) == (b"2", b"2")
