"""Results of jobs: what is kept, what is raised, and waiting for it."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py

import jobd
from jobd import Client, Result
from jobd.api import Api
from jobd.features.results import listener
from jobd.runtime.process import forks
from jobd.store.keys import Keys
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon, wait

DAEMON = """
    import time
    from pathlib import Path
    import jobd
    from jobd import error_handlers, job, server_middleware

    @job(name="add")
    def add(a, b):
        return a + b

    @job(name="add_async")
    async def add_async(a, b):
        return {"sum": a + b}

    @job(name="fails")
    def fails(text):
        raise ValueError(text)

    @job(name="odd")
    def odd(kind):
        if kind == "object":
            return object()
        return {"large": "x" * 2_000_000, "none": None, "list": [1, {"a": 2.5}]}[kind]

    @job(name="held")
    def held():
        while not Path("go").exists():
            time.sleep(0.01)
        return "went"

    @job(name="waits")
    def waits(jid):
        return jobd.Result(jid).get(timeout=5)

    @error_handlers.append
    def tell(error, about):
        Path("told").write_text(f"{type(error).__name__} {about.get('context')}")
"""


def push(running: Daemon, name: str, *args: Any, **fields: Any) -> Result:
    client = Client(running.url)
    item = {"class": name, "args": list(args), "keep_result": 60, **fields}
    jid = client.push(item)
    assert jid is not None
    return Result(jid, client)


def test_a_result_comes_back(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(DAEMON)
    result = push(running, "add", 1, 2)
    assert result.get(timeout=10) == 3
    assert result.get(timeout=0) == 3, "reading does not consume it"
    assert push(running, "add_async", 1, 2).get(timeout=10) == {"sum": 3}
    assert push(running, "odd", "list").get(timeout=10) == [1, {"a": 2.5}]
    assert push(running, "odd", "none").get(timeout=10) is None
    key = f"jobd:result:{result.jid}"
    left: Any = redis.ttl(key)
    assert 50 < left <= 60
    size: Any = redis.memory_usage(key)
    assert size < 150 + 2 * len(key)
    info = result.info
    assert info.state == result.state == "done"
    assert info.created_at is not None
    assert info.enqueued_at is not None
    assert info.ended_at is not None
    assert info.created_at <= info.enqueued_at + 1e-3 <= info.ended_at + 2e-3


def test_middleware_does_not_change_the_result(daemon: StartDaemon) -> None:
    running = daemon(
        DAEMON
        + """
    @server_middleware.add
    def around(job, payload, queue, call_next):
        call_next()
        return "of the middleware"
    """
    )
    assert push(running, "add", 2, 2).get(timeout=10) == 4


def test_what_keeps_no_result_stores_none(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(DAEMON)
    client = Client(running.url)
    jid = client.push({"class": "add", "args": [1, 2]})
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "it has run")
    assert not list(redis.scan_iter("jobd:result:*"))
    assert not redis.exists("jobd:departed")
    with pytest.raises(jobd.JobNotFoundError, match="keep_result"):
        Result(str(jid), client).get(timeout=5)
    with pytest.raises(jobd.JobNotFoundError):
        _ = Result("never", client).state


def test_a_failure_is_raised_with_its_traceback(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(DAEMON)
    running.expect_in_log("ValueError")
    for retry in (0, False):
        result = push(running, "fails", "too bad", retry=retry)
        with pytest.raises(jobd.JobFailedError) as raised:
            result.get(timeout=10)
        error = raised.value
        assert (error.jid, error.error_class, error.message) == (
            *(result.jid, "ValueError", "too bad"),
        )
        assert "in fails" in error.traceback
        assert result.info.error == "ValueError: too bad"
    assert redis.zcard("dead") == 1


def test_a_failure_that_will_be_retried_is_no_result_yet(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(DAEMON)
    running.expect_in_log("ValueError")
    result = push(running, "fails", "once", retry=1)
    running.wait(lambda: redis.zcard("retry") == 1, 10, "it waits for its retry")
    assert result.state == "retrying"
    with pytest.raises(jobd.ResultTimeoutError):
        result.get(timeout=0.05)
    api = Api(redis)
    api.retries.kill(*api.retries.page(), notify_failure=False)
    with pytest.raises(jobd.JobFailedError, match="ValueError: once"):
        result.get(timeout=10)
    assert api.dead.retry(*api.dead.page()) == 1
    running.wait(lambda: result.state != "failed", 5, "it is awaited again")


@pytest.mark.parametrize(
    ("kind", "says"), [("object", "object"), ("large", "at most 1,048,576 are kept")]
)
def test_a_result_that_cannot_be_kept_is_no_failure_of_the_job(
    daemon: StartDaemon, redis: redis_py.Redis, kind: str, says: str
) -> None:
    running = daemon(DAEMON)
    result = push(running, "odd", kind)
    with pytest.raises(jobd.ResultNotKeptError, match=says):
        result.get(timeout=10)
    assert result.state == "done"
    assert redis.get("stat:failed") is None
    told = (running.directory / "told").read_text()
    assert told == "ArgumentError Result not kept"


def test_the_states_of_a_job(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(DAEMON)
    redis.sadd("paused", "default")
    result = push(running, "held")
    assert result.state == "queued"
    assert push(running, "add", 1, 1, at=time.time() + 60).state == "scheduled"
    late = push(running, "add", 1, 1, expires_in=0.001)
    redis.srem("paused", "default")
    running.wait(lambda: result.state == "running", 10, "it runs")
    (running.directory / "go").touch()
    assert result.get(timeout=10) == "went"
    with pytest.raises(jobd.JobExpiredError):
        late.get(timeout=10)
    Api(redis).scheduled.delete(*Api(redis).scheduled.page())
    keys: list[bytes] = list(redis.scan_iter("jobd:result:*"))
    assert sorted(map(str, (redis.hget(key, "state") for key in keys))) == [
        *("b'cancelled'", "b'done'", "b'expired'")
    ]


def test_a_job_does_not_wait_for_another_one_by_mistake(daemon: StartDaemon) -> None:
    running = daemon(DAEMON)
    running.expect_in_log("allow_in_job")
    other = push(running, "add", 1, 2)
    with pytest.raises(jobd.JobFailedError, match="occupies its thread"):
        push(running, "waits", other.jid, retry=0).get(timeout=10)


# -- waiting -------------------------------------------------------------------------------------


def finish(redis: redis_py.Redis, jid: str, value: object, *, tell: bool = True) -> None:
    key = f"jobd:result:{jid}"
    detail = json.dumps({"value": value})
    redis.hset(key, mapping={"state": "done", "detail": detail, "at": "1.5"})
    if tell:
        redis.publish(key, f"done {detail}")


@pytest.fixture
def client(server: EmbeddedServer, redis: redis_py.Redis) -> Client:
    return Client(server.url)


def awaited(client: Client) -> Result:
    jid = client.push({"class": "nobody", "args": [], "keep_result": 60})
    return Result(str(jid), client)


def in_threads(results: list[Result], timeout: float) -> tuple[list[Any], Callable[[], None]]:
    """What threads that wait for these find; call the second to join them."""
    found: list[Any] = [None] * len(results)

    def get(number: int) -> None:
        try:
            found[number] = results[number].get(timeout)
        except jobd.JobdError as error:
            found[number] = error

    threads = [threading.Thread(target=get, args=[number]) for number in range(len(results))]
    for thread in threads:
        thread.start()

    def join() -> None:
        for thread in threads:
            thread.join(30)

    return found, join


def subscribers(redis: redis_py.Redis) -> list[Any]:
    return [one for one in redis.client_list() if int(one["sub"]) > 0]


def test_many_who_wait_share_one_connection(client: Client, redis: redis_py.Redis) -> None:
    results = [awaited(client) for _ in range(40)]
    found, join = in_threads(results, 20)
    wait(lambda: [int(one["sub"]) for one in subscribers(redis)] == [40], 10, "all listen")
    redis.config_resetstat()
    for number, result in enumerate(results):
        finish(redis, result.jid, number)
    join()
    assert found == list(range(40))
    commands: Any = redis.info("commandstats")
    assert commands.get("cmdstat_hmget", {}).get("calls", 0) == 0, "the message says it all"


def test_nobody_waits_and_nothing_is_connected(
    client: Client, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "LINGER", 0.1)
    result = awaited(client)
    with pytest.raises(jobd.ResultTimeoutError):
        result.get(timeout=0.05)
    wait(lambda: not subscribers(redis), 10, "the connection is closed")
    wait(lambda: "jobd-results" not in map(repr_name, threading.enumerate()), 10, "no thread")
    found, join = in_threads([result], 10)
    wait(lambda: subscribers(redis), 10, "and it listens again")
    finish(redis, result.jid, "again")
    join()
    assert found == ["again"]


def repr_name(thread: threading.Thread) -> str:
    return thread.name


def test_waiting_survives_a_lost_connection(client: Client, redis: redis_py.Redis) -> None:
    result = awaited(client)
    found, join = in_threads([result], 20)
    channel = Keys("").result(result.jid)
    wait(lambda: redis.pubsub_numsub(channel) == [(channel.encode(), 1)], 10, "it listens")
    for one in subscribers(redis):  # those of tests before may not have ended yet
        redis.client_kill_filter(_id=one["id"])
    finish(redis, result.jid, 7, tell=False)  # nobody has heard it
    join()
    assert found == [7]


@pytest.mark.parametrize("deleted", [False, True])
def test_a_lost_message_only_delays(
    client: Client, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch, deleted: bool
) -> None:
    monkeypatch.setattr(listener, "READ_AGAIN", 0.2)
    result = awaited(client)
    found, join = in_threads([result], 20)
    wait(lambda: subscribers(redis), 10, "it listens")
    if deleted:
        redis.delete(f"jobd:result:{result.jid}")
    else:
        finish(redis, result.jid, 8, tell=False)
    join()
    if deleted:
        assert isinstance(found[0], jobd.JobNotFoundError)
    else:
        assert found == [8]


def test_without_the_permission_to_subscribe_it_polls(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    redis.acl_setuser(
        "deaf", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all"], channels=[]
    )
    try:
        limited = redis_py.Redis(
            unix_socket_path=redis.connection_pool.connection_kwargs["path"],
            username="deaf",
            password="pw",
        )
        result = awaited(Client(redis=limited))
        found, join = in_threads([result], 20)
        finish(redis, result.jid, 9, tell=False)
        join()
        assert found == [9]
    finally:
        redis.acl_deluser("deaf")


def test_awaiting_does_not_hold_up_the_loop(client: Client, redis: redis_py.Redis) -> None:
    async def main() -> tuple[list[Any], int]:
        results = [awaited(client) for _ in range(30)]
        tasks = [asyncio.create_task(result.aget(timeout=20)) for result in results]
        turns = 0
        while len(subscribers(redis)) != 1 or int(subscribers(redis)[0]["sub"]) != 30:
            await asyncio.sleep(0.005)
            turns += 1
        for number, result in enumerate(results):
            finish(redis, result.jid, number)
        found = await asyncio.gather(*tasks)
        with pytest.raises(jobd.ResultTimeoutError):
            await awaited(client).aget(timeout=0.05)
        return list(found), turns

    found, turns = asyncio.run(main())
    assert found == list(range(30))
    assert turns > 0


def test_a_forked_process_waits_for_itself(client: Client, redis: redis_py.Redis) -> None:
    first, second = awaited(client), awaited(client)
    found, join = in_threads([first], 20)
    wait(lambda: len(subscribers(redis)) == 1, 10, "the parent listens")
    pid = os.fork()
    if not pid:
        try:
            os._exit(0 if second.get(timeout=20) == "child" else 1)
        except BaseException:  # noqa: BLE001 - its exit code tells
            os._exit(2)
    wait(lambda: len(subscribers(redis)) == 2, 10, "so does the child")
    finish(redis, second.jid, "child")
    finish(redis, first.jid, "parent")
    join()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert found == ["parent"]


def test_the_data_api_tells_results(client: Client, redis: redis_py.Redis) -> None:
    jid = awaited(client).jid
    api = Api(redis)
    assert api.result(jid).info.state == "queued"
    finish(redis, jid, [1])
    found = api.result(jid)
    assert (found.info.state, found.value) == ("done", [1])
    with pytest.raises(KeyError):
        api.result("never")


def test_listening_again_and_again_leaves_nothing(
    client: Client, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "LINGER", 0.0)
    monkeypatch.setattr(listener, "PAUSE", 0.01)
    gc.collect()
    before = len(forks._to_give_up_if_alive)
    for _ in range(5):
        result = awaited(client)
        found, join = in_threads([result], 10)
        wait(lambda: subscribers(redis), 10, "it listens")
        finish(redis, result.jid, 1)
        join()
        assert found == [1]
        wait(lambda: not subscribers(redis), 10, "it has ended")
    gc.collect()
    assert len(forks._to_give_up_if_alive) <= before + 1


def test_a_thread_that_cannot_be_started_is_tried_again(
    client: Client, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = awaited(client)
    with monkeypatch.context() as patch:

        def refuse(_thread: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            result.get(timeout=1)
    found, join = in_threads([result], 20)
    wait(lambda: subscribers(redis), 10, "it listens")
    finish(redis, result.jid, 2)
    join()
    assert found == [2]


def test_a_client_that_decodes_is_refused_in_time(server: EmbeddedServer) -> None:
    with redis_py.Redis.from_url(server.url, decode_responses=True) as decoding:
        client = Client(redis=decoding)
        jid = client.push({"class": "any", "args": [], "keep_result": 60})
        assert jid is not None
        with pytest.raises(jobd.ArgumentError, match="Result needs a client of Redis without"):
            Result(jid, client)
