"""Context, traces and parents travel from a push to its job, its retries and what it pushes."""

from __future__ import annotations

import json
import time
from contextvars import Context, ContextVar
from typing import Any

import pytest
import redis as redis_py

from jobd import App, Client, carry
from jobd.api import Api, family_of
from jobd.jobs.propagation import propagation
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

APP = """
    import asyncio, json
    from contextvars import ContextVar
    import jobd
    from jobd import Job, current_job, job
    from jobd.api import Api

    tenant = ContextVar("tenant", default="nobody")
    jobd.carry(tenant)

    def note(name):
        me = current_job()
        field = me.payload.get("jobd") or {}
        seen = [name, tenant.get(), me.traceparent, field.get("parent"), field.get("root")]
        Api().redis.rpush("seen", json.dumps(seen))

    @jobd.server_middleware.add
    def watch(job, payload, queue, call_next):
        if payload["class"] == "by_name":
            note("middleware")
        return call_next()

    @jobd.death_handlers.append
    def dead(item, error):
        note("dead")

    @job(name="by_name")
    def by_name(name="by_name"):
        note(name)

    class Klass(Job, name="Klass"):
        def perform(self):
            note("class")

    @job(name="async_one")
    async def async_one():
        await asyncio.sleep(0)
        note("async")
        tenant.set("left behind")
        by_name.set(queue="default").perform_async("of async")

    @job(name="retried", retry=1, retry_in=lambda *_: 0.01)
    def retried():
        note(f"attempt {current_job().attempt}")
        raise RuntimeError

    @job(name="put_off")
    def put_off():
        times = current_job().payload["jobd"].get("snoozes", 0)
        note(f"snoozed {times}")
        if not times:
            raise jobd.Snooze(0.01)

    @job(name="parent")
    def parent():
        note("parent")
        tenant.set("changed")
        by_name.perform_bulk([["bulk"], ["bulk"]])
        Klass.perform_in(0.01)
        async_one.perform_async()
"""

ONE_THREAD = ("-c", "1", "--poll-interval", "0.05")

tenant: ContextVar[str] = ContextVar("tenant")


@pytest.fixture(autouse=True)
def fresh() -> Any:
    propagation.reset()
    yield
    propagation.reset()


def seen(redis: Any) -> list[list[Any]]:
    return sorted(map(json.loads, redis.lrange("seen", 0, -1)), key=repr)


def push(running: Daemon, name: str, *args: Any, **fields: Any) -> str:
    jid = Client(running.url).push({"class": name, "args": list(args), **fields})
    assert jid is not None
    return jid


def push_as(running: Daemon, who: str, name: str, **fields: Any) -> str:
    def as_them() -> str:
        tenant.set(who)
        return push(running, name, **fields)

    return Context().run(as_them)


def wait_for(running: Daemon, redis: Any, count: int) -> list[list[Any]]:
    running.wait(lambda: redis.llen("seen") >= count, 20, f"{count} notes")
    running.wait(lambda: not list(redis.scan_iter("jobd:inflight:*")), 10, "all have ended")
    return seen(redis)


def test_a_value_travels_on(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, *ONE_THREAD)
    carry(tenant)
    root = push_as(running, "acme", "parent")
    notes = wait_for(running, redis, 9)
    assert ["parent", "acme", None, None, None] in notes
    pushed = [one for one in notes if one[0] != "parent"]
    assert {one[1] for one in pushed if one[0] in ("bulk", "class", "async")} == {"changed"}
    assert {one[3] for one in pushed if one[0] in ("bulk", "class", "async")} == {root}
    assert {one[4] for one in pushed} == {root}
    of_async = next(one for one in notes if one[0] == "of async")
    assert of_async[1] == "left behind"
    assert of_async[3] != root
    # Nothing leaks into the next job of the same thread.
    push(running, "by_name", "plain")
    notes = wait_for(running, redis, 11)
    assert ["plain", "nobody", None, None, None] in notes
    assert [one for one in notes if one[:2] == ["middleware", "nobody"]]


def test_retries_have_it_and_so_have_death_handlers(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, *ONE_THREAD)
    carry(tenant)
    ruby = {"cattr": {"a": 1}, "cattr_0": {"b": 2}}
    push_as(running, "acme", "retried", retry=1, traceparent=TRACE, **ruby)
    notes = wait_for(running, redis, 3)
    assert [one[:3] for one in notes] == [
        ["attempt 1", "acme", TRACE],
        ["attempt 2", "acme", TRACE],
        ["dead", "acme", TRACE],
    ]
    [dead] = Api(running.url).dead.page().entries
    assert (dead["cattr"], dead["cattr_0"]) == ({"a": 1}, {"b": 2})
    assert dead.traceparent == TRACE


