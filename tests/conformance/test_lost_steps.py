"""Steps of workflows whose jobs are nowhere, because somebody who knows no workflows has run or
deleted them; on both stores."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from jobd.api.features.lost import LostSteps
from jobd.api.inflight import InFlightSet
from jobd.api.reading import MOST
from jobd.errors import ConflictError
from jobd.features.workflows.run import WorkflowRun
from jobd.jobs.app import App
from jobd.jobs.canvas.parts import chain, group
from jobd.store import scripts
from jobd.testing.simulation import World
from tests.conformance.conftest import pushed

QUEUES = ("default",)
"""What is in another queue stays there."""

LONG = 600
"""Seconds in which a keeper notes what is nowhere."""


@pytest.fixture
def work(app: App, ran: list[Any]) -> Any:
    @app.job(name="work", retry_in=lambda *_: LONG)
    def work(*values: Any) -> object:
        ran.append(values)
        if values == ("fails once",) and ran.count(values) == 1:
            raise ValueError(values[0])
        return values[-1]

    return work


def taken(w: World, queue: str = "default") -> bytes:
    """The next job, which is in Redis no more."""
    raw: Any = w.redis.rpop(f"queue:{queue}")
    assert raw is not None
    return cast("bytes", raw)


def state(run: WorkflowRun) -> str:
    return run.state


def error(run: WorkflowRun, number: int = 0) -> str:
    return run.info.steps[number].error


def test_a_step_that_is_nowhere_has_failed(w: World, app: App, work: Any, ran: list[Any]) -> None:
    flow = chain(work.s(1), work.s(2)).set(on_error=work.s("told"))
    run = pushed(app, flow)
    taken(w)
    w.advance(seconds=50)
    assert state(run) == "running"
    w.advance(seconds=LONG)
    assert state(run) == "failed"
    assert error(run).startswith("JobLost: its job was found nowhere")
    assert [one.state for one in run.info.steps] == ["failed", "blocked", "done"]
    [(failed, told)] = ran
    assert (failed.error_class, told) == ("JobLost", "told")
    summary = run.info.summary
    assert (summary.failed, summary.live, summary.done) == (1, 0, 0)
    with pytest.raises(ConflictError, match="are lost"):
        run.retry()
    assert w.run() == 0


def test_a_step_for_workers_of_a_newer_version_is_not_lost(w: World, app: App, work: Any) -> None:
    run = pushed(app, chain(work.s(1).set(queue="other"), work.s(2)))
    job = json.loads(taken(w, "other"))
    job["jobd"]["later"] = {"a": 1}
    w.redis.lpush("queue:other", json.dumps(job))
    w.advance(seconds=2 * LONG)
    assert state(run) == "running"
    assert [one.state for one in run.info.steps] == ["pushed", "waiting"]


def test_others_go_on_where_the_step_says_so(w: World, app: App, work: Any, ran: list[Any]) -> None:
    run = pushed(app, chain(work.s(1).step(on_failure="continue"), work.s(2)))
    taken(w)
    w.advance(seconds=LONG)
    [(failed, _)] = ran
    assert (failed.state, failed.error_class, failed.name) == ("failed", "JobLost", "")
    assert (run.state, run.info.summary.passed) == ("done", 1)


def test_all_is_undone_where_the_step_says_so(
    w: World, app: App, work: Any, ran: list[Any]
) -> None:
    undone = work.s(1).step(compensate=work.s("undo"))
    lost = work.si(2).set(queue="other").step(on_failure="cancel")
    run = pushed(app, chain(undone, lost, work.si(3)))
    w.run()
    taken(w, "other")
    w.advance(seconds=LONG)
    assert ran == [(1,), (1, "undo")]
    assert (run.state, run.info.summary.cancelled) == ("failed", "step")


def test_what_undoes_a_step_may_be_lost_too(w: World, app: App, work: Any) -> None:
    undo = work.s("undo").set(queue="other")
    flow = chain(work.s(1).step(compensate=undo), work.si(2).set(queue="other"))
    run = pushed(app, flow)
    w.run()
    run.cancel()
    w.run()
    taken(w, "other")
    w.advance(seconds=LONG)
    assert (run.state, run.info.summary.live) == ("failed", 0)


def test_only_what_is_nowhere_is_lost(w: World, app: App, work: Any, ran: list[Any]) -> None:
    """Not what waits in a queue, for its time, or for its next attempt."""
    parts = [work.s("fails once"), work.s("waits").set(queue="other"), work.s("lost")]
    run = pushed(app, group(parts))
    w.run(1)
    taken(w)
    w.advance(seconds=LONG / 2)
    assert [one.state for one in run.info.steps] == ["pushed", "pushed", "failed"]
    w.advance(seconds=LONG)
    assert [one.state for one in run.info.steps] == ["done", "pushed", "failed"]
    assert (run.info.summary.live, ran.count(("fails once",))) == (1, 2)


def test_a_job_that_is_claimed_and_has_not_started_is_not_lost(
    w: World, app: App, work: Any
) -> None:
    """Even where there are more workers than a quick search looks at."""
    run = pushed(app, chain(work.s(1), work.s(2)))
    jid = run.info.steps[0].jid
    far = w.redis.time()[0] + 10 * LONG
    owners = {f"host:{number}:x": far for number in range(MOST + 5)}
    w.redis.zadd("jobd:owners", owners)
    last = sorted(owners)[-1]
    w.redis.hset(f"jobd:inflight:{last}", "1:default", taken(w))
    assert InFlightSet(w.api).find_job(jid) is None
    w.advance(seconds=LONG)
    assert run.info.steps[0].state == "pushed"
    w.redis.delete(f"jobd:inflight:{last}")
    w.advance(seconds=LONG)
    assert error(run).startswith("JobLost")


def test_a_job_that_sidekiq_pro_has_taken_is_not_lost(w: World, app: App, work: Any) -> None:
    """Whether its process lives or not: another one puts the job back."""
    run = pushed(app, chain(work.s(1), work.s(2)))
    jid, key = run.info.steps[0].jid, "queue:sq|ruby:1:x|default"
    others = [json.dumps({"class": "A", "args": [n], "jid": f"{n:024}"}) for n in range(300)]
    w.redis.lpush(key, taken(w), *others)
    w.redis.sadd("super_processes", "ruby:1:x")
    w.redis.sadd("ruby:1:x:super_queues", key)
    w.advance(seconds=LONG)
    assert run.state == "running"
    [found] = w.api.find(jid).first(1)
    assert (found.place, found.job.queue) == ("work", "default")
    w.redis.delete(key)
    w.advance(seconds=LONG)
    assert error(run).startswith("JobLost")


def test_a_job_that_sidekiq_runs_is_not_lost_while_it_does(w: World, app: App, work: Any) -> None:
    run = pushed(app, chain(work.s(1), work.s(2)))
    entry = {"queue": "default", "payload": taken(w).decode(), "run_at": 1_800_000_000}
    w.redis.sadd("processes", "ruby:1:x")
    w.redis.hset("ruby:1:x", "busy", 1)
    w.redis.hset("ruby:1:x:work", "tid", json.dumps(entry))
    w.advance(seconds=LONG)
    assert run.state == "running"
    w.redis.delete("ruby:1:x:work")
    w.advance(seconds=LONG)
    assert error(run).startswith("JobLost")


def test_a_step_that_ruby_has_put_into_the_dead_set_has_failed(
    w: World, app: App, work: Any, ran: list[Any]
) -> None:
    """Its retries are used up there, or somebody kills it in Sidekiq's dashboard."""
    run = pushed(app, chain(work.s(1), work.s(2)).set(on_error=work.s("told")))
    job = json.loads(taken(w)) | {"error_class": "RuntimeError", "error_message": "in Ruby"}
    w.redis.zadd("dead", {json.dumps(job): 1_800_000_000})
    w.advance(seconds=LONG)
    assert [one.state for one in run.info.steps] == ["failed", "blocked", "done"]
    assert (state(run), error(run)) == ("failed", "RuntimeError: in Ruby")
    [(failed, told)] = ran
    assert (failed.error_class, told) == ("RuntimeError", "told")
    run.retry()
    w.run()
    assert (state(run), ran[1:], w.api.dead.size) == ("done", [(1,), (1, 2)], 0)


