"""Which batches and workflows a chaos run pushes; it sees what is wrong with their end."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from jobctl.chaos.journal import Execution
from jobd.api.features.batches import Recount
from jobd.features.batches.record import status_of
from jobd.features.workflows.record import StepInfo, Summary, WorkflowInfo
from jobd.wire.batches import callback_jid, member_jid
from tests.chaos import flow_verdict, flows
from tests.chaos.flow_producer import CALLBACKS, FlowProducer
from tests.chaos.flow_verdict import BatchEnd, Ends
from tests.chaos.flows import FATES, JOBS, Flow, Members, Shape
from tests.faults.test_chaos import SEED, lived

BID = "00c0ffee00c0ffee"
IN_FLIGHT = "jobd:inflight:host:11:x"


def test_the_same_seed_gives_the_same_flows() -> None:
    one, same, other = (list(islice(flows.flows(seed), 500)) for seed in (SEED, SEED, SEED + 1))
    assert one == same != other
    assert {flow.shape for flow in one[: len(Shape)]} == set(Shape)
    assert all((flow.members is None) != (flow.shape is Shape.BATCH) for flow in one)
    members = [flow.members for flow in one if flow.members is not None]
    assert any(inner.inner for outer in members for inner in outer.inner), "two deep"
    assert {outer.cancelled for outer in members} == {True, False}


def test_each_job_of_the_application_is_pushed() -> None:
    application = (Path(flows.__file__).parent / "flow_app.py").read_text()
    assert set(re.findall(r'@job\(name="(\w+)"', application)) == JOBS.keys() >= FATES.keys()


def pushed(jid: str, name: str, **field: Any) -> str:
    """The payload of a job."""
    job = {"class": name, "jid": jid, "jobd": {"v": 1, **field}}
    return json.dumps(job, separators=(",", ":"))


def over(raw: str) -> list[tuple[str, ...]]:
    """What the server's file has of a job that was done."""
    return [("HSET", IN_FLIGHT, "1:low", raw), ("HDEL", IN_FLIGHT, "1:low")]


def ran(jid: str, began: float = 1.0, outcome: str = "done") -> list[Execution]:
    return [Execution(jid, 11, began, began + 0.5, outcome)]


@pytest.fixture
def made(server: Any) -> FlowProducer:
    return FlowProducer(server.url, SEED)


@pytest.mark.parametrize(
    ("told", "events", "good"),
    [
        ({}, ("complete", "death"), True),
        ({"total": 3}, ("complete", "death"), False),
        ({"done": 0}, ("complete", "death"), False),
        ({"pending": 1}, ("complete", "death"), False),
        ({"unconfirmed": 1, "done": 0}, ("complete", "death"), False),
        ({}, ("complete",), False),  # a callback was not pushed
        ({}, ("complete", "death", "success"), False),
    ],
)
def test_the_end_of_a_batch_is_looked_at(
    tmp_path: Path, made: FlowProducer, told: dict[str, int], events: tuple[str, ...], good: bool
) -> None:
    good_one, dead = (member_jid(BID, number) for number in range(2))
    raws = [pushed(good_one, "part", batch=[BID, 0]), pushed(dead, "falls", batch=[BID, 1])]
    calls = [callback_jid(BID, event, number) for event in events for number in range(CALLBACKS)]
    commands = [*over(raws[0]), ("ZADD", "dead", "1", raws[1])]
    commands += [command for jid in calls for command in over(pushed(jid, "called"))]
    fields = {"total": 2, "done": 1, "dead": 1, "failed": 1, "ended_at": 9, "death_at": 9, **told}
    status = status_of(BID, {name.encode(): str(value).encode() for name, value in fields.items()})
    assert status is not None
    made.batches[BID] = Members(1, 1, 0, (), (), cancelled=False, ends_early=False)
    made.whole.add(BID)
    ends = Ends({BID: BatchEnd(status, Recount((), {}, repaired=False))}, {})
    journal = {good_one: ran(good_one), dead: ran(dead, outcome="failed")}
    verdict = flow_verdict.judge(lived(tmp_path, *commands), journal, ends, made)
    assert (not verdict.wrong) == good, verdict.wrong


def test_a_batch_that_is_not_there_is_missed(tmp_path: Path, made: FlowProducer) -> None:
    made.whole.add(BID)
    verdict = flow_verdict.judge(lived(tmp_path), {}, Ends({}, {}), made)
    assert verdict.wrong == [f"{BID}: pushed, and not there"]


def step(number: int, state: Any = "done") -> StepInfo:
    after = (number - 1,) if number else ()
    jid = f"{number:024}"
    return StepInfo(number, "", "part", jid, after, state, "stop", "", -1)


def summary(state: Any = "done", done: int = 2, failed: int = 0, live: int = 0) -> Summary:
    return Summary("flow-1", "", state, 2, done, failed, 0, live, 1.0, 9.0, "")


@pytest.mark.parametrize(
    ("steps", "told", "begins", "result", "good"),
    [
        ((step(0), step(1)), summary(), (1.0, 2.0), 1, True),
        ((step(0), step(1)), summary(), (1.0, 2.0), 7, False),  # the wrong result
        ((step(0), step(1)), summary(), (1.0, 1.2), 1, False),  # before the first one was over
        ((step(0), step(1)), summary(done=1), (1.0, 2.0), 1, False),
        ((step(0), step(1)), summary(live=1), (1.0, 2.0), 1, False),
        ((step(0), step(1)), summary("failed"), (1.0, 2.0), 1, False),
        ((step(0), step(1, "waiting")), summary("running", done=1), (1.0,), None, False),
        ((step(0), step(1, "blocked")), summary("failed", done=1, failed=1), (1.0,), None, False),
    ],
)
def test_the_end_of_a_workflow_is_looked_at(
    tmp_path: Path,
    made: FlowProducer,
    steps: tuple[StepInfo, ...],
    told: Summary,
    begins: tuple[float, ...],
    result: object,
    good: bool,
) -> None:
    jids = [one.jid for one in steps[: len(begins)]]
    commands = [command for jid in jids for command in over(pushed(jid, "part"))]
    journal = {jid: ran(jid, at) for jid, at in zip(jids, begins, strict=True)}
    made.workflows["flow-1"] = Flow("flow-1", Shape.CHAIN, "low", (0, 0), 0)
    made.whole.add("flow-1")
    ends = Ends({}, {"flow-1": (WorkflowInfo(told, steps), result)})
    verdict = flow_verdict.judge(lived(tmp_path, *commands), journal, ends, made)
    assert (not verdict.wrong) == good, verdict.wrong
