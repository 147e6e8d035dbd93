"""Workflows with a real daemon: chains, chords, failures, a worker that dies, a full server."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
import redis as redis_py

import jobd
from jobd import App, Workflow, chain, chord, group
from jobd.errors import RefusedError
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon

DAEMON = """
    import os, signal, time
    from pathlib import Path
    from jobd import current_step, group, job

    def note(text):
        with Path("ran").open("a") as file:
            file.write(text + "\\n")

    @job(name="add")
    def add(a, b=1):
        note(f"add {a} {b}")
        return a + b

    @job(name="aadd")
    async def aadd(a, b=1):
        note(f"aadd {a} {b}")
        return a + b

    @job(name="total")
    def total(values):
        note(f"total {len(values)}")
        return sum(values)

    @job(name="nothing")
    def nothing():
        pass

    @job(name="fails", retry=0)
    def fails(value=None):
        if not Path("fixed").exists():
            raise ValueError("not fixed yet")
        return value

    @job(name="dies")
    def dies(value):
        note("dies")
        if Path("ran").read_text().count("dies") == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return value + 1

    @job(name="waits")
    def waits():
        note("waits")
        while True:
            time.sleep(0.01)

    @job(name="spread")
    def spread(count):
        current_step().add(group(add.s(number) for number in range(count)))
"""


def jobs_of(url: str) -> Any:
    """The jobs of the daemon, for pushes from here."""
    app = App()
    app.configure(url)

    def job(name: str, function: Any, **options: Any) -> Any:
        return app.job(name=name, **options)(function)

    return SimpleNamespace(
        client=app.client,
        add=job("add", lambda a, b=1: None),
        aadd=job("aadd", lambda a, b=1: None),
        total=job("total", lambda values: None),
        nothing=job("nothing", lambda: None),
        fails=job("fails", lambda value=None: None, retry=0),
        dies=job("dies", lambda value: None),
        waits=job("waits", lambda: None),
        spread=job("spread", lambda count: None),
        gone=job("gone", lambda: None, retry=0),
    )


def run_of(made: Any, ref: str | None) -> jobd.WorkflowRun:
    assert ref is not None
    return Workflow.get(ref, made.client)


def test_chains_and_chords_of_both_kinds_of_jobs(daemon: StartDaemon) -> None:
    running = daemon(DAEMON)
    made = jobs_of(running.url)
    flow = chain(
        made.add.s(1),
        made.aadd.s(2),
        group(made.add.s(n) if n % 2 else made.aadd.s(n) for n in range(200)),
        made.total.s(),
        made.aadd.s(1),
    )
    run = run_of(made, flow.perform_async())
    assert run.wait(timeout=60) == "done"
    assert run.result() == sum(4 + n for n in range(200)) + 1
    assert run.info.summary.done == run.info.summary.size == 204

    async def work() -> Any:
        ref = await chord([made.aadd.s(1), made.add.s(2)], made.total.s()).aperform_async()
        other = run_of(made, ref)
        assert await other == "done"
        return other.result()

    assert asyncio.run(work()) == 5


def test_a_step_whose_worker_dies_runs_again_and_the_chain_goes_on(daemon: StartDaemon) -> None:
    running = daemon(DAEMON)
    running.expect_in_log("worker_died")
    made = jobs_of(running.url)
    run = run_of(made, chain(made.add.s(1), made.dies.s(), made.add.s(1)).perform_async())
    assert run.wait(timeout=60) == "done"
    assert run.result() == 4
    assert (running.directory / "ran").read_text().split("\n")[:-1] == [
        *("add 1 1", "dies", "dies", "add 3 1")
    ]


def test_a_chord_whose_member_dies_goes_on_after_a_retry(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(DAEMON)
    running.expect_in_log("ValueError")
    made = jobs_of(running.url)
    run = run_of(made, chord([made.add.s(1), made.fails.s(5)], made.total.s()).perform_async())
    assert run.wait(timeout=30) == "failed"
    assert [one.state for one in run.info.steps] == ["done", "failed", "blocked"]
    assert redis.zcard("dead") == 1
    (running.directory / "fixed").touch()
    assert run.retry() == 1
    assert redis.zcard("dead") == 0
    assert run.wait(timeout=30) == "done"
    assert run.result() == 7


def test_a_step_whose_class_does_not_exist_fails_and_says_so(daemon: StartDaemon) -> None:
    running = daemon(DAEMON)
    running.expect_in_log("UnknownJobError")
    made = jobs_of(running.url)
    run = run_of(made, chain(made.gone.s(), made.add.s(1)).perform_async())
    assert run.wait(timeout=30) == "failed"
    assert "UnknownJobError" in run.info.steps[0].error


def test_cancelling_interrupts_what_runs(daemon: StartDaemon) -> None:
    running = daemon(DAEMON)
    made = jobs_of(running.url)
    run = run_of(made, group(made.waits.s(), made.waits.s()).perform_async())
    running.wait(lambda: (running.directory / "ran").exists(), 20, "a step runs")
    assert run.cancel()
    assert run.wait(timeout=30) == "cancelled"


def test_a_wide_fan_that_a_step_adds(daemon: StartDaemon) -> None:
    running = daemon(DAEMON)
    made = jobs_of(running.url)
    run = run_of(made, chain(made.spread.s(300), made.nothing.si()).perform_async())
    assert run.wait(timeout=60) == "done"
    assert run.info.summary.done == 302


def test_a_full_server_refuses_the_whole_push(server: EmbeddedServer) -> None:
    client = redis_py.Redis.from_url(server.url)
    client.flushall()
    made = jobs_of(server.url)
    small = chain(made.add.s(1), made.add.s(2))
    large = group(made.add.s("x" * 10_000) for _ in range(300))
    used = int(client.info("memory")["used_memory"])
    try:
        for flow, limit in ((small, 1), (large, used + 1_500_000)):
            client.config_set("maxmemory", limit)
            with pytest.raises(RefusedError, match="maxmemory"):
                flow.perform_async()
            client.config_set("maxmemory", 0)
            kept = {key for key in client.scan_iter() if not key.startswith(b"jobd:staged:")}
            assert kept == set()
        staged: Any = [client.ttl(key) for key in client.scan_iter("jobd:staged:*")]
        assert all(0 < seconds <= 3600 for seconds in staged)
    finally:
        client.config_set("maxmemory", 0)
    run = run_of(made, large.perform_async())
    assert client.llen("queue:default") == 300
    assert run.info.summary.size == 300


def test_a_full_server_lets_what_was_pushed_go_on(server: EmbeddedServer) -> None:
    from jobd.store import scripts

    client = redis_py.Redis.from_url(server.url)
    client.flushall()
    made = jobs_of(server.url)
    run = run_of(made, chain(made.nothing.s(), made.nothing.si()).perform_async())
    raw: Any = client.rpop("queue:default")
    client.hset("jobd:inflight:x", "1:default", raw)
    try:
        client.config_set("maxmemory", 1)
        places = ["jobd:inflight:x", "queues", "stat:processed", "stat:processed:2026-11-30"]
        assert scripts.END(client, places, [60, "done", "1:default", b""]) == 1
        assert client.llen("queue:default") == 1
        assert [one.state for one in run.info.steps] == ["done", "pushed"]
    finally:
        client.config_set("maxmemory", 0)
