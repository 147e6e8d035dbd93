"""Running jobs report how far they are; what reports nothing is noticed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextvars import Context
from typing import Any

import pytest
import redis as redis_py

from jobd import App, ArgumentError, Client, current_job
from jobd.api import Api, Work
from jobd.jobs import context
from jobd.jobs.context import CurrentJob, set_current
from jobd.store.connection import connect
from jobd.store.inflight import Claimed
from jobd.store.keys import Keys
from jobd.wire import payload
from jobd.worker.progress import TTL, Progress, Stalls, limit_of
from jobd.worker.run.pool import Working
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon
from tests.support.engine import until

APP = """
    import asyncio, time
    from pathlib import Path
    from jobd import current_job, job

    def reached(name):
        Path(name).touch()

    def wait_for(name):
        while not Path(name).exists():
            time.sleep(0.01)

    @job(name="step")
    def step(name="go", note="half way"):
        current_job().progress(0, 10)
        time.sleep(0.01)
        current_job().progress(5, 10, note)
        reached("told")
        wait_for(name)

    @job(name="step_async")
    async def step_async():
        current_job().progress(3, note="async")
        reached("told")
        while not Path("go").exists():
            await asyncio.sleep(0.01)

    @job(name="often")
    def often():
        for number in range(200_000):
            current_job().progress(number + 1, 200_000)
        reached("told")
        wait_for("go")

    @job(name="again", retry=1, retry_in=lambda *_: 0.01)
    def again():
        if current_job().attempt == 1:
            current_job().progress(9, 10)
            reached("told")
            wait_for("go")
            raise RuntimeError
        reached("second")
        wait_for("end")

    @job(name="silent", stalled_after=0.5)
    def silent():
        wait_for("report")
        current_job().progress(1)
        reached("told")
        wait_for("go")
