"""Chains and chords while workers are killed: callbacks are pushed once, every result arrives."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import redis as redis_py

from jobd import App, Workflow, WorkflowRun, chain, chord
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support.notes import noting

APP = noting("""
    def begin(milliseconds):
        notes.rpush("test:began", current_job().jid)
        time.sleep(milliseconds / 1000)

    @job(name="more")
    def more(value, milliseconds):
        begin(milliseconds)
        return value + 1

    @job(name="one")
    def one(value, milliseconds):
        begin(milliseconds)
        return value

    @job(name="total")
    def total(values, milliseconds):
        begin(milliseconds)
        return sum(values)
""")

KILLS = 12
CHAINS, STEPS = 8, 8
CHORDS, MEMBERS = 8, 12


def jobs_of(url: str) -> Any:
    app = App()
    app.configure(url)
    return SimpleNamespace(
        client=app.client,
        more=app.job(name="more")(lambda value, milliseconds: value),
        one=app.job(name="one")(lambda value, milliseconds: value),
        total=app.job(name="total")(lambda values, milliseconds: values),
    )


def test_workers_are_killed_under_chains_and_chords(
    daemon: StartDaemon, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-w", "2", "-c", "4", env={"NOTES": server.url})
    running.expect_in_log("child_died", "worker_died", "PoisonPill", "poison")
    jobs, chance = jobs_of(running.url), random.Random(7)
    wait = chance.randrange
    expected: dict[str, int] = {}
    for _ in range(CHAINS):
        steps = [jobs.more.s(wait(80)) for _ in range(STEPS - 1)]
        expected[str(chain(jobs.more.s(0, wait(80)), *steps).perform_async())] = STEPS
    for _ in range(CHORDS):
        members = [jobs.one.s(number, wait(80)) for number in range(MEMBERS)]
        ref = chord(members, jobs.total.s(wait(80))).perform_async()
        expected[str(ref)] = sum(range(MEMBERS))
    runs = [Workflow.get(ref, jobs.client) for ref in expected]
    for _ in range(KILLS):
        time.sleep(chance.uniform(0.1, 0.5))
        if workers := running.workers():
            with suppress(ProcessLookupError):
                os.kill(chance.choice(workers), signal.SIGKILL)
    for run in runs:
        _finish(run)
        assert run.result() == expected[run.id]
        summary = run.info.summary
        assert (summary.done, summary.live) == (summary.size, 0)
    assert redis.llen("queue:default") == redis.zcard("retry") == redis.zcard("schedule") == 0
    began: Any = redis.lrange("test:began", 0, -1)
    counts = Counter(began)
    assert len(counts) == CHAINS * STEPS + CHORDS * (MEMBERS + 1)
    # A step begins again only where its worker has died.
    assert sum(counts.values()) - len(counts) <= KILLS * 4


def _finish(run: WorkflowRun) -> None:
    """Wait for it; what has died in three processes is let run again."""
    for _ in range(5):
        if run.wait(timeout=120) == "done":
            return
        run.retry()
    raise AssertionError(f"{run} is {run.state}")
