"""Unique jobs: who is let in, and that a lock is released at every end and kept until then."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from click.testing import CliRunner

from jobctl.cli import jobctl
from jobctl.codes import Problem
from jobd import App, ArgumentError, Client, DuplicateJobError, Job, cancel
from jobd.api import Api
from jobd.errors import ConflictError
from jobd.keeper import reconcile
from jobd.keeper.reconcile import Reconcile
from jobd.keeper.scheduler import Scheduler
from jobd.store import scripts
from jobd.store.keys import Keys
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon, wait

KEYS = Keys()

DAEMON = """
    import time
    from pathlib import Path
    from jobd import Snooze, current_job, job

    def note(name):
        with Path(name).open("a") as file:
            file.write("x")

    def hold(name):
        note(name)
        while not Path(name + ".go").exists():
            time.sleep(0.01)

    @job(name="done", unique=True)
    def done(n=0): ...

    @job(name="fails", unique=True)
    def fails(n=0):
        raise ValueError("no")

    @job(name="held", unique=True)
    def held(n=0):
        hold("held")

    @job(name="starts", unique=True, unique_until="start")
    def starts(n=0):
        hold("starts")

    @job(name="again", unique=True, on_conflict="again")
    def again(n=0):
        with open("order", "a") as file:
            print(n, file=file)
        hold("again")

    @job(name="snoozes", unique=True)
    def snoozes(n=0):
        raise Snooze(60)

    @job(name="exits", unique=True)
    def exits(n=0):
        import os, signal
        note("exits")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def locks(redis: redis_py.Redis) -> dict[str, str]:
    """The holders of all locks, by their keys."""
    found = {}
    for key in redis.scan_iter("jobd:lock:*"):
        jid: Any = redis.hget(key, "jid")
        if jid is not None:  # else it has just been released
            found[key.decode()] = jid.decode()
    return found


def members(redis: redis_py.Redis, key: str) -> list[tuple[bytes, float]]:
    found: Any = redis.zrange(key, 0, -1, withscores=True)
    return list(found)


# -- what makes a call unique -------------------------------------------------------------------


def test_calls_that_mean_the_same_are_the_same(app: App, redis: redis_py.Redis) -> None:
    @app.job(name="add", unique=True)
    def add(a: int, b: float = 2, *rest: int, c: object = None) -> None: ...

    jid = add.perform_async(1)
    assert jid is not None
    assert add.perform_async(1, 2) is None
    assert add.perform_async(a=1) is None
    assert add.perform_async(b=2, a=1) is None
    assert add.perform_async(1, c=None) is None
    assert add.unique_holder(1) == jid
    others = [add.perform_async(1, 2.0), add.perform_async(True), add.perform_async(1, 2, 3)]
    assert None not in others
    assert add.unique_holder(7) is None
    assert len(locks(redis)) == 4
    assert redis.llen("queue:default") == 4
    assert redis.get("jobd:stat:duplicates") == b"4"


def test_the_order_of_keys_in_an_argument_does_not_matter(app: App) -> None:
    @app.job(name="store", unique=True)
    def store(item: dict[str, int]) -> None: ...

    assert store.perform_async({"a": 1, "b": 2})
    assert store.perform_async({"b": 2, "a": 1}) is None


@pytest.mark.parametrize("by", [("user",), "user", lambda user, text: user])
def test_unique_by_some_of_the_arguments(app: App, by: Any) -> None:
    @app.job(name="mail", unique=True, unique_by=by)
    def mail(user: int, text: str) -> None: ...

    assert mail.perform_async(1, "a")
    assert mail.perform_async(1, "b") is None
    assert mail.perform_async(2, "a")


def test_classes_bulks_scheduled_jobs_and_pushes_by_name(app: App, redis: redis_py.Redis) -> None:
    class Report(Job, app=app, name="Report", unique_for=timedelta(minutes=5)):
        def perform(self, month: int) -> None: ...

    first = Report.perform_in(60, 1)
    assert Report.perform_async(1) is None
    assert Report.unique_holder(1) == first
    assert [jid is None for jid in Report.perform_bulk([[1], [2], [2], [3]])] == [
        *(True, False, True, False)
    ]
    item = {"class": "Other", "args": [1], "unique_for": 60}
    assert app.client.push(item)
    assert app.client.push(item) is None
    assert app.client.push({**item, "kwargs": {"a": 1}})
    found = app.client.push_bulk({**item, "args": [[1], [5]]})
    assert [jid is None for jid in found] == [True, False]
    ttls: list[Any] = [redis.pttl(key) for key in locks(redis)]
    assert all(0 < ttl <= 361_000 for ttl in ttls)
    assert max(ttls) > 355_000, "an hour of waiting does not shorten it: from the due time"