def test_a_dead_step_that_is_retried_in_ruby_meanwhile_goes_on(
    w: World, app: App, work: Any
) -> None:
    """What has left the dead set when it is to be ended runs."""
    run, search = pushed(app, chain(work.s(1), work.s(2))), LostSteps(w.api)
    raw = taken(w)
    w.redis.zadd("dead", {raw: 1})
    assert search.missing([run.id]) == {}
    w.redis.zrem("dead", raw)
    w.redis.lpush("queue:default", raw)
    assert search.end_dead() == 0
    w.run()
    assert state(run) == "done"


@pytest.mark.parametrize("moved", ["retried", "retried by hand"])
def test_what_has_been_moved_meanwhile_is_not_lost(
    w: World, app: App, work: Any, ran: list[Any], moved: str
) -> None:
    """One search may miss a job that moves; the second one then, too."""
    run = pushed(app, chain(work.s("fails once"), work.s(2)))
    key = f"jobd:workflow:{run.id}"
    before = w.redis.hget(key, "moves") or b"0"
    if moved == "retried":
        w.run(1)
    else:
        queue = w.api.queue("default")
        queue.delete(next(iter(queue)))
        run.retry()
    words = [run.id, before, "{}", 0]
    assert scripts.LOSE_STEPS(w.redis, ["queues"], words) == -1
    assert run.info.steps[0].state == "pushed"


def test_only_the_keeper_that_leads_searches(
    w: World, app: App, work: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pushed(app, chain(work.s(1), work.s(2)))
    taken(w)
    with monkeypatch.context() as patch:
        for watch in w._keeper.reconcile._lost:
            patch.setattr(watch, "_leads", lambda: 0)
        w.advance(seconds=LONG)
        assert state(run) == "running"
    w.advance(seconds=LONG)
    assert state(run) == "failed"


def test_many_workflows_are_looked_at_at_once(w: World, app: App, work: Any) -> None:
    runs = [pushed(app, chain(work.s(n).set(queue="other"), work.s(2))) for n in range(250)]
    for _ in range(3):
        taken(w, "other")
    w.advance(seconds=LONG)
    assert [run.state for run in runs[:4]] == ["failed"] * 3 + ["running"]
    assert {run.state for run in runs[4:]} == {"running"}


def test_what_ended_long_ago_is_not_in_the_way(w: World, app: App, work: Any) -> None:
    for number in range(250):
        pushed(app, chain(work.s(number), work.s(2)))
    w.run()
    run = pushed(app, chain(work.s(1), work.s(2)))
    taken(w)
    w.advance(seconds=LONG)
    assert run.state == "failed"
