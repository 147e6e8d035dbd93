"""Cancelling jobs: where they wait, while they run, and whatever happens to their worker."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

import jobd
from jobd import Client, JobCancelled
from jobd.api import Api
from jobd.api.features.cancellation import Cancelling
from jobd.errors import ArgumentError
from jobd.jobs.app import App
from jobd.store import scripts
from jobd.store.keys import Keys
from jobd.testing import EmbeddedServer
from jobd.worker.run import cancelling, interrupts
from jobd.worker.run.cancelling import Threads
from tests.conftest import StartDaemon
from tests.support import forkserver
from tests.support.daemon import Daemon, environment
from tests.support.engine import engine, failed, payload, processed, push, settled, until

KEYS = Keys()
AT_ONCE = 3.0
"""Seconds; far below a heartbeat."""

APP = """
    import asyncio, time
    from pathlib import Path
    import jobd
    from jobd import current_job, job

    def note(name, text=""):
        Path(name + ".new").write_text(str(text))
        Path(name + ".new").rename(name)

    def told(payload):
        note("told-" + payload["jid"], time.monotonic())

    @jobd.cancel_handlers.append
    def all_told(payload):
        note("all-told-" + payload["jid"])

    jobd.death_handlers.append(lambda payload, error: note("died-" + payload["jid"]))

    def busy(seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not Path("go").exists():
            time.sleep(0.001)

    @job(name="plain", on_cancel=told)
    def plain():
        jid = current_job().jid
        note("started-" + jid)
        try:
            busy()
        except jobd.JobCancelled:
            note("raised-" + jid, time.monotonic())
            raise

    @job(name="limited", timeout=50)
    def limited():
        plain()

    @job(name="coroutine", on_cancel=told)
    async def coroutine():
        jid = current_job().jid
        note("started-" + jid)
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            note("raised-" + jid, time.monotonic())

    @job(name="shielded")
    def shielded():
        jid = current_job().jid
        def charge():
            with jobd.shield(), jobd.shield():
                note("started-" + jid)
                while not current_job().cancelled:
                    time.sleep(0.001)
                busy(0.3)
                note("charged-" + jid)
                return True
        if charge():
            note("went-on-" + jid)

    @job(name="deaf", cancellable=False)
    def deaf():
        jid = current_job().jid
        note("started-" + jid)
        while not current_job().cancelled:
            time.sleep(0.001)
        note("saw-" + jid)
        busy()

    @job(name="fails_then", cancellable=False)
    def fails_then():
        note("started-" + current_job().jid)
        busy()
        raise ValueError("on its own")

    @job(name="swallows")
    def swallows():
        jid = current_job().jid
        note("started-" + jid)
        try:
            busy()
        except BaseException:
            note("raised-" + jid, time.monotonic())

    @job(name="blocks")
    async def blocks():
        note("started-" + current_job().jid)
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                pass

    @job(name="sleeps")
    def sleeps():
        note("started-" + current_job().jid)
        time.sleep(600)  # one call into C
"""


def started(running: Daemon, jid: str) -> None:
    running.wait((running.directory / f"started-{jid}").exists, 10, f"{jid} runs")


def there(running: Daemon, name: str) -> Path:
    file = running.directory / name
    running.wait(file.exists, 10, name)
    return file


def run(running: Daemon, name: str, **fields: Any) -> str:
    """Push a job, and wait until it runs; returns its id."""
    jid = Client(running.url).push({"class": name, "args": [], **fields})
    assert jid is not None
    started(running, jid)
    return jid


def cancelled(redis: redis_py.Redis) -> int:
    value: Any = redis.get(KEYS.cancelled)
    return int(value or 0)


def nowhere(redis: redis_py.Redis) -> bool:
    """Whether no job is anywhere."""
    places = [KEYS.retry, KEYS.schedule, KEYS.dead, KEYS.queue("default")]
    return not redis.exists(*places) and not list(redis.scan_iter("jobd:inflight:*"))


def log_of(running: Daemon, event: str) -> list[dict[str, Any]]:
    return [one for one in running.records() if one["event"] == event]


# -- jobs that run -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "limited", "coroutine"])
def test_a_running_job_is_interrupted_at_once_and_ends_as_cancelled(
    daemon: StartDaemon, redis: redis_py.Redis, name: str
) -> None:
    running = daemon(APP, "-c", "2")
    api = Api(redis).acting_as("alice")
    took = []
    for _ in range(3):
        jid = run(running, name)
        at = time.monotonic()
        assert jobd.cancel(jid, api=api) == "cancelling"
        took.append(float(there(running, f"raised-{jid}").read_text()) - at)
        if name != "limited":
            there(running, f"told-{jid}")
        there(running, f"all-told-{jid}")
    assert min(took) < AT_ONCE, took
    running.wait(lambda: nowhere(redis), 10, "they have ended")
    assert cancelled(redis) == 3
    assert redis.get("stat:processed") is redis.get("stat:failed") is None
    assert not list(running.directory.glob("died-*"))
    entry = api.audit.page(5)[0]
    assert (entry.who, entry.action, entry.jobs) == ("alice", "cancel", 1)
    running.wait_for_log('"event":"job_cancelled"')
    assert {one["outcome"] for one in log_of(running, "job_cancelled")} == {"cancelled"}
    running.wait(lambda: not list(redis.scan_iter("jobd:cancels:*")), 15, "no request is left")


def test_what_must_not_be_cut_is_not(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "-c", "2")
    api = Api(redis)
    jid = run(running, "shielded")
    assert jobd.cancel(jid, api=api) == "cancelling"
    there(running, f"charged-{jid}")
    running.wait(lambda: cancelled(redis) == 1, 10, "it is cancelled when it leaves the shield")
    assert not (running.directory / f"went-on-{jid}").exists()
    jid = run(running, "deaf")
    assert jobd.cancel(jid, api=api) == "cancelling"
    there(running, f"saw-{jid}")
    (running.directory / "go").touch()
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "one that returns is done")
    assert cancelled(redis) == 1


def test_one_that_fails_on_its_own_is_not_tried_again(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP)
    jid = run(running, "fails_then")
    assert jobd.cancel(jid, api=Api(redis)) == "cancelling"
    assert jobd.cancel(jid, api=Api(redis)) == "cancelling", "twice is once"
    (running.directory / "go").touch()
    running.wait(lambda: cancelled(redis) == 1, 10, "it is cancelled")
    assert nowhere(redis)
    assert cancelled(redis) == 1


def test_a_job_that_swallows_it_and_returns_is_done(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP)
    jid = run(running, "swallows")
    assert jobd.cancel(jid, api=Api(redis)) == "cancelling"
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "it is done")
    assert cancelled(redis) == 0
    assert jobd.cancel(jid, api=Api(redis)) == "unknown"
    jid = run(running, "plain")
    assert jobd.cancel(jid, api=Api(redis)) == "cancelling", "its thread works on"
    running.wait(lambda: cancelled(redis) == 1, 10, "it is cancelled")


def test_a_quiet_worker_obeys(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "-c", "1")
    jid = run(running, "plain")
    assert running.jobctl("quiet").returncode == 0
    assert jobd.cancel(jid, api=Api(redis)) == "cancelling"
    running.wait(lambda: cancelled(redis) == 1, AT_ONCE, "it is cancelled")


@pytest.mark.parametrize("name", ["sleeps", "blocks"])
def test_force_ends_one_that_goes_on_with_its_process(
    daemon: StartDaemon, redis: redis_py.Redis, name: str
) -> None:
    running = daemon(APP, "--job-kill-grace", "1")
    [worker] = running.workers()
    jid, other = run(running, name), run(running, "plain")
    api = Api(redis)
    assert jobd.cancel(jid, api=api) == "cancelling"
    time.sleep(1.5)
    assert not log_of(running, "job_overdue"), "nothing is forced yet"
    assert jobd.cancel(jid, force=True, api=api) == "cancelling"
    assert jobd.cancel(jid, api=api) == "cancelling", "that takes nothing back"
    running.wait(lambda: log_of(running, "job_overdue"), 20, "its time is over")
    assert log_of(running, "job_overdue")[0]["cause"] == "cancellation"
    running.wait(lambda: len(log_of(running, "worker_ready")) == 2, 20, "another one takes over")
    assert not (running.directory / f"raised-{other}").exists(), "the others go on"
    (running.directory / "go").touch()
    running.wait(lambda: redis.get("stat:processed") == b"1", 20, "the other job is done")
    running.wait(lambda: cancelled(redis) == 1, 20, "it is cancelled")
    running.wait(lambda: nowhere(redis), 10, "no job is left")
    running.wait(lambda: worker not in running.workers(), 10, "the old one has exited")


def test_force_by_jobctl(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "--job-kill-grace", "1")
    jid = run(running, "sleeps")
    done = forkserver.server.run(
        "jobctl",
        ["jobs", "cancel", jid, "--force", "--yes"],
        directory=running.directory,
        environment=environment({"JOBD_REDIS": running.url}),
        timeout=30.0,
    )
    assert done.returncode == 0, done.stderr
    running.wait(lambda: cancelled(redis) == 1, 30, "it is cancelled")


def test_a_message_that_is_lost_costs_a_heartbeat(
    daemon: StartDaemon, server: EmbeddedServer, redis: Any
) -> None:
    running = daemon(APP)
    jid = run(running, "plain")
    redis.execute_command("ACL", "SETUSER", "dumb", "on", ">pw", "resetchannels", "~*", "+@all")
    try:
        url = server.url.replace("unix://", "unix://dumb:pw@")
        assert jobd.cancel(jid, api=Api(url)) == "cancelling"
    finally:
        redis.execute_command("ACL", "DELUSER", "dumb")
    running.wait(lambda: cancelled(redis) == 1, 15, "it is cancelled")


# -- workers that end meanwhile --------------------------------------------------------------------


def test_a_worker_that_is_killed_before_it_obeys(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP)
    running.expect_in_log("child_died")
    jid = run(running, "sleeps")
    (worker,) = running.workers()
    assert jobd.cancel(jid, api=Api(redis)) == "cancelling"
    os.kill(worker, signal.SIGKILL)
    running.wait(lambda: cancelled(redis) == 1, 15, "the keeper has ended it")
    running.wait(lambda: nowhere(redis), 5, "it is nowhere")
    assert jobd.cancel(jid, api=Api(redis)) == "unknown"


def test_a_worker_that_stops_does_not_give_it_back(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-t", "0.3")
    jid = run(running, "sleeps")
    assert jobd.cancel(jid, api=Api(redis)) == "cancelling"
    assert running.stop() == 0
    assert nowhere(redis)
    assert cancelled(redis) == 1
    assert not list(redis.scan_iter("jobd:cancels:*"))


def held(redis: redis_py.Redis, owner: str = "host:1:gone") -> tuple[str, str, bytes]:
    """A job in flight for a worker that nobody has; returns its tag, its id and its bytes."""
    raw = payload("Note", 1, jid="lost")
    redis.zadd(KEYS.owners, {owner: time.time() + 60})
    redis.hset(KEYS.inflight(owner), "7:default", raw)
    return "7:default", "lost", raw


def test_a_job_whose_worker_is_dead_ends_with_its_recovery(redis: redis_py.Redis) -> None:
    tag, jid, _ = held(redis)
    assert jobd.cancel(jid, api=Api(redis)) == "cancelling"
    owner = "host:1:gone"
    keys = [KEYS.owners, KEYS.clock, KEYS.inflight(owner), KEYS.waits(owner), KEYS.queues]
    keys += [KEYS.dead, KEYS.schedule, KEYS.queue("default"), KEYS.claim(owner, "default")]
    call: list[Any] = [owner, "dead", 0, 60, repr(time.time()), 1, "default", tag, 1, ""]
    assert scripts.RECOVER(redis, keys, call)[:2] == [b"forgotten", 1]
    assert nowhere(redis)
    assert cancelled(redis) == 1
    assert not redis.exists(KEYS.cancels(owner))


@pytest.mark.parametrize("end", ["retry", "snooze", "give_back"])
def test_a_request_that_the_worker_has_not_heard_of_counts(
    server: EmbeddedServer, redis: redis_py.Redis, end: str
) -> None:
    """The job moves on before: then it ends."""
    app = App()
    entered, go = threading.Event(), threading.Event()

    @app.job(name="engine.Asks")
    def asks() -> None:
        entered.set()
        assert go.wait(20)
        raise jobd.Snooze(60) if end == "snooze" else ValueError("no")

    with engine(server.url, app=app, threads=1) as one:
        hangs = {"v": 1, "lock": {"key": "k", "held": True}, "result": 60.0}
        redis.hset(KEYS.lock("k"), mapping={"jid": "one", "at": 1, "seen": 1})
        raw = payload("Asks", jid="one", jobd=hangs).replace(b'"jobd" : ', b'"jobd":')
        push(redis, "default", raw)
        assert entered.wait(20)
        assert jobd.cancel("one", api=Api(redis)) == "cancelling"
        if end == "give_back":
            assert one.fetcher.surrender(10)
        go.set()
        until(lambda: settled(redis), "it has ended")
    assert nowhere(redis)
    assert cancelled(redis) == 1
    assert processed(redis) == failed(redis) == 0
    assert not redis.exists(KEYS.cancels(one.identity)), "as its owner has left"
    assert not redis.exists(KEYS.lock("k"))
    assert redis.hget(KEYS.result("one"), "state") == b"cancelled"


def test_a_job_that_waits_for_a_thread_does_not_start(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    app = App()
    go = threading.Event()

    @app.job(name="engine.Waits")
    def waits() -> None:
        assert go.wait(20)

    with engine(server.url, app=app, threads=1) as one:
        push(redis, "default", payload("Waits", jid="first"))
        until(lambda: one.pool.working(), "it runs")
        tag = "999:default"
        redis.hset(KEYS.inflight(one.identity), tag, payload("Note", 1, jid="second"))
        one.fetcher._intake.dispatch(999, "default", [payload("Note", 1, jid="second")])
        one.fetcher.cancel(frozenset([999, 1000]))
        until(lambda: cancelled(redis) == 1, "it has ended")
        go.set()
        until(lambda: processed(redis) == 1, "the other one runs on")
    assert settled(redis)


# -- jobs that wait --------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["queue:default", "schedule", "retry"])
def test_a_job_that_waits_is_taken_out_and_can_be_restored(
    redis: redis_py.Redis, place: str
) -> None:
    api = Api(redis)
    raws = [payload("Note", n, jid=f"j{n}", queue="default") for n in range(50)]
    if place == "queue:default":
        push(redis, "default", *raws)
    else:
        redis.zadd(place, {raw: time.time() + 60 + n for n, raw in enumerate(raws)})
    assert jobd.cancel("j31", api=api) == "cancelled"
    (deletion,) = api.trash.page().entries
    assert (deletion.action, deletion.origin, deletion.jobs) == ("cancel", place, 1)
    assert deletion.who.startswith("cancel() on ")
    assert jobd.cancel("j31", api=api) == "unknown"
    assert deletion.restore() == 1
    named = asyncio.run(jobd.acancel("j31", "default", api=api.acting_as("bob")))
    assert named == "cancelled"
    assert [entry.who for entry in api.audit.page(1)] == ["bob"]


def test_only_the_named_queue_is_searched(redis: redis_py.Redis) -> None:
    push(redis, "mail", payload("Note", 1, jid="j1"))
    assert jobd.cancel("j1", "default", api=Api(redis)) == "unknown"
    assert jobd.cancel("j1", "mail", api=Api(redis)) == "cancelled"


def test_what_is_not_there_leaves_nothing_behind(redis: redis_py.Redis) -> None:
    api = Api(redis)
    redis.zadd(KEYS.dead, {payload("Note", 1, jid="dead"): time.time()})
    work = {"queue": "default", "payload": payload("Note", jid="ruby").decode(), "run_at": 1}
    redis.sadd(KEYS.processes, "ruby:1:x")
    redis.hset("ruby:1:x", "info", "{}")
    redis.hset(KEYS.work("ruby:1:x"), "t", json.dumps(work))
    before = sorted(redis.keys())
    for jid in ("never", "dead", "ruby", 'odd "id"\n', "é"):
        assert jobd.cancel(jid, api=api) == "unknown"
    assert sorted(redis.keys()) == before
    for wrong in ("", None, 7):
        with pytest.raises(ArgumentError, match="needs the id of a job"):
            jobd.cancel(wrong, api=api)  # type: ignore[arg-type]


def test_a_job_of_an_odd_id_is_found(redis: redis_py.Redis) -> None:
    for jid in ('odd "id"\n', "é", "1"):
        push(redis, "default", payload("Note", jid=jid))
        assert jobd.cancel(jid, api=Api(redis)) == "cancelled"
        redis.hset(KEYS.inflight("h:1:x"), "1:default", payload("Note", jid=jid))
        redis.zadd(KEYS.owners, {"h:1:x": time.time()})
        assert jobd.cancel(jid, api=Api(redis)) == "cancelling"


def test_many_by_class_queue_and_tag(redis: redis_py.Redis) -> None:
    api = Api(redis)
    for queue in ("default", "mail"):
        for name in ("Note", "Hold"):
            raws = [payload(name, n, jid=f"{queue}{n}", queue=queue, tags=["t"]) for n in range(5)]
            push(redis, queue, *raws)
            redis.zadd(KEYS.schedule, dict.fromkeys(raws, time.time() + 60))
    held(redis)
    with pytest.raises(ArgumentError, match="needs a name, a queue or a tag"):
        jobd.cancel_many(api=api)
    found = jobd.cancel_many(name="engine.Note", queue="mail", api=api)
    assert (found.cancelled, found.cancelling, found.done) == (10, 0, True)
    assert jobd.cancel_many(name="engine.Note", api=api).cancelling == 1
    assert api.scheduled.size == api.queue("default").size + api.queue("mail").size == 10
    assert jobd.cancel_many(tag="t", seconds=0.0, api=api).done is False
    assert jobd.cancel_many(tag="t", api=api).done
    assert api.scheduled.size == api.queue("default").size == api.queue("mail").size == 0
    actions = {(entry.action, entry.target) for entry in api.audit.page(100)}
    assert ("cancel", "schedule") in actions
    assert ("cancel", "queue:mail") in actions


@pytest.mark.parametrize("sliced", [False, True])
@pytest.mark.parametrize("share", [1, 2, 3000])
def test_what_was_looked_at_is_not_looked_at_again(
    redis: redis_py.Redis, sliced: bool, share: int
) -> None:
    """Neither where all that a step has read is cancelled, nor in another call: behind 3,000 jobs
    that stay are as many of which one in *share* is cancelled."""
    api, rest = Api(redis), 3_000
    for queue in ("default", "mail"):
        push(redis, queue, *(payload("Note", jid=f"{queue}{n}", queue=queue) for n in range(rest)))
        names = ["Note" if n % share else "Gone" for n in range(rest)]
        mixed = [payload(name, jid=f"{queue}g{n}", queue=queue) for n, name in enumerate(names)]
        push(redis, queue, *mixed)
    redis.zadd(KEYS.schedule, {payload("Gone", jid=f"s{n}"): 4e9 for n in range(600)})
    gone = 600 + 2 * len(range(0, rest, share))
    if sliced:
        cancelled = scanned = calls = 0
        cursor, done = "", False
        while not done:
            steps = Cancelling(api, lambda job: job.klass == "engine.Gone", cursor=cursor)
            cancelled, scanned = cancelled + steps.step(), scanned + steps.scanned
            cursor, done, calls = steps.cursor, steps.done, calls + 1
        assert (cursor, calls > 48) == ("", True)
    else:
        steps = Cancelling(api, lambda job: job.klass == "engine.Gone")
        steps.until()
        cancelled, scanned = steps.cancelled, steps.scanned
    assert cancelled == gone
    assert scanned == 600 + 4 * rest
    assert [job.jid for job in api.queue("mail")][:3] == ["mail0", "mail1", "mail2"]
    assert api.queue("mail").size == 2 * rest - len(range(0, rest, share))


def test_a_call_goes_on_with_the_cursor_of_the_one_before(redis: redis_py.Redis) -> None:
    api = Api(redis)
    names = ("a", "b", "c")
    for queue in names:
        push(redis, queue, *(payload("Note", jid=f"{queue}{n}", queue=queue) for n in range(5)))
    held(redis)
    found, counts = jobd.cancel_many(name="engine.Note", seconds=0.0, api=api), []
    while not found.done:
        counts.append(found.cancelled)
        found = jobd.cancel_many(name="engine.Note", seconds=0.0, cursor=found.cursor, api=api)
        if found.cursor.endswith("@queue:b"):
            redis.delete(KEYS.queue("b"))
            redis.srem(KEYS.queues, "b")
    assert (sum(counts), found.cancelling) == (10, 1)
    too_far = f"{2**64 - 1}-{'0' * 16}@queue:a"
    for wrong in ("7", "@", "+7@nowhere", "x@queue:a", "\udc80", "@workers", too_far):
        with pytest.raises(ArgumentError, match="is not a cursor"):
            jobd.cancel_many(name="engine.Note", cursor=wrong, api=api)


def test_each_call_goes_on_behind_what_was_read_also_of_large_jobs(redis: redis_py.Redis) -> None:
    """Though a worker takes one between any two calls, and most are larger than others."""
    api, count = Api(redis), 400
    for number in range(count):
        size = 100 if number < count // 4 else 60_000
        push(redis, "default", payload("Note", "x" * size, jid=f"n{number}"))
    cursor, done, scanned = "", False, 0
    while not done:
        steps = Cancelling(api, lambda job: False, cursor=cursor)
        steps.step()
        redis.rpop(KEYS.queue("default"))
        cursor, done, scanned = steps.cursor, steps.done, scanned + steps.scanned
        assert scanned <= count


@pytest.mark.parametrize("place", [KEYS.retry, KEYS.schedule])
def test_a_job_that_goes_to_a_new_queue_meanwhile_is_found(
    redis: redis_py.Redis, place: str
) -> None:
    api, job = Api(redis), payload("Note", jid="due", queue="fresh")
    redis.zadd(place, {job: time.time()})
    steps = Cancelling(api, lambda found: found.jid == "due")
    steps.step()  # the locks
    redis.zrem(place, job)
    push(redis, "fresh", job)
    assert steps.until().cancelled == 1


def test_a_worker_that_was_told_is_not_counted_again(redis: redis_py.Redis) -> None:
    api = Api(redis).acting_as("alice")
    held(redis)
    assert jobd.cancel_many(name="engine.Note", api=api).cancelling == 1
    assert jobd.cancel_many(name="engine.Note", api=api).cancelling == 0
    [entry] = api.audit.page(10)
    assert (entry.action, entry.jobs) == ("cancel", 1)


# -- the parts -------------------------------------------------------------------------------------


def test_the_day_of_the_counter_is_todays(redis: redis_py.Redis) -> None:
    """Computed in Lua, for any day."""
    source = scripts.RETRY.source.partition("-- Ends a job in flight, whose payload")[0]
    source = source.partition("local function today()")[2]
    source = "local now = ARGV[1]\nlocal function today()" + source.replace(
        "redis.call('TIME')[1]", "now"
    )
    for _ in range(300):
        day = datetime.date(1970, 1, 1) + datetime.timedelta(days=random.randrange(80_000))
        at = int(datetime.datetime(*day.timetuple()[:3], 23, 59, tzinfo=datetime.UTC).timestamp())
        found: Any = redis.eval(f"{source}\nreturn today()", 0, at)
        assert found.decode() == day.isoformat()


def test_an_exception_goes_before_one_of_a_lower_rank() -> None:
    ident, kept_out = threading.get_ident(), []

    def interrupted() -> None:
        kept_out.append(not interrupts.interrupt(ident, jobd.JobTimeout))
        time.sleep(0)

    try:
        interrupts.interrupt(ident, JobCancelled)
        with pytest.raises(JobCancelled):
            interrupted()
    except JobCancelled:
        kept_out.append(True)  # it came before
    finally:
        interrupts.take_back(ident, JobCancelled)
    assert kept_out in ([True], [])


def test_nothing_is_raised_outside_the_job(
    server: EmbeddedServer, redis: redis_py.Redis, capfd: pytest.CaptureFixture[str]
) -> None:
    """Thousands of short jobs, and somebody who cancels whatever runs: each ends in one of two
    ways, and no thread of ours is hit."""
    app = App()

    @app.job(name="engine.Short")
    def short() -> None:
        sum(range(300))

    @app.server_middleware.add
    def middleware(_job: Any, _payload: Any, _queue: str, call: Any) -> Any:
        return call()

    jobs = 0
    with engine(server.url, app=app, threads=3, log_level="warning") as one:
        threads = Threads(one.pool, one.executor._coroutines)
        idents = {thread.ident for thread in one.pool._threads}
        hit, end = 0, time.monotonic() + 60
        # On some days a machine is so slow that few of them are met while they run.
        while not (hit and cancelled(redis)) and time.monotonic() < end:
            batch = range(jobs, jobs + 4000)
            jobs += len(batch)
            push(redis, "default", *[payload("Short", jid=f"j{n}") for n in batch])
            while processed(redis) + cancelled(redis) < jobs:
                for work in one.pool.working():
                    hit += threads.cancel(work.job.sequence)
        until(lambda: settled(redis), "all have ended")
        assert {thread.ident for thread in one.pool._threads} == idents
        assert all(thread.is_alive() for thread in one.pool._threads)
    assert processed(redis) + cancelled(redis) == jobs
    assert failed(redis) == 0
    assert cancelled(redis) > 0 < hit
    assert nowhere(redis)
    assert "job_thread_failed" not in capfd.readouterr().err


def test_a_job_that_goes_on_is_told_of_thrice(
    server: EmbeddedServer, redis: redis_py.Redis, capfd: pytest.CaptureFixture[str]
) -> None:
    app = App()
    raised: list[BaseException] = []
    go = threading.Event()

    @app.job(name="engine.Stubborn")
    def stubborn() -> None:
        while not go.is_set():
            try:
                time.sleep(0.001)
            except BaseException as error:  # noqa: BLE001
                raised.append(error)

    with engine(server.url, app=app, threads=1) as one:
        threads = Threads(one.pool, one.executor._coroutines)
        push(redis, "default", payload("Stubborn", jid="one"))
        until(lambda: one.pool.working(), "it runs")
        sequence = one.pool.working()[0].job.sequence
        for number in range(1, 6):
            until(lambda: threads.cancel(sequence), "it is told")
            most = min(number, cancelling.MOST_DELIVERIES)
            until(lambda most=most: len(raised) == most, "it is raised")  # type: ignore[misc]
        go.set()
        until(lambda: processed(redis) == 1, "it is done")
    assert {type(error) for error in raised} == {JobCancelled}
    assert capfd.readouterr().err.count("job_ignores_cancel") == 1


def test_outside_a_job_a_shield_does_nothing() -> None:
    with jobd.shield():
        pass
