"""``jobctl why`` of jobs that are part of a whole: members and callbacks of batches, steps of
workflows."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import redis as redis_py
from click.testing import CliRunner

import jobd
from jobctl.cli import jobctl
from jobd import App, Workflow
from jobd.api import Api
from jobd.graphs.plan import jid_of
from jobd.store.keys import Keys
from jobd.testing import EmbeddedServer
from jobd.wire.batches import callback_jid
from tests.support.workflows import NASTY, end, jobs_of, order


class Asked(SimpleNamespace):
    """What the command says: the sentence, and the lines below it."""

    code: int
    sentence: str
    rest: str


@pytest.fixture
def why(server: EmbeddedServer, redis: redis_py.Redis) -> Any:
    assert redis.ping()

    def ask(jid: str, *arguments: str) -> Asked:
        runner = CliRunner(env={"COLUMNS": "200"})
        words = ["why", jid, "--redis", server.url, *arguments]
        told = runner.invoke(jobctl, words, standalone_mode=False)
        sentence, _, rest = told.stdout.partition("\n")
        return Asked(code=told.return_value, sentence=sentence, rest=rest)

    return ask


@pytest.fixture
def app(server: EmbeddedServer) -> App:
    made = App()
    made.configure(server.url)
    return made


def batch(app: App) -> tuple[jobd.Batch, list[str]]:
    """Three members, and a callback for each event."""
    note: Any = app.job(name="note", retry=0)(lambda value=0: value)
    with jobd.Batch(client=app.client) as made:
        for event in ("success", "complete", "death"):
            getattr(made, f"on_{event}")(note)
        jids = note.perform_bulk([[1], [2], [3]])
    return made, jids


def test_a_member_that_waits(why: Any, app: App, redis: redis_py.Redis) -> None:
    made, [jid, *_] = batch(app)
    asked = why(jid)
    assert asked.sentence.startswith("No worker process runs")
    assert f"It is a member of batch {made.bid}." in asked.rest
    [told] = [json.loads(line) for line in why(jid, "--json").sentence.splitlines()]
    assert [one["kind"] for one in told["reasons"]] == ["no_process", "position", "batch"]
    raw: Any = redis.rpop("queue:default")
    redis.zadd("retry", {raw: 4e9})
    assert f"It is a member of batch {made.bid}." in why(jid).rest
    redis.delete("retry")
    redis.zadd("dead", {raw: redis.time()[0]})
    dead = why(jid)
    assert dead.sentence.startswith("It is dead")
    assert f"It is a member of batch {made.bid}." in dead.rest
    redis.delete("dead")
    redis.hset("jobd:inflight:vm:7:n", "1:default", raw)
    redis.zadd("jobd:owners", {"vm:7:n": redis.time()[0] + 60})
    assert f"It is a member of batch {made.bid}." in why(jid).rest


def test_a_member_that_has_ended(why: Any, app: App, redis: redis_py.Redis) -> None:
    made, [first, second, third] = batch(app)
    assert end(redis, "", "done") == 1
    assert why(first).sentence == f"It was a member of batch {made.bid}, and is done."
    assert why(first).code == 0
    assert end(redis, "", "failed") == 1
    assert why(second).sentence.endswith("and has died or was discarded.")
    redis.delete("queue:default")
    asked = why(third)
    assert asked.sentence.startswith(f"It is a pending member of batch {made.bid}, but nowhere")
    assert f"jobctl batch doctor {made.bid}" in asked.rest
    Api(redis).batches.recount(made.bid, repair=True)
    assert "a program that knows no batches has run or deleted it" in why(third).sentence
    unknown = why(f"{made.bid}000000ff")
    assert (unknown.code, unknown.sentence[:19]) == (1, "It is not in Redis:")


def test_a_callback_that_waits_for_its_event(why: Any, app: App, redis: redis_py.Redis) -> None:
    made, _ = batch(app)
    success, _, death = (
        callback_jid(made.bid, event, number)
        for number, event in enumerate(("success", "complete", "death"))
    )
    end(redis, "", "done")
    assert why(success).sentence == (
        f"It is a callback of batch {made.bid} and waits for its success: of 3 jobs 2 are pending "
        "and 0 dead."
    )
    assert f"jobctl batch show {made.bid}" in why(success).rest
    end(redis, "", "failed")
    assert "waits for its success: of 3 jobs 1 are pending and 1 dead" in why(success).sentence
    assert f"It is a callback of batch {made.bid}, pushed for its death." in why(death).rest
    redis.delete("queue:default")
    assert why(death).sentence.startswith(f"It was pushed as a callback of batch {made.bid}")


def test_a_member_that_waits_for_a_lock(why: Any, app: App) -> None:
    turn: Any = app.job(name="turn", unique=True, on_conflict="again")(lambda: None)
    holder = turn.perform_async()
    with jobd.Batch(client=app.client) as made:
        jid = turn.perform_async()
    asked = why(jid)
    assert asked.sentence == (
        f"It is unique, and waits until job {holder} has ended, which holds its lock."
    )
    assert f"It is a member of batch {made.bid}." in asked.rest
    assert asked.code == 0


def test_steps_of_a_workflow(why: Any, server: EmbeddedServer, redis: redis_py.Redis) -> None:
    jobs = jobs_of(server.url)
    ref = order(jobs)
    steps = {one.name: one for one in Api(redis).workflows[ref].steps}

    def sentence(name: str) -> str:
        return str(why(steps[name].jid).sentence)

    assert f"It is step 0 of workflow {ref}." in why(steps["charge"].jid).rest
    waits = f"of workflow {ref} and waits for step 0 (charge)."
    assert sentence("tell") == f"It is step {steps['tell'].number} (tell) {waits}"
    assert sentence("ship") == f"It is step {steps['ship'].number} (ship) {waits}"
    assert f"jobctl workflow show {ref}" in why(steps["ship"].jid).rest
    end(redis, "")
    assert sentence("charge") == f"It was step 0 (charge) of workflow {ref}, and is done."
    assert "waits for 3 steps that wait or run: 1 (" in sentence("ship")
    end(redis, "", "failed")
    blocked = why(steps["ship"].jid)
    assert blocked.sentence.endswith("and does not run, since step 1 (shop.pack) has failed.")
    assert f"jobctl workflow retry {ref}" in blocked.rest
    assert "has failed for good" in why(jid_of(ref, 1)).sentence
    undo = next(one for one in Api(redis).workflows[ref].steps if one.role == "undo")
    assert "runs only if the workflow fails or is cancelled" in why(undo.jid).sentence
    Api(redis).workflows.cancel(ref)
    assert sentence("ship").endswith("and it or the workflow was cancelled.")


def test_a_step_is_found_among_many(
    why: Any, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    jobs = jobs_of(server.url)
    for number in range(120):
        flow = Workflow(NASTY, id=f"flow-{number}")
        flow.step("last", jobs.ship.si(), after=flow.step("first", jobs.pack.si()))
        flow.perform_async()
    redis.set(Keys("").workflow_steps("flow-3"), "")  # as somebody has written it by hand
    assert "of workflow flow-0 and waits for step 0 (first)" in why(jid_of("flow-0", 1)).sentence
    assert why("no-id").code == why("f" * 24).code == 1


def test_what_comes_later_is_not_the_answer(why: Any, app: App) -> None:
    note: Any = app.job(name="note")(lambda value=0: value)
    jid = note.perform_in(600, 1)
    asked = why(jid)
    assert asked.sentence.startswith("It is scheduled, and will run at ")
    assert "Then: No worker process runs" in asked.rest
    [told] = [json.loads(line) for line in why(jid, "--json").sentence.splitlines()]
    assert told["why"].startswith("It is scheduled")
    assert [one["kind"] for one in told["reasons"]] == ["scheduled", "no_process"]