"""


def push(running: Daemon, name: str, *args: Any, **fields: Any) -> str:
    jid = Client(running.url).push({"class": name, "args": list(args), **fields})
    assert jid is not None
    return jid


def hashes(redis: Any) -> list[bytes]:
    return list(redis.scan_iter("jobd:progress:*"))


def go(running: Daemon, name: str = "go") -> None:
    (running.directory / name).touch()


def told(running: Daemon, name: str = "told") -> None:
    running.wait(lambda: (running.directory / name).exists(), 20, f"the job has come to {name}")


def listed(running: Daemon, jid: str) -> Work:
    """The running job as the data API lists it, once its heartbeat has told of it."""
    api = Api(running.url)
    running.wait(lambda: api.work.find_work(jid) is not None, 20, "a heartbeat has listed the job")
    work = api.work.find_work(jid)
    assert work is not None
    return work


def test_it_is_shown_and_goes_when_the_job_ends(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "-c", "2")
    assert not hashes(redis)
    jid = push(running, "step")
    told(running)
    work = listed(running, jid)
    seen = work.progress
    assert seen is not None
    assert (seen.jid, seen.done, seen.total, seen.note, seen.attempt) == (jid, 5, 10, "half way", 1)
    assert seen.rate is not None
    assert seen.fraction == 0.5
    assert time.time() - 30 < seen.at <= time.time()
    assert not work.stalled(time.time() + 1e6)
    assert Api(running.url).progress(jid) == seen
    assert Api(running.url).progress("another") is None
    [key] = hashes(redis)
    assert 0 < redis.ttl(key) <= TTL
    tags: Any = redis.hkeys(key)
    assert [tag.partition(b":")[2] for tag in tags] == [b"default"]
    go(running)
    running.wait(lambda: not hashes(redis), 10, "the report is gone")


def test_coroutines_report_too(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "-c", "2")
    jid = push(running, "step_async")
    told(running)
    seen = listed(running, jid).progress
    assert seen is not None
    assert (seen.done, seen.total, seen.note, seen.rate) == (3, None, "async", None)
    go(running)


def test_all_jobs_of_a_worker_in_two_commands_a_second(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-c", "4")
    redis.config_resetstat()
    began = time.monotonic()
    for _ in range(4):
        push(running, "often")
    told(running)
    took = time.monotonic() - began
    running.wait(lambda: [len(redis.hkeys(key)) for key in hashes(redis)] == [4], 30, "all told")
    written = redis.info("commandstats").get("cmdstat_hset", {}).get("calls", 0)
    # Each write of progress is one HSET for each job that has reported.
    assert written <= 4 * (2 * (took + 30) + 4) + 40
    go(running)


def test_a_retry_starts_without_any(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "-c", "1", "--poll-interval", "0.05")
    jid = push(running, "again")
    told(running)
    running.wait(lambda: bool(hashes(redis)), 10, "it is written")
    go(running)
    told(running, "second")
    running.wait(lambda: not hashes(redis), 10, "the report is gone")
    assert listed(running, jid).progress is None
    go(running, "end")


def test_a_killed_worker_leaves_none(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "-c", "1")
    push(running, "step")
    running.wait(lambda: bool(hashes(redis)), 10, "it is written")
    before = hashes(redis)
    [worker] = running.workers()
    os.kill(worker, signal.SIGKILL)
    running.wait(lambda: not set(before) & set(hashes(redis)), 20, "its reports are gone")
    go(running)


def test_a_stop_leaves_none(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "-c", "1", "-t", "0")
    push(running, "step")
    running.wait(lambda: bool(hashes(redis)), 10, "it is written")
    running.stop()
    assert not hashes(redis)


def test_a_stall_is_logged_once_each_time(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "-c", "1")

    def stalls() -> list[dict[str, Any]]:
        return [one for one in running.records() if one["event"] == "job_stalled"]

    jid = push(running, "silent", stalled_after=0.5)
    running.wait(lambda: len(stalls()) == 1, 20, "the first stall is logged")
    work = listed(running, jid)
    assert work.stalled(time.time())
    assert not work.stalled(work.run_at + 0.4)
    go(running, "report")
    told(running)
    running.wait(lambda: len(stalls()) == 2, 20, "the second one")
    assert {(one["jid"], one["class"], one["stalled_after"]) for one in stalls()} == {
        (jid, "silent", 0.5)
    }
    assert stalls()[0]["seconds"] > 0.5
    go(running)


# -- in this process ---------------------------------------------------------------------------

IDENTITY = "host:1:progress"
KEYS = Keys()


class Running:
    """Running jobs of a worker that is not there."""

    def __init__(self, url: str, redis: Any) -> None:
        self.redis = redis
        self.works: list[Working] = []
        self.client = connect(url)
        self.progress = Progress(self.client, KEYS, IDENTITY, lambda: self.works)
        self.stalls = Stalls(self.progress.last)

    def start(self, sequence: int, ago: float = 0.0, **fields: Any) -> CurrentJob:
        """Claim and start a job."""
        raw = payload.encode({"class": "A", "args": [], "jid": f"jid-{sequence}", **fields})
        claimed = Claimed(sequence, "default", raw)
        self.redis.hset(KEYS.inflight(IDENTITY), claimed.tag, raw)
        began = time.monotonic_ns() - int(ago * 1e9)
        self.works.append(Working(f"job-{sequence}", claimed, began))
        return CurrentJob(payload.parse(raw), raw, "default", None)

    def tags(self) -> list[bytes]:
        return sorted(self.redis.hkeys(KEYS.progress(IDENTITY)))


@pytest.fixture
def running(server: Any, redis: redis_py.Redis, monkeypatch: Any) -> Iterator[Running]:
    made = Running(server.url, redis)
    monkeypatch.setattr(context, "on_progress", made.progress.report)
    yield made
    made.works.clear()
    made.progress.leave(10)
    assert not made.progress.is_alive()
    made.client.close()


def test_the_late_report_of_a_lost_job_does_nothing(running: Running) -> None:
    mine, lost = running.start(1), running.start(2)
    mine.progress(1)
    until(lambda: running.tags() == [b"1:default"], "it is written")
    running.redis.hdel(KEYS.inflight(IDENTITY), "2:default")
    lost.progress(5)
    mine.progress(2)
    until(
        lambda: b'"done":2' in running.redis.hget(KEYS.progress(IDENTITY), "1:default"),
        "the next one is written",
    )
    assert running.tags() == [b"1:default"]
    running.redis.delete(KEYS.inflight(IDENTITY))
    mine.progress(3)
    until(lambda: not running.tags(), "it is no longer ours")


def test_a_job_that_has_ended_is_removed_and_its_reports_are_ignored(running: Running) -> None:
    one, two = running.start(1), running.start(2)
    one.progress(1)
    two.progress(1)
    until(lambda: len(running.tags()) == 2, "both are written")
    running.works.pop()
    until(lambda: running.tags() == [b"1:default"], "one is left")
    two.progress(2)
    one.progress(2)
    until(
        lambda: b'"done":2' in running.redis.hget(KEYS.progress(IDENTITY), "1:default"),
        "the next one is written",
    )
    assert running.tags() == [b"1:default"]


def test_it_is_started_by_the_first_report(running: Running) -> None:
    assert running.progress.ident is None
    running.start(1)
    assert "progress" not in {thread.name for thread in threading.enumerate()}


def test_redis_may_be_away(running: Running) -> None:
    job = running.start(1)
    running.redis.set(KEYS.progress(IDENTITY), "of another type")
    job.progress(1)
    until(lambda: bool(running.progress.outage), "the write has failed")
    job.progress(2)
    running.redis.delete(KEYS.progress(IDENTITY))
    until(lambda: running.tags() == [b"1:default"], "it is written when that is over")


def test_stalls(running: Running, caplog: Any) -> None:
    job = running.start(1, ago=10.0, stalled_after=2)
    running.start(2, ago=10.0)
    seen: list[str] = []
    running.stalls._log = type(
        "Log", (), {"warning": lambda _, event, **f: seen.append(f["jid"])}
    )()
    for _ in range(3):
        running.stalls.look(running.works)
    assert seen == ["jid-1"]
    job.progress(1)
    until(lambda: running.progress.last("1:default") is not None, "it is written")
    running.stalls.look(running.works)
    assert seen == ["jid-1"]
    running.works.clear()
    running.stalls.look(running.works)
    assert not running.stalls._limits
    assert not running.stalls._logged


@pytest.mark.parametrize(
    "raw",
    [
        b'{"class":"A"}',
        b'{"stalled_after":null}',
        b'{"stalled_after":"x"}',
        b'{"stalled_after":-1}',
        b'{"args":["\\"stalled_after\\""]}',
        b'"stalled_after"',
    ],
)
def test_no_limit(raw: bytes) -> None:
    assert limit_of(raw) is None


def test_in_place() -> None:
    app = App()

    @app.job(name="inline", stalled_after=5)
    def inline() -> Any:
        me = current_job()
        assert me.reported is None
        me.progress(1, 2, "x")
        me.progress(2, 2)
        with pytest.raises(ArgumentError):
            me.progress(-1)
        with pytest.raises(ArgumentError):
            me.progress(1, float("nan"))
        return me.reported

    seen = inline.perform_inline()
    assert (seen.done, seen.total, seen.note, seen.first_done) == (2, 2, "", 1)


def test_plain_jobs_have_nothing_of_it() -> None:
    raw = b'{"class":"A","args":[],"jid":"x"}'
    job = CurrentJob(payload.parse(raw), raw, "default", None)
    assert not hasattr(job, "_report")
    assert not hasattr(job, "_first")

    def inside() -> None:
        set_current(job)
        assert current_job().reported is None

    Context().run(inside)
