"""Periodic jobs in the data API."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from jobd import App, ArgumentError
from jobd.api import Api, why_not_due, why_queued
from jobd.errors import ConflictError
from jobd.keeper.leader import Leadership
from jobd.schedules.entry import id_of
from jobd.settings.daemon import Config
from jobd.worker.schedules import Schedules


@pytest.fixture
def stored(api: Api) -> Api:
    """Two applications with a schedule of the same name, and one more."""
    for owner, names in (("shop", ("a", "b")), ("other", ("a",))):
        store(api, owner, *names)
    return api


def store(api: Api, owner: str, *names: str, age: float = 10.0, **options: Any) -> None:
    app = App()
    for name in names:

        def function() -> None: ...

        app.job(name=name, **{"cron": "0 6 * * *", "tz": "Europe/Berlin", **options})(function)
    config = Config(app=owner, prefix=api.keys.prefix)
    Schedules(api.redis, api.keys, app.registry, config, time.monotonic() - age).turn()


def test_they_are_listed(stored: Api) -> None:
    assert sorted((one.entry.app, one.name) for one in stored.periodic) == [
        ("other", "a"),
        ("shop", "a"),
        ("shop", "b"),
    ]
    one = stored.periodic["b"]
    assert (str(one.line), one.paused, one.changed, one.last) == (
        "0 6 * * * (Europe/Berlin)",
        None,
        False,
        None,
    )
    assert one.next is not None
    assert one.next > time.time()
    assert one.upcoming(3)[0] == one.next
    week = one.between(one.next, one.next + 7 * 86400)
    assert len(week) in (7, 8), "seven days, whatever the clocks do"


def test_by_name_or_id(stored: Api) -> None:
    with pytest.raises(ArgumentError, match=r"several applications have a periodic job a: .*give"):
        stored.periodic["a"]
    assert stored.periodic[id_of("other", "a")].entry.app == "other"
    with pytest.raises(KeyError):
        stored.periodic["none"]


def test_pause_and_resume_outlive_a_deploy(stored: Api) -> None:
    alice = stored.acting_as("alice")
    assert alice.periodic.pause(alice.periodic["b"])
    assert not alice.periodic.pause(alice.periodic["b"])
    store(alice, "shop", "a", "b", age=1)
    store(alice, "shop", "a", "b", age=0, cron="0 7 * * *")
    one = alice.periodic["b"]
    assert (one.next, one.upcoming()) == (None, [])
    assert one.paused == pytest.approx(time.time(), abs=5)
    assert alice.periodic.resume(one)
    assert alice.periodic["b"].next == one.line.after(time.time())
    told = [(entry.action, entry.target) for entry in alice.audit.page()]
    assert told == [("resume schedule", "periodic:b"), ("pause schedule", "periodic:b")]


def test_a_changed_line_holds_until_the_next_deploy(stored: Api) -> None:
    one = stored.periodic["b"]
    assert stored.periodic.change(one, "*/5 * * * *")
    with pytest.raises(ConflictError, match="The line of b was changed meanwhile"):
        stored.periodic.change(one, "*/7 * * * *")
    store(stored, "shop", "a", "b", age=10)
    again = stored.periodic["b"]
    assert (again.line.cron, again.line.tz, again.changed) == ("*/5 * * * *", "Europe/Berlin", True)
    assert again.next is not None
    assert again.next < time.time() + 301
    store(stored, "shop", "a", "b", age=0)
    after = stored.periodic["b"]
    assert (after.line, after.changed) == (one.line, False)
    assert after.next == one.next
    stored.periodic.change(after, every=60)
    assert stored.periodic["b"].line.every == 60
    assert stored.periodic.reset(after)  # as it was read before the change
    assert not stored.periodic.reset(after)
    assert (stored.periodic["b"].changed, stored.periodic["b"].next) == (False, one.next)
    with pytest.raises(ArgumentError, match="malformed"):
        stored.periodic.change(one, "never")
    with pytest.raises(ArgumentError, match="not due within 5 years"):
        stored.periodic.change(one, "0 0 * 2 1#5")
    with pytest.raises(ArgumentError, match="not a time zone"):
        stored.periodic.change(one, "@daily", tz="Mars")
    assert stored.periodic["b"].line == one.line


def test_a_changed_line_goes_with_the_other_rules(stored: Api) -> None:
    store(stored, "late", "j", jitter=60)
    with pytest.raises(ArgumentError, match=r"jitter \(60 s\) must be shorter"):
        stored.periodic.change(stored.periodic["j"], "@every 30s")


def why(api: Api, name: str) -> list[tuple[str, bool]]:
    return [(one.kind, one.blocks) for one in why_not_due(api, api.periodic[name])]


def test_why_a_periodic_job_does_not_run(stored: Api) -> None:
    redis, keys, name = stored.redis, stored.keys, id_of("shop", "b")
    assert why(stored, "b") == [("scheduled", False)]
    stored.periodic.change(stored.periodic["b"], "*/5 * * * *")
    assert why(stored, "b") == [("scheduled", False), ("changed", False)]
    stored.periodic.reset(stored.periodic["b"])
    jid = stored.periodic.run(stored.periodic["b"])
    assert why(stored, "b") == [("overlap", False), ("scheduled", False)]
    [overlap, _] = why_not_due(stored, stored.periodic["b"])
    assert jid in str(overlap.text)
    stored.periodic.pause(stored.periodic["b"])
    assert why(stored, "b") == [("paused", True), ("overlap", False)]
    stored.periodic.resume(stored.periodic["b"])
    redis.zadd(keys.periodic, {name: time.time() - 60})
    assert why(stored, "b")[0] == ("no_keeper", True)
    Leadership(redis, keys, "vm:1:a").look()
    [overdue, *_] = why_not_due(stored, stored.periodic["b"])
    assert "no keeper has pushed its job" in str(overdue.text)
    redis.zadd(keys.periodic_seen, {"shop": time.time() - 1000})
    [silent, *_] = why_not_due(stored, stored.periodic["b"])
    assert "no worker of the application shop is running" in str(silent.text)
    redis.delete(keys.periodic_seen, keys.classes)
    [unknown, *_] = why_not_due(stored, stored.periodic["b"])
    assert "no living worker knows the job b" in str(unknown.text)
    redis.lpush(
        keys.ticks(name), json.dumps({"what": "missed", "at": 1, "tick": 1, "why": "reason"})
    )
    assert "was missed: reason." in str(why_not_due(stored, stored.periodic["b"])[-1].text)


def test_the_job_of_a_tick_tells_its_tick(stored: Api) -> None:
    jid = stored.periodic.run(stored.periodic["b"])
    job = stored.queue("default").find_job(jid)
    assert job is not None
    kinds = {one.kind: str(one.text) for one in why_queued(stored, job)}
    assert "of the periodic job b." in kinds["tick"]
    assert "further ticks are skipped" in kinds["unique"]


def test_a_queue_that_is_none(stored: Api) -> None:
    stored.redis.set(stored.keys.queue("default"), "text")
    with pytest.raises(ConflictError, match="another type"):
        stored.periodic.run(stored.periodic["b"])


def test_run_now(stored: Api) -> None:
    one = stored.acting_as("alice").periodic["b"]
    jid = stored.acting_as("alice").periodic.run(one)
    raw: Any = stored.redis.lindex(stored.keys.queue("default"), 0)
    job = json.loads(raw)
    assert (job["class"], job["jid"]) == ("b", jid)
    assert stored.periodic["b"].next == one.next, "beside its ticks"
    [record] = stored.periodic.ticks(one)
    assert (record.what, record.jid, record.who) == ("run", jid, "alice")
    with pytest.raises(ConflictError, match=f"the job {jid} of an earlier tick has not ended"):
        stored.periodic.run(one)
    assert [entry.action for entry in stored.audit.page()] == ["run schedule"]


def test_who_leads(api: Api) -> None:
    assert api.periodic.leader().holder == ""
    Leadership(api.redis, api.keys, "vm:1:a").look()
    lead = api.periodic.leader()
    assert (lead.holder, lead.token) == ("vm:1:a", 1)


def test_a_line_that_is_none_keeps_no_page_from_being_shown(stored: Api) -> None:
    redis, key = stored.redis, stored.keys.schedule_of(id_of("shop", "b"))
    raw: Any = redis.hget(key, "entry")
    for wrong in ({"cron": "61 * * * *"}, {"tz": "Mars"}, {"cron": "", "every": 1e-9}):
        redis.hset(key, "entry", json.dumps({**json.loads(raw), **wrong}))
        one = stored.periodic["b"]
        assert one.upcoming(5) == [one.next]
        assert one.between(time.time(), time.time() + 1e6) == []
        with pytest.raises(ArgumentError):
            stored.periodic.resume(one)
    redis.hset(key, "entry", raw)
    redis.zadd(stored.keys.periodic, {id_of("shop", "b"): 1e300})
    assert stored.periodic["b"].upcoming(5) == [1e300]


def test_what_others_have_written_is_left_out(stored: Api) -> None:
    stored.redis.zadd(stored.keys.periodic, {"x": 1, "y": 2})
    stored.redis.set(stored.keys.schedule_of("x"), "text")
    stored.redis.hset(stored.keys.schedule_of("y"), "entry", "nonsense")
    assert len(list(stored.periodic)) == 3