def test_it_stays_through_a_snooze_and_a_retry_by_hand(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, *ONE_THREAD)
    carry(tenant)
    push_as(running, "acme", "put_off", expires_in=600, traceparent=TRACE)
    notes = wait_for(running, redis, 2)
    assert [one[:3] for one in notes] == [
        ["snoozed 0", "acme", TRACE],
        ["snoozed 1", "acme", TRACE],
    ]
    push_as(running, "acme", "retried", retry=0)
    running.wait(lambda: redis.zcard("dead") == 1, 10, "it is dead")
    assert Api(running.url).dead.retry_all() == 1
    notes = wait_for(running, redis, 6)
    assert {one[1] for one in notes} == {"acme"}


def test_a_trace_that_ruby_has_written_goes_on(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, *ONE_THREAD)
    ruby = {"class": "parent", "args": [], "jid": "r", "retry": True, "queue": "default"}
    redis.lpush("queue:default", json.dumps({**ruby, "traceparent": TRACE, "tracestate": "x=y"}))
    notes = wait_for(running, redis, 9)
    assert {one[2] for one in notes} == {TRACE}
    assert {one[4] for one in notes if one[0] != "parent"} == {"r"}


@pytest.mark.parametrize("on", [True, False])
def test_parents_are_recorded_if_that_is_set(
    on: bool, daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    app = APP.replace("jobd.carry(tenant)", "")
    running = daemon(app, *ONE_THREAD, *(["--lineage"] if on else []))
    root = push(running, "parent")
    notes = wait_for(running, redis, 9)
    assert {one[4] for one in notes if one[0] != "parent"} == ({root} if on else {None})


def test_a_variable_that_the_worker_does_not_carry(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP.replace("jobd.carry(tenant)", ""), *ONE_THREAD)
    field = {"v": 1, "context": {"tenant": "acme", "more": 1}}
    push(running, "by_name", jobd=field)
    push(running, "by_name", jobd=field)
    notes = wait_for(running, redis, 4)
    assert {one[1] for one in notes} == {"nobody"}
    told = [one["variable"] for one in running.records() if one["event"] == "context_not_carried"]
    assert sorted(told) == ["more", "tenant"]


def test_a_context_that_is_none_is_no_job(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, *ONE_THREAD)
    raw = {"class": "by_name", "args": [], "jid": "x", "jobd": {"v": 1, "context": 5}}
    redis.lpush("queue:default", json.dumps(raw))
    running.wait(lambda: redis.zcard("dead") == 1, 10, "it is dead")
    assert not seen(redis)


def test_a_family_is_found(redis: redis_py.Redis, server: Any) -> None:
    client = App().configure(server.url)
    api = Api(server.url)

    def put(jid: str, parent: str | None = None, **fields: Any) -> None:
        field = {"v": 1, "parent": parent, "root": "root-1"} if parent else {"v": 1}
        client.push({"class": jid.title(), "args": [], "jid": jid, "jobd": field, **fields})

    for number in range(2_000):
        client.push({"class": "Other", "args": [number]})
    put("root-1", at=600)
    put("middle-1", "root-1", queue="low")
    put("child-1", "middle-1")
    put("child-2", "middle-1", at=600)
    put("grandchild", "child-1")
    put("orphan", "gone-1")
    places = {found.job.jid: found.place for found in api.family("root-1")}
    assert places == {
        "root-1": "schedule",
        "child-2": "schedule",
        "middle-1": "queue:low",
        "child-1": "queue:default",
        "grandchild": "queue:default",
        "orphan": "queue:default",
    }
    jobs = {found.job.jid: found.job for found in api.family("root-1")}
    family = family_of(api, jobs["child-1"], seconds=30)
    assert [one.jid for one in family.ancestors] == ["root-1", "middle-1"]
    assert [one.jid for one in family.children] == ["grandchild"]
    assert (family.gap, family.complete) == (False, True)
    assert {one.jid for one in family_of(api, jobs["middle-1"], seconds=30).children} == {
        "child-1",
        "child-2",
    }
    family = family_of(api, jobs["orphan"], seconds=30)
    assert [(one.jid, one.name) for one in family.ancestors] == [
        ("root-1", "Root-1"),
        ("gone-1", ""),
    ]
    assert family.gap
    began = time.monotonic()
    assert not family_of(api, jobs["root-1"], seconds=0).complete
    assert time.monotonic() - began < 5
    assert family_of(api, api.queue("default").page().entries[0], seconds=30).children == ()