def test_other_calls_are_not_touched(app: App, redis: redis_py.Redis) -> None:
    @app.job(name="plain")
    def plain(n: int) -> None: ...

    @app.job(name="unique", unique=True)
    def unique(n: int) -> None: ...

    plain.perform_async(1)
    plain.perform_async(1)
    unique.set(unique=False).perform_async(1)
    unique.set(unique=False).perform_async(1)
    assert not locks(redis)
    raws: Any = redis.lrange("queue:default", 0, -1)
    assert not any(b"unique_" in raw or b'"jobd"' in raw for raw in raws)
    assert not unique.perform_inline(1)
    assert not locks(redis), "an inline run is not a push"


# -- what a conflict does ------------------------------------------------------------------------


def test_what_a_push_answers(app: App, caplog: pytest.LogCaptureFixture) -> None:
    @app.job(name="one", unique=True)
    def one(n: int) -> None: ...

    jid = one.perform_async(1)
    with caplog.at_level("INFO", "jobd.client"):
        assert one.perform_async(1) is None
    assert str(jid) in caplog.text
    assert one.set(on_conflict="holder").perform_async(1) == jid
    with pytest.raises(DuplicateJobError) as raised:
        one.set(on_conflict="raise").perform_async(1)
    assert raised.value.jid == jid
    with pytest.raises(DuplicateJobError) as raised:
        one.set(on_conflict="raise").perform_bulk([[1], [2], [1]])
    assert raised.value.jids == (jid, jid)
    assert [found is None for found in raised.value.pushed] == [True, False, True]
    assert one.unique_holder(2) == raised.value.pushed[1], "the rest was sent"


def test_a_scheduled_job_can_be_replaced_and_only_that(app: App, redis: redis_py.Redis) -> None:
    @app.job(name="one", unique=True, on_conflict="replace", unique_by="n", keep_result=60)
    def one(n: int, text: str) -> None: ...

    first = one.perform_in(100, 1, "old")
    second = one.perform_in(50, 1, "new")
    assert first != second is not None
    [(raw, _)] = members(redis, "schedule")
    assert json.loads(raw)["args"] == [1, "new"]
    assert one.unique_holder(1, "") == second
    assert redis.hget(KEYS.result(str(first)), "state") == b"cancelled"
    third = one.perform_async(1, "now")
    assert redis.zcard("schedule") == 0
    assert one.perform_async(1, "later") is None, "it waits in its queue"
    assert one.unique_holder(1, "") == third


def test_a_job_that_waits_for_its_retry_can_be_replaced(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(DAEMON)
    running.expect_in_log("ValueError")
    client = Client(running.url)
    item = {"class": "fails", "args": [], "unique": True}
    first = client.push(item)
    running.wait(lambda: redis.zcard("retry") == 1, 10, "it waits for its retry")
    assert client.push(item) is None
    second = client.push({**item, "on_conflict": "replace", "at": time.time() + 60})
    assert second not in (None, first)
    assert redis.zcard("retry") == 0
    assert list(locks(redis).values()) == [second]


def test_debounce(app: App, redis: redis_py.Redis) -> None:
    @app.job(name="index", debounce=30, max_wait=31, unique_by="doc")
    def index(doc: int, version: int) -> None: ...

    def waiting() -> tuple[Any, Any]:
        [(raw, at)] = members(redis, "schedule")
        return json.loads(raw)["args"], at

    began = time.time()
    index.perform_async(1, 1)
    assert waiting() == ([1, 1], pytest.approx(began + 30, abs=0.5))
    [key] = locks(redis)
    redis.hincrbyfloat(key, "first", -20)  # as if it had been pushed 20 s ago
    index.perform_async(1, 2)
    assert waiting() == ([1, 2], pytest.approx(began + 11, abs=0.5)), "at most max_wait"
    index.perform_async(1, 3)
    assert waiting() == ([1, 3], pytest.approx(began + 11, abs=0.5))


def test_again_runs_once_more_with_the_newest_arguments(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(DAEMON)
    app = App()
    app.configure(running.url)

    @app.job(name="again", unique=True, on_conflict="again", unique_by=lambda n: "all")
    def again(n: int) -> None: ...

    first = again.perform_async(1)
    running.wait(lambda: (running.directory / "again").exists(), 10, "the first one runs")
    jids = [again.perform_async(n) for n in (2, 3, 4)]
    assert None not in jids
    assert list(locks(redis).values()) == [first]
    (running.directory / "again.go").touch()
    running.wait(lambda: redis.get("stat:processed") == b"2", 10, "one more has run")
    assert (running.directory / "order").read_text().split() == ["1", "4"]
    running.wait(lambda: not locks(redis), 5, "and released the lock")
    assert not redis.zcard("jobd:contested")


def test_one_that_waits_for_the_lock_is_found_by_whoever_has_its_id(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(DAEMON)
    app = App()
    app.configure(running.url)

    @app.job(name="again", unique=True, on_conflict="again")
    def again(n: int = 0) -> None: ...

    first = again.perform_async()
    running.wait(lambda: (running.directory / "again").exists(), 10, "the first one runs")
    jid = again.perform_async()
    assert jid is not None

    def ask(*words: str) -> tuple[int, str]:
        runner = CliRunner(env={"COLUMNS": "200"})
        told = runner.invoke(jobctl, [*words, "--redis", running.url], standalone_mode=False)
        if isinstance(told.exception, Problem):
            return told.exception.code, str(told.exception)
        return told.return_value or 0, told.output

    for words in (
        ("jobs", "show", jid),
        ("jobs", "cancel", jid, "--dry-run"),
        ("why", jid),
    ):
        code, text = ask(*words)
        assert (code, "waiting for a lock" in text) == (0, True), (words, text)
    sentence = f"waits until job {first} has ended"
    assert sentence in ask("why", jid)[1]
    assert json.loads(ask("why", jid, "--json")[1])["place"] == "lock"
    assert json.loads(ask("jobs", "show", jid, "--json")[1])["jid"] == jid
    assert ask("wait", jid, "--timeout", "0") == (
        5,
        f"{jid} has not ended: waiting for a lock; it goes on",
    )
    for refused in (
        ("jobs", "delete", jid, "--yes"),
        ("jobs", "retry", jid),
        ("jobs", "kill", jid, "--yes"),
        ("jobs", "edit", jid, "--args", "[1]", "--yes"),
    ):
        code, text = ask(*refused)
        assert (code, "lock" in text) == (1, True), (refused, text)
    found = Api(redis).find(jid).first(1)
    assert [(one.place, one.key) for one in found] == [("lock", jid)]
    assert ask("jobs", "cancel", jid, "--yes") == (0, f"{jid} is cancelled.\n")
    assert ask("jobs", "show", jid)[0] != 0
    (running.directory / "again.go").touch()
    running.wait(lambda: not locks(redis), 5, "the first one ends")
    assert redis.get("stat:processed") == b"1"


# -- until when it is held -----------------------------------------------------------------------


def touch(running: Daemon, name: str) -> None:
    (running.directory / f"{name}.go").touch()


def test_until_the_start(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(DAEMON, "-c", "2")
    item = {"class": "starts", "args": [], "unique": True, "unique_until": "start"}
    client = Client(running.url)
    assert client.push(item)
    running.wait(lambda: (running.directory / "starts").exists(), 10, "it runs")
    assert not locks(redis)
    assert client.push(item), "while the first one runs"
    touch(running, "starts")
    running.wait(lambda: redis.get("stat:processed") == b"2", 10, "both have run")


def test_until_it_expires(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(DAEMON)
    client = Client(running.url)
    item = {"class": "done", "args": [], "unique_until": "expiry"}
    assert client.push({**item, "unique_for": 600})
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "it has run")
    assert client.push({**item, "unique_for": 600}) is None
    with patient(redis) as look:
        for _ in range(3):
            look()
    assert len(locks(redis)) == 1, "the job is nowhere, and the lock stays"
    other = {**item, "unique_for": 0.05, "args": [1]}
    assert client.push(other)
    running.wait(lambda: len(locks(redis)) == 1, 10, "the time is over")
    assert client.push(other)


Act = Callable[[Api, str], object]


def clear_queue(api: Api, _jid: str) -> None:
    api.queue("default").clear()


def clear_set(api: Api, _jid: str) -> None:
    api.scheduled.clear()


def delete_queued(api: Api, _jid: str) -> None:
    api.queue("default").delete(*api.queue("default").page())


def sweep_queue(api: Api, _jid: str) -> None:
    api.queue("default").sweep(where=lambda job: bool(job.jid)).run()


def delete_scheduled(api: Api, _jid: str) -> None:
    api.scheduled.delete(*api.scheduled.page())


def kill_scheduled(api: Api, _jid: str) -> None:
    api.scheduled.kill(*api.scheduled.page())


@pytest.mark.parametrize("who", ["", "alice"])
@pytest.mark.parametrize(
    ("act", "delay"),
    [
        (clear_queue, None),
        (delete_queued, None),
        (sweep_queue, None),
        (clear_set, 60),
        (delete_scheduled, 60),
        (kill_scheduled, 60),
    ],
)
def test_what_people_delete_or_kill_releases_its_lock(
    app: App, redis: redis_py.Redis, act: Act, delay: float | None, who: str
) -> None:
    @app.job(name="one", unique=True, keep_result=60)
    def one(n: int) -> None: ...

    api = Api(redis)
    if who:
        api = api.acting_as(who)
    jid = one.perform_async(1) if delay is None else one.perform_in(delay, 1)
    assert len(locks(redis)) == 1
    act(api, str(jid))
    Reconcile(redis, KEYS).turn()  # a cleared place is handled in steps
    assert not locks(redis)
    state = redis.hget(KEYS.result(str(jid)), "state")
    assert state == (b"failed" if act is kill_scheduled else b"cancelled")
    assert not redis.hdel("jobd:departed", "used") or not redis.exists("jobd:departed")
    if not who:
        return
    [deletion] = api.trash.page()
    other = one.perform_async(1)
    with pytest.raises(ConflictError, match=str(other)):
        deletion.restore()
    assert list(locks(redis).values()) == [other], "and the deleted one stays in the trash"
    api.queue("default").clear()
    Reconcile(redis, KEYS).turn()
    assert next(iter(deletion.page())).jid == jid
    assert deletion.restore() == 1
    assert list(locks(redis).values()) == [jid], "it has taken its lock again"
    assert redis.hget(KEYS.result(str(jid)), "state") in (b"queued", b"scheduled")


def test_a_job_in_flight_keeps_its_lock_however_many_owners_there_are(
    app: App, redis: redis_py.Redis
) -> None:
    @app.job(name="one", unique=True)
    def one(n: int) -> None: ...

    jid = one.perform_async(1)
    end = time.time() + 60
    redis.zadd("jobd:owners", {f"host:{n}:x": end + n / 1e6 for n in range(1_200)})
    raw: Any = redis.rpop("queue:default")
    redis.hset("jobd:inflight:host:1199:x", "1:default", raw)
    assert one.perform_async(1) is None, "which contests the lock"
    keeper = Reconcile(redis, KEYS)
    for _ in range(3):
        for key, _ in members(redis, "jobd:contested"):
            redis.zadd("jobd:contested", {key: 0})  # it is due to be looked at
        keeper.turn()
    assert list(locks(redis).values()) == [jid]


def test_a_clearing_is_handled_in_steps_also_while_it_is_restored(
    app: App, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    @app.job(name="one", unique=True)
    def one(n: int) -> None: ...

    monkeypatch.setattr(reconcile, "BATCH", 7)
    api = Api(redis).acting_as("alice")
    one.perform_bulk([[n] for n in range(250)])
    assert api.queue("default").clear() == 250
    assert len(locks(redis)) == 250
    [deletion] = api.trash.page()
    assert deletion.restore(seconds=0) == 100
    Reconcile(redis, KEYS).turn()
    assert len(locks(redis)) == 100, "of those that are back"
    assert deletion.restore() == 150
    assert len(locks(redis)) == 250


@pytest.mark.parametrize(
    ("name", "options", "place"),
    [
        ("done", {}, None),
        ("fails", {"retry": 0}, "dead"),
        ("fails", {"retry": False}, None),
        ("done", {"expires_in": 0.001}, None),
        ("exits", {}, "dead"),
    ],
    ids=["done", "dead", "discarded", "expired", "poison pill"],
)
def test_every_end_releases_the_lock(
    daemon: StartDaemon, redis: redis_py.Redis, name: str, options: dict[str, Any], place: str
) -> None:
    running = daemon(DAEMON)
    running.expect_in_log("ValueError")
    redis.sadd("paused", "default")
    item = {"class": name, "args": [], "unique": True, "keep_result": 60, **options}
    jid = Client(running.url).push(item)
    assert list(locks(redis).values()) == [jid]
    time.sleep(0.002)
    redis.srem("paused", "default")
    running.wait(lambda: not locks(redis), 40, "the lock is free")
    running.wait(lambda: not list(redis.scan_iter("jobd:inflight:*")), 10, "it has ended")
    state = redis.hget(KEYS.result(str(jid)), "state")
    assert state == {"done": b"done", "fails": b"failed", "exits": b"failed"}[name] or (
        options.get("expires_in") and state == b"expired"
    )
    if place:
        assert redis.zcard(place) == 1
    redis.delete("dead")


@pytest.mark.parametrize(("name", "place"), [("fails", "retry"), ("snoozes", "schedule")])
def test_the_lock_is_kept_while_the_job_will_run_again(
    daemon: StartDaemon, redis: redis_py.Redis, name: str, place: str
) -> None:
    running = daemon(DAEMON)
    running.expect_in_log("ValueError")
    client = Client(running.url)
    item = {"class": name, "args": [], "unique": True}
    jid = client.push(item)
    running.wait(lambda: redis.zcard(place) == 1, 10, "it waits")
    assert client.push(item) is None
    assert list(locks(redis).values()) == [jid]
    redis.delete(place)


def test_the_lock_is_kept_through_a_stop_that_gives_the_job_back(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(DAEMON, "-t", "0.2")
    jid = Client(running.url).push({"class": "held", "args": [], "unique": True})
    running.wait(lambda: (running.directory / "held").exists(), 10, "it runs")
    running.stop()
    assert redis.llen("queue:default") == 1
    assert list(locks(redis).values()) == [jid]


def test_a_dead_job_that_is_retried_takes_its_lock_again_or_is_told_who_has_it(
    app: App, redis: redis_py.Redis
) -> None:
    @app.job(name="one", unique=True)
    def one(n: int) -> None: ...

    api = Api(redis)
    jid = one.perform_in(60, 1)
    api.scheduled.kill(*api.scheduled.page())
    other = one.perform_async(1)
    with pytest.raises(ConflictError, match=str(other)):
        api.dead.retry(*api.dead.page())
    [dead] = api.dead.page()
    with pytest.raises(ConflictError, match=str(other)):
        api.dead.replace(dead, {"args": [1]})
    assert api.dead.size == 1
    api.queue("default").delete(*api.queue("default").page())
    assert api.dead.retry(*api.dead.page()) == 1
    assert list(locks(redis).values()) == [jid]


# -- what nobody of ours has seen ------------------------------------------------------------------


@contextmanager
def patient(redis: redis_py.Redis) -> Iterator[Callable[[], None]]:
    """A reconciliation whose next look is due whenever it is called."""
    loop = Reconcile(redis, KEYS)

    def look() -> None:
        for key, _ in members(redis, "jobd:contested"):
            redis.zadd("jobd:contested", {key: 0})
        loop.turn()

    yield look


def test_a_lock_whose_job_was_deleted_by_hand_is_freed_when_somebody_waits(
    app: App, redis: redis_py.Redis
) -> None:
    @app.job(name="one", unique=True)
    def one(n: int) -> None: ...

    jid = one.perform_async(1)
    assert one.perform_async(1) is None
    with patient(redis) as look:
        look()
        look()
        assert list(locks(redis).values()) == [jid], "it waits in its queue"
        redis.delete("queue:default")
        look()
        assert locks(redis), "one search is not enough: jobs move"
        look()
        assert not locks(redis)
    assert one.perform_async(1)


@pytest.mark.parametrize("place", ["schedule", "retry", "in flight", "delivered"])
def test_a_lock_is_not_freed_while_its_job_is_anywhere(
    app: App, redis: redis_py.Redis, place: str
) -> None:
    @app.job(name="one", unique=True)
    def one(n: int) -> None: ...

    jid = one.perform_async(1)
    raw: Any = redis.rpop("queue:default")
    assert one.perform_async(1) is None
    redis.zadd(KEYS.owners, {"host:1:x": 1e12})
    redis.sadd(KEYS.waits("host:1:x"), "default")
    if place == "in flight":
        redis.hset(KEYS.inflight("host:1:x"), "1:default", raw)
    elif place == "delivered":
        redis.lpush(KEYS.claim("host:1:x", "default"), raw)
    else:
        redis.zadd(place, {raw: 1e12})
    with patient(redis) as look:
        for _ in range(4):
            look()
    assert list(locks(redis).values()) == [jid]


def test_a_job_that_moves_between_the_two_searches_keeps_its_lock(
    app: App, redis: redis_py.Redis
) -> None:
    @app.job(name="one", unique=True)
    def one(n: int) -> None: ...

    jid = one.perform_in(60, 1)
    assert one.perform_async(1) is None
    [(raw, _)] = members(redis, "schedule")
    with patient(redis) as look:
        redis.delete("schedule")
        look()
        redis.zadd("schedule", {raw: 1e12})
        Api(redis).scheduled.reschedule(500, *Api(redis).scheduled.page())
        redis.delete("schedule")
        look()
        assert list(locks(redis).values()) == [jid], "a script of ours has moved it since"
        look()
        assert not locks(redis)


def test_a_job_that_a_program_has_pushed_with_the_field_alone(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    """As from Ruby: no script of ours has taken the lock."""
    running = daemon(DAEMON, "-c", "2")
    field = {"v": 1, "lock": {"key": "by hand"}}
    item = {"class": "held", "args": [], "queue": "default", "retry": True, "jobd": field}
    redis.sadd("queues", "default")
    redis.lpush("queue:default", json.dumps({**item, "jid": "first"}))
    running.wait(lambda: (running.directory / "held").exists(), 10, "it runs")
    assert locks(redis) == {"jobd:lock:by hand": "first"}
    redis.lpush("queue:default", json.dumps({**item, "jid": "second"}))
    running.wait(lambda: redis.get("jobd:stat:duplicates") == b"1", 10, "the other one is dropped")
    touch(running, "held")
    running.wait(lambda: redis.get("stat:processed") == b"1", 10, "the first one has run")
    assert (running.directory / "held").read_text() == "x"
    running.wait(lambda: not locks(redis), 5, "the lock is free")


# -- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"unique_for": 0}, "unique_for must be a number of seconds above 0"),
        ({"unique_for": 10 * 366 * 86400}, "a year"),
        ({"unique_until": "later", "unique": True}, "success, start, expiry"),
        ({"unique": 1}, "unique must be True or False"),
        ({"on_conflict": "wait", "unique": True}, "skip, raise, holder, replace, again"),
    ],
)
def test_options_that_cannot_be(app: App, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ArgumentError, match=says):
        app.job(**options)(print_nothing)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"unique_until": "expiry", "unique": True}, "needs unique_for"),
        ({"unique_until": "start", "unique": True, "on_conflict": "again"}, "needs unique_until"),
        ({"on_conflict": "raise"}, "needs unique=True"),
        ({"max_wait": 5}, "needs unique=True"),
        ({"max_wait": 5, "unique": True}, "needs debounce"),
        ({"debounce": 5, "on_conflict": "skip"}, "replace"),
    ],
)
def test_options_that_contradict_each_other(
    app: App, redis: redis_py.Redis, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(ArgumentError, match=says):
        app.client.push({"class": "one", "args": [], **options})
    assert not redis.exists("queue:default", "schedule")


def print_nothing(n: int = 0) -> None: ...


def test_unique_by_something_that_is_no_argument(app: App) -> None:
    with pytest.raises(ArgumentError, match=r"unique_by names 'user'.*one of its parameters: n"):
        app.job(unique=True, unique_by="user")(print_nothing)


def test_unique_by_that_raises_refuses_the_push(app: App, redis: redis_py.Redis) -> None:
    @app.job(name="one", unique=True, unique_by=lambda n: 1 // n)
    def one(n: int) -> None: ...

    with pytest.raises(ArgumentError, match="ZeroDivisionError"):
        one.perform_async(0)
    assert not redis.exists("queue:default")
    assert one.perform_async(1)


def test_a_default_that_json_cannot_carry(app: App) -> None:
    @app.job(name="one", unique=True)
    def one(n: int, path: Path = Path(), flag: object = object()) -> None: ...

    with pytest.raises(ArgumentError, match="name arguments in unique_by"):
        one.perform_async(1)


def test_unique_holder_of_a_job_that_is_not_unique(app: App) -> None:
    @app.job(name="one")
    def one() -> None: ...

    with pytest.raises(ArgumentError, match="not unique"):
        one.unique_holder()


def test_a_lock_of_another_type_costs_no_job(app: App, redis: redis_py.Redis) -> None:
    """Somebody else uses the name: the push says so and stores nothing."""

    @app.job(name="one", unique=True)
    def one(n: int) -> None: ...

    one.perform_async(1)
    [key] = locks(redis)
    redis.delete(key)
    redis.set(key, "?")
    api = Api(redis)
    assert api.queue("default").delete(*api.queue("default").page()) == 1
    with pytest.raises(Exception, match="WRONGTYPE"):
        one.perform_async(1)
    assert not redis.exists("queue:default")


@pytest.mark.parametrize("schedule", [None, "?"])
def test_a_job_that_waits_for_another_one_is_not_lost_with_its_queue(
    app: App, redis: redis_py.Redis, schedule: str | None
) -> None:
    @app.job(name="one", unique=True, on_conflict="again")
    def one(n: int) -> None: ...

    first, second = one.perform_async(1), one.perform_async(1)
    api = Api(redis)
    job = next(iter(api.queue("default").page()))
    redis.rename("queue:default", "queue:other")
    redis.set("queue:default", "?")
    if schedule:
        redis.set("schedule", schedule)
    assert api.queue("other").delete(job) == 1
    if schedule:
        [key] = locks(redis)
        assert locks(redis)[key] == first
        assert redis.hget(key, "again_jid") == str(second).encode()
    else:
        assert [json.loads(raw)["jid"] for raw, _ in members(redis, "schedule")] == [second]
        assert list(locks(redis).values()) == [second]


def test_a_debounced_job_that_is_due_begins_a_new_round(app: App, redis: redis_py.Redis) -> None:
    """Also while it waits in a busy queue: the newest arguments must not be lost."""

    @app.job(name="save", debounce=0.01, unique_by="doc")
    def save(doc: int, page: int) -> None: ...

    save.perform_async(7, 1)
    assert save.perform_async(7, 2)
    time.sleep(0.02)
    scheduler = Scheduler(redis, KEYS, 1.0)
    while scheduler.turn() == 0.0:
        pass
    assert not locks(redis)
    assert save.perform_async(7, 3)
    assert [json.loads(raw)["args"] for raw, _ in members(redis, "schedule")] == [[7, 3]]
    queued: Any = redis.lrange("queue:default", 0, -1)
    assert [json.loads(raw)["args"] for raw in queued] == [[7, 2]]


def test_a_push_that_is_sent_again_changes_nothing(app: App, redis: redis_py.Redis) -> None:
    item = {"class": "one", "args": [1], "unique": True, "keep_result": 60}
    for _ in range(2):
        assert app.client.push({**item, "jid": "first"}) == "first"
    assert redis.llen("queue:default") == 1
    for _ in range(2):
        assert app.client.push({**item, "jid": "second", "on_conflict": "again"}) == "second"
    assert redis.hget(KEYS.result("second"), "state") == b"queued"
    assert locks(redis).popitem()[1] == "first"


def test_a_lock_that_outlives_its_job_takes_none_to_run_again(
    app: App, redis: redis_py.Redis
) -> None:
    item = {"class": "one", "args": [1]}
    assert app.client.push({**item, "unique_for": 60, "unique_until": "expiry"})
    assert app.client.push({**item, "unique": True, "on_conflict": "again"}) is None
    [key] = locks(redis)
    ttl: Any = redis.ttl(key)
    assert 0 < ttl <= 60


@pytest.mark.parametrize("odd", [{"result": "nan"}, {"result": -1}, {"lock": {"key": 7}}, 5])
def test_an_odd_field_keeps_no_job_from_being_deleted(
    app: App, redis: redis_py.Redis, odd: Any
) -> None:
    for number in range(4):
        field = {"v": 1, "result": 60} if number != 1 else {"v": 1, **odd} if odd != 5 else odd
        fields = {"class": "A", "args": [number], "jid": f"odd{number}", "jobd": field}
        redis.lpush("queue:default", json.dumps({**fields, "queue": "default"}))
        redis.zadd("schedule", {json.dumps({**fields, "queue": "default"}): 1e12})
    api = Api(redis).acting_as("alice")
    assert api.queue("default").delete(*api.queue("default").page()) == 4
    assert api.scheduled.delete(*api.scheduled.page()) == 4
    assert sum(deletion.restore() for deletion in api.trash.page()) == 8
    assert redis.llen("queue:default") == redis.zcard("schedule") == 4


def test_a_job_with_an_odd_lock_comes_back(app: App, redis: redis_py.Redis) -> None:
    lock = {"key": "odd", "seconds": "nan"}
    fields = {"class": "A", "args": [], "jid": 5, "queue": "default"}
    redis.zadd("dead", {json.dumps({**fields, "jobd": {"v": 1, "lock": lock}}): time.time()})
    assert Api(redis).dead.retry(*Api(redis).dead.page()) == 1
    assert locks(redis) == {"jobd:lock:odd": "5"}
    queue = Api(redis).queue("default")
    assert queue.delete(*queue.page()) == 1
    assert not locks(redis)


@pytest.mark.parametrize("trash", [True, False])
def test_a_full_server_can_be_emptied(
    app: App, redis: redis_py.Redis, server: EmbeddedServer, trash: bool
) -> None:
    def used() -> int:
        memory: dict[str, int] = redis.info("memory")
        return memory["used_memory"]

    before = used()
    app.client.push({"class": "A", "args": [1], "unique": True, "keep_result": 60})
    app.client.push_bulk({"class": "P", "args": [["x" * 100_000]] * 220})
    assert used() > before + 20_000_000
    api = Api(redis).acting_as("alice", trash=trash)
    redis.config_set("maxmemory-policy", "noeviction")
    redis.config_set("maxmemory", "3mb")
    try:
        assert api.queue("default").clear() == 221
        if trash:
            for deletion in api.trash.page():
                deletion.purge()
        Reconcile(redis, KEYS).turn()
        # The server frees what is large in a thread of its own.
        wait(lambda: used() < before + 3_000_000, 10, "freed")
        assert not locks(redis)
    finally:
        redis.config_set("maxmemory", "0")


def test_a_deletion_that_is_purged_at_once_releases_its_locks(
    app: App, redis: redis_py.Redis
) -> None:
    jid = app.client.push({"class": "A", "args": [1], "unique": True, "keep_result": 60})
    api = Api(redis).acting_as("alice")
    api.queue("default").clear()
    [deletion] = api.trash.page()
    assert deletion.purge() == 1
    Reconcile(redis, KEYS).turn()
    assert not locks(redis)
    assert redis.hget(KEYS.result(str(jid)), "state") == b"cancelled"
    assert redis.hgetall("jobd:departed") == {b"used": b"1"}


def test_one_of_many_at_the_same_time_can_be_replaced(app: App, redis: redis_py.Redis) -> None:
    at = time.time() + 60
    for number in range(150):
        app.client.push({"class": "A", "args": [number], "unique": True, "at": at})
    item = {"class": "A", "args": [149], "unique": True, "at": at + 5, "on_conflict": "replace"}
    assert app.client.push(item)
    assert redis.zcard("schedule") == 150


def test_the_time_of_a_lock_counts_from_when_its_job_is_due(
    app: App, redis: redis_py.Redis
) -> None:
    app.client.push({"class": "A", "args": [1], "unique_for": 60, "at": time.time() + 3600})
    api = Api(redis).acting_as("alice")
    api.scheduled.reschedule(7200, *api.scheduled.page())
    [key] = locks(redis)
    ttl: Any = redis.ttl(key)
    assert 7200 < ttl <= 7260
    api.scheduled.delete(*api.scheduled.page())
    next(iter(api.trash.page())).restore()
    ttl = redis.ttl(key)
    assert 7200 < ttl <= 7260


def test_a_job_that_waits_for_another_one_keeps_its_time(app: App, redis: redis_py.Redis) -> None:
    item = {"class": "A", "args": [1], "unique": True, "on_conflict": "again"}
    app.client.push(item)
    at = time.time() + 3600
    second = app.client.push({**item, "at": at})
    queue = Api(redis).queue("default")
    queue.delete(*queue.page())
    [(raw, due)] = members(redis, "schedule")
    assert json.loads(raw)["jid"] == second
    assert due == pytest.approx(at, abs=0.01)


def test_a_lock_with_a_bound_in_which_a_job_waits_does_not_expire_before_that_is_gone(
    app: App, redis: redis_py.Redis
) -> None:
    item = {"class": "A", "args": [1], "unique_for": 60, "on_conflict": "again"}
    app.client.push({**item, "at": time.time() + 3600})
    [key] = locks(redis)
    for moved, least in ((False, 3600), (True, 7200)):
        second = app.client.push(item)
        assert second is not None
        api = Api(redis).acting_as("alice")
        if moved:
            api.scheduled.reschedule(7200, *api.scheduled.page())
        assert redis.ttl(key) == -1
        assert cancel(second, api=api) == "cancelled"
        ttl: Any = redis.ttl(key)
        assert least < ttl <= least + 60
        assert redis.hget(key, "ends") is None


def test_locks_that_others_have_taken_are_found_as_well(app: App, redis: redis_py.Redis) -> None:
    """A program's job took its lock at its start, and was deleted by hand later."""
    places = ["jobd:lock:by hand", KEYS.contested, KEYS.departed]
    assert scripts.LOCK(redis, places, ["gone", "", 0]) is None
    assert scripts.LOCK(redis, places, ["next", "", 0]) == b"gone"
    with patient(redis) as look:
        look()
        look()
    assert not locks(redis)
