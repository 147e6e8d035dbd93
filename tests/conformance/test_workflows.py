"""Workflows: their order, results, failures, cancellation and additions; on both stores."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, cast

import pytest

from jobd.errors import ArgumentError, ConflictError, JobNotFoundError
from jobd.features.workflows.current import current_step
from jobd.features.workflows.results import StepResults
from jobd.features.workflows.run import WorkflowRun
from jobd.features.workflows.workflow import Workflow
from jobd.graphs.inputs import FailedStep
from jobd.jobs.app import App
from jobd.jobs.canvas.parts import chain, chord, group
from jobd.testing.simulation import World


@pytest.fixture
def ran() -> list[Any]:
    return []


class Jobs:
    """The jobs of these tests.

    Attributes:
        broken: what ``work`` fails at.
    """

    def __init__(self, app: App, ran: list[Any]) -> None:
        self.broken: set[Any] = set()
        self.app = app

        def add(a: int, b: int = 1) -> int:
            ran.append(("add", a, b))
            return a + b

        def total(values: list[int]) -> int:
            ran.append(("total", values))
            return sum(values)

        def work(name: str) -> str:
            ran.append(name)
            if name in self.broken:
                raise ValueError(f"{name} is broken")
            return name.upper()

        def see(value: object, *more: object) -> None:
            ran.append(("see", value, *more))

        def undo(value: object) -> None:
            ran.append(("undo", value))

        def grow(names: list[str], wait: bool = True) -> str:
            ran.append(("grow", names))
            current_step(app.client).add(group(self.work.s(name) for name in names), wait=wait)
            if "grow" in self.broken:
                raise ValueError("after the addition")
            return "grown"

        def read() -> None:
            ran.append(("read", list(current_step(app.client).results())))

        self.add = app.job(name="add")(add)
        self.total = app.job(name="total")(total)
        self.work = app.job(name="work", retry=0)(work)
        self.see = app.job(name="see")(see)
        self.undo = app.job(name="undo")(undo)
        self.grow = app.job(name="grow", retry=1, retry_in=lambda *_: 1.0)(grow)
        self.read = app.job(name="read")(read)


@pytest.fixture
def jobs(app: App, ran: list[Any]) -> Jobs:
    return Jobs(app, ran)


def run_of(w: World, jobs: Jobs, ref: str | None) -> WorkflowRun:
    assert ref is not None
    return Workflow.get(ref, jobs.app.client)


def state(run: WorkflowRun) -> str:
    return run.state


def states(run: WorkflowRun) -> dict[str, str]:
    return {one.name or f"{one.job}{one.number}": one.state for one in run.info.steps}


# -- the canvas ------------------------------------------------------------------------------------


def test_a_chain_passes_results_on(w: World, jobs: Jobs, ran: list[Any]) -> None:
    flow = jobs.add.s(1) | jobs.add.s(5) | jobs.work.si("x") | jobs.see.s(7)
    run = run_of(w, jobs, flow.perform_async())
    assert run.state == "running"
    assert w.run() == 4
    assert ran == [("add", 1, 1), ("add", 2, 5), "x", ("see", "X", 7)]
    assert run.wait(0) == "done"
    assert run.result(1) == 7


def test_a_chord_gets_a_list_in_the_order_of_the_group(
    w: World, jobs: Jobs, ran: list[Any]
) -> None:
    run = run_of(w, jobs, chord((jobs.add.s(i) for i in range(5)), jobs.total.s()).perform_async())
    w.run()
    assert ran[-1] == ("total", [1, 2, 3, 4, 5])
    assert run.result() == 15


def test_groups_after_groups_take_the_whole_list(w: World, jobs: Jobs, ran: list[Any]) -> None:
    flow = chain(
        jobs.add.s(0),
        group(jobs.add.s(10), jobs.add.s(20) | jobs.add.s(30)),
        group(jobs.total.s(), jobs.see.s()),
    )
    run = run_of(w, jobs, flow.perform_async())
    w.run()
    assert ("total", [11, 51]) in ran
    assert ("see", [11, 51]) in ran
    assert run.result() == [62, None]
    assert run.info.summary.done == run.info.summary.size == 6


def test_an_empty_group_is_done(w: World, jobs: Jobs, ran: list[Any]) -> None:
    assert group().perform_async() is None
    run = run_of(w, jobs, chain(jobs.add.s(1), group(), jobs.total.s()).perform_async())
    w.run()
    assert ran[-1] == ("total", [])
    assert run.state == "done"
    run = run_of(w, jobs, (group() | jobs.total.s()).perform_async())
    w.run()
    assert run.result() == 0


def test_a_wide_group_needs_no_keeper_at_its_push(w: World, jobs: Jobs, ran: list[Any]) -> None:
    run = run_of(
        w, jobs, chord((jobs.add.s(i) for i in range(450)), jobs.read.si()).perform_async()
    )
    assert w.api.queue("default").size == 450
    w.run()
    assert ran[-1] == ("read", list(range(1, 451)))
    assert run.state == "done"


def test_a_wide_fan_behind_a_step_is_pushed_in_portions(
    w: World, jobs: Jobs, ran: list[Any]
) -> None:
    flow = chain(jobs.add.s(1), group(jobs.add.s(i) for i in range(350)), jobs.total.s())
    run = run_of(w, jobs, flow.perform_async())
    w.run()
    assert ran[-1] == ("total", [2 + i for i in range(350)])
    assert run.state == "done"


def test_two_pushes_under_one_id_are_one_workflow(w: World, jobs: Jobs, ran: list[Any]) -> None:
    flow = chain(jobs.work.si("a"), jobs.work.si("b")).set(id="once")
    assert flow.perform_async() == "once" == flow.perform_async()
    w.run()
    assert ran == ["a", "b"]
    assert flow.perform_async() == "once"
    assert w.run() == 0


# -- graphs ----------------------------------------------------------------------------------------


def test_steps_wait_for_what_they_name_and_what_they_take(
    w: World, jobs: Jobs, ran: list[Any]
) -> None:
    flow = Workflow("diamond", id="d-1")
    top = flow.step("top", jobs.work.s("top"))
    left = flow.step("left", jobs.work.s("left"), after=top)
    flow.step("right", jobs.add.s(5), after="top")
    flow.step("end", jobs.see.s(left.result, {"deep": [flow.result("right")]}))
    run = run_of(w, jobs, flow.perform_async())
    w.run()
    assert ran[0] == "top"
    assert ran[-1] == ("see", "LEFT", {"deep": [6]})
    assert states(run) == dict.fromkeys(("top", "left", "right", "end"), "done")
    assert (run.info.summary.name, run.result("left")) == ("diamond", "LEFT")
    with pytest.raises(KeyError):
        run.result("middle")


def test_what_cannot_be_run_is_refused_when_it_is_built(w: World, jobs: Jobs) -> None:
    flow = Workflow()
    flow.step("a", jobs.work.s("a"), after="b")
    flow.step("b", jobs.work.s("b"), after="a")
    with pytest.raises(ArgumentError, match=r"circle: (a → b → a|b → a → b)"):
        flow.perform_async()
    flow = Workflow()
    flow.step("a", jobs.work.s("a"), after="nowhere")
    with pytest.raises(ArgumentError, match="no step 'nowhere'; the steps are: a"):
        flow.perform_async()
    with pytest.raises(ArgumentError, match="two steps are called 'a'"):
        flow.step("a", jobs.work.s("a"))
    with pytest.raises(ArgumentError, match="its signature is"):
        chain(jobs.work.s("a"), jobs.work.s("b")).perform_async()
    with pytest.raises(ArgumentError, match=r"100,000 steps"):
        group(jobs.work.s("a") for _ in range(100_001)).perform_async()
    with pytest.raises(ArgumentError, match="is unique"):
        chain(jobs.work.set(unique=True).s("a"), jobs.work.si("b")).perform_async()
    with pytest.raises(ArgumentError, match="takes signatures"):
        chain(jobs.work.s("a"), cast(Any, "b"))
    with pytest.raises(ArgumentError, match="unknown option 'queue'"):
        chain(jobs.work.s("a")).set(queue="low")
    assert w.api.stats().enqueued == 0
    assert list(w.api.workflows) == []


# -- failures --------------------------------------------------------------------------------------


def test_a_failed_step_stops_those_after_it_and_no_other_branch(
    w: World, jobs: Jobs, ran: list[Any]
) -> None:
    jobs.broken = {"left"}
    flow = Workflow(on_error=jobs.see.s())
    flow.step("left", jobs.work.s("left"))
    flow.step("after", jobs.work.s("after"), after="left")
    flow.step("right", jobs.work.s("right"))
    flow.step("last", jobs.work.s("last"), after="right")
    run = run_of(w, jobs, flow.perform_async())
    w.run()
    found = states(run)
    assert state(run) == "failed"
    assert [found[one] for one in ("left", "after", "last")] == ["failed", "blocked", "done"]
    told = [one[1] for one in ran if one[0] == "see"]
    assert [(one.error_class, one.message) for one in told] == [("ValueError", "left is broken")]
    assert [(one.name, one.state) for one in told] == [("left", "failed")]
    assert run.info.steps[-1].of == run.info.steps[0].number
    assert run.result("left").name == "left"
    jobs.broken = set()
    assert run.retry() == 1
    assert list(w.dead) == []
    assert state(run) == "running"
    w.run()
    assert state(run) == "done"
    assert ran[-2:] == ["left", "after"]
    assert run.retry() == 0
    assert ran.count("right") == 1


def test_retrying_the_dead_job_by_hand_resumes(w: World, jobs: Jobs, ran: list[Any]) -> None:
    jobs.broken = {"a"}
    run = run_of(w, jobs, chain(jobs.work.s("a"), jobs.see.s()).perform_async())
    w.run()
    assert run.state == "failed"
    jobs.broken = set()
    w.dead.retry(next(iter(w.dead)))
    w.run()
    assert (ran, run.state) == (["a", "a", ("see", "A")], "done")


def test_a_retry_of_what_runs_again_already_is_kept_out(
    w: World, jobs: Jobs, ran: list[Any]
) -> None:
    jobs.broken = {"a"}
    run = run_of(w, jobs, chain(jobs.work.s("a"), jobs.see.s()).perform_async())
    w.run()
    entry = next(iter(w.dead))
    raw = entry.value
    jobs.broken = set()
    run.retry()
    w.redis.zadd("dead", {raw: 1.0})  # as if it had been copied
    with pytest.raises(ConflictError, match=f"A step of workflow {run.id} cannot come back"):
        w.dead.retry(next(iter(w.dead)))
    w.run()
    assert ran == ["a", "a", ("see", "A")]


def test_the_step_of_a_cancelled_workflow_says_why_it_cannot_come_back(
    w: World, jobs: Jobs
) -> None:
    jobs.broken = {"a"}
    run = run_of(w, jobs, chain(jobs.work.s("a").step(on_failure="cancel")).perform_async())
    w.run()
    entry, why = next(iter(w.dead)), f"of workflow {run.id} .*: the workflow was cancelled"
    with pytest.raises(ConflictError, match=why):
        w.dead.retry(entry)
    with pytest.raises(ConflictError, match=why):
        w.dead.replace(entry, {"args": ["b"]})


def test_with_continue_those_after_it_see_the_failure(w: World, jobs: Jobs, ran: list[Any]) -> None:
    jobs.broken = {"b"}
    parts = [jobs.work.s("a"), jobs.work.s("b").step(on_failure="continue")]
    run = run_of(w, jobs, chord(parts, jobs.see.s()).perform_async())
    w.run()
    [(_, [first, second])] = [one for one in ran if one[0] == "see"]
    assert first == "A"
    assert isinstance(second, FailedStep)
    assert (second.state, second.message) == ("failed", "b is broken")
    assert run.state == "done"
    assert run.info.summary.passed == 1


def test_cancelling_undoes_what_is_done_the_last_first(
    w: World, jobs: Jobs, ran: list[Any]
) -> None:
    flow = chain(
        jobs.work.si("a").step(compensate=jobs.undo.s()),
        jobs.work.si("b").step(compensate=jobs.undo.s()),
        jobs.work.si("c").step(on_failure="cancel", compensate=jobs.undo.s()),
        jobs.work.si("d"),
    )
    jobs.broken = {"c"}
    run = run_of(w, jobs, flow.perform_async())
    w.run()
    assert ran == ["a", "b", "c", ("undo", "B"), ("undo", "A")]
    assert run.state == "failed"
    assert run.info.summary.cancelled == "step"
    with pytest.raises(ConflictError, match="cancelled"):
        run.retry()
    w.advance(100_000)
    assert run.state == "failed", "as long as its dead step may be"


def test_what_undoes_a_step_or_tells_of_an_error_goes_to_the_same_redis(
    w: World, jobs: Jobs
) -> None:
    """It was stored with the steps, where no worker knows it."""
    other = App()
    other.configure("redis://127.0.0.1:2/0")
    elsewhere: Any = other.job(name="elsewhere")(lambda _: None)
    undone = chain(jobs.work.si("a").step(compensate=elsewhere.s()), jobs.work.si("b"))
    told = chain(jobs.work.si("a"), jobs.work.si("b")).set(on_error=elsewhere.s())
    for flow in (undone, told):
        with pytest.raises(ArgumentError, match="elsewhere goes to another one"):
            flow.perform_async()
    assert w.api.queue("default").size == 0


def test_cancelling_by_hand_takes_out_what_waits(w: World, jobs: Jobs, ran: list[Any]) -> None:
    flow = chain(group(jobs.work.s(name) for name in "abc"), jobs.see.s())
    ref = flow.perform_async()
    run = run_of(w, jobs, ref)
    assert w.api.workflows.cancel(str(ref))
    assert w.api.queue("default").size == 0
    w.run()
    assert (ran, run.state) == ([], "cancelled")
    assert set(states(run).values()) == {"cancelled"}
    assert not run.cancel()


def test_a_keeper_takes_out_what_waits(w: World, jobs: Jobs, ran: list[Any]) -> None:
    run = run_of(w, jobs, group(jobs.work.s(name) for name in "abc").perform_async())
    assert run.cancel()
    w.run()
    assert (ran, run.state) == ([], "cancelled")


def test_deleted_and_expired_steps_have_failed(w: World, jobs: Jobs, ran: list[Any]) -> None:
    run = run_of(w, jobs, chain(jobs.work.s("a"), jobs.see.s()).perform_async())
    queue = w.api.queue("default")
    queue.delete(next(iter(queue)))
    assert (run.state, run.info.steps[0].state) == ("failed", "cancelled")
    assert run.retry() == 1
    w.run()
    assert run.state == "done"
    late = chain(jobs.work.set(expires_in=5).s("a"), jobs.see.s())
    run = run_of(w, jobs, late.perform_async())
    queue.pause()
    w.advance(10)
    queue.unpause()
    w.run()
    assert (run.state, run.info.steps[0].state) == ("failed", "expired")


def test_what_cannot_be_passed_on_fails_the_step_that_returns_it(
    w: World, app: App, jobs: Jobs, ran: list[Any]
) -> None:
    returned: list[Any] = [object()]
    big = app.job(name="big")(lambda: returned[0])
    run = run_of(w, jobs, (big.s() | jobs.see.s()).perform_async())
    w.run()
    [step, _] = run.info.steps
    assert (step.state, run.state) == ("failed", "failed")
    assert "the result is not JSON" in step.error
    returned[0] = "x" * 2_000_000
    run.retry()
    w.run()
    assert "at most 1,048,576 are kept" in run.info.steps[0].error
    returned[0] = 3
    run.retry()
    w.run()
    assert ran == [("see", 3)]


def test_what_nobody_takes_need_not_be_json(w: World, app: App, jobs: Jobs) -> None:
    run = run_of(
        w, jobs, (app.job(name="odd")(lambda: object()).s() | jobs.work.si("a")).perform_async()
    )
    w.run()
    assert run.state == "done"


def test_a_list_that_would_be_too_large_is_read_when_it_is_needed(
    w: World, app: App, ran: list[Any]
) -> None:
    @app.job(name="large")
    def large(number: int) -> str:
        return chr(ord("a") + number) * 900_000

    @app.job(name="heads")
    def heads(values: Sequence[str], other: str, more: dict[str, list[str]]) -> str:
        ran.append((type(values), len(values), type(more["of"])))
        assert [one[:2] for one in values[1:3]] == ["bb", "cc"]
        assert values[-1] == "t" * 900_000
        return "".join(one[0] for one in values) + other[0] + more["of"][1][0]

    flow = Workflow()
    every = flow.step("all", group(large.s(number) for number in range(20)))
    two = flow.step("two", group(large.s(number) for number in (20, 21)))
    one = flow.step("one", large.s(22))
    flow.step("heads", heads.s(every.result, one.result, more={"of": two.result}))
    run = Workflow.get(str(flow.perform_async()), app.client)
    w.run()
    assert run.result("heads") == "abcdefghijklmnopqrstwv"
    assert ran == [(StepResults, 20, StepResults)]


# -- additions -------------------------------------------------------------------------------------


def test_a_step_adds_steps_that_those_after_it_wait_for(
    w: World, jobs: Jobs, ran: list[Any]
) -> None:
    run = run_of(w, jobs, chain(jobs.grow.s(["x", "y"]), jobs.see.s()).perform_async())
    w.run()
    assert ran[0] == ("grow", ["x", "y"])
    assert set(ran[1:3]) == {"x", "y"}
    assert ran[3:] == [("see", "grown")]
    assert run.state == "done"
    assert run.info.summary.size == 4


def test_what_comes_after_added_steps_is_the_last_and_waits_for_them(
    w: World, jobs: Jobs, ran: list[Any]
) -> None:
    run = run_of(w, jobs, chain(jobs.grow.s(["x", "y"]), jobs.work.si("last")).perform_async())
    w.run()
    assert run.result() == "LAST"
    last, joint = run.info.steps[1], run.info.steps[-1]
    assert joint.number in last.after
    jobs.broken = {"y"}
    run = run_of(w, jobs, chain(jobs.grow.s(["x", "y"]), jobs.work.si("last")).perform_async())
    w.run()
    assert [run.state, run.info.steps[1].state] == ["failed", "blocked"]


def test_a_step_that_runs_again_has_added_them_already(
    w: World, jobs: Jobs, ran: list[Any]
) -> None:
    jobs.broken = {"grow"}
    run = run_of(w, jobs, chain(jobs.grow.s(["x"], wait=False), jobs.work.si("z")).perform_async())
    w.run()
    jobs.broken = set()
    w.advance(30)
    w.run()
    assert sorted(one for one in ran if isinstance(one, str)) == ["x", "z"]
    assert run.state == "done"


def test_a_step_that_is_retried_from_the_dead_set_has_added_them_already(
    w: World, jobs: Jobs, ran: list[Any]
) -> None:
    jobs.broken = {"grow"}
    grows = jobs.grow.s(["x"], wait=False).step(on_failure="continue")
    run = run_of(w, jobs, chain(grows, jobs.see.si(1)).perform_async())
    w.run()
    w.advance(30)
    w.run()
    assert run.state == "done"
    jobs.broken = set()
    assert w.dead.retry(next(iter(w.dead))) == 1
    w.run()
    assert w.dead.size == w.retries.size == 0
    assert [one for one in ran if one == "x"] == ["x"]


@pytest.mark.parametrize("apart", ["tasks", "threads"])
def test_a_step_adds_steps_from_its_tasks_and_threads(
    w: World, app: App, jobs: Jobs, apart: str
) -> None:
    def one(number: int) -> None:
        current_step(app.client).add(jobs.work.si(str(number)))

    async def task(number: int) -> None:
        one(number)

    @app.job(name="plan")
    async def plan() -> None:
        if apart == "tasks":
            await asyncio.gather(*(task(number) for number in range(5)))
        else:
            await asyncio.gather(*(asyncio.to_thread(one, number) for number in range(5)))

    run = run_of(w, jobs, chain(plan.si(), jobs.work.si("last")).perform_async())
    w.run()
    assert (run.state, run.info.steps[1].state) == ("done", "done")
    assert len([step for step in run.info.steps if step.job == "work"]) == 6


# -- its end ---------------------------------------------------------------------------------------


def test_it_is_kept_for_a_day_after_its_end(w: World, jobs: Jobs) -> None:
    run = run_of(w, jobs, chain(jobs.work.s("a"), jobs.see.s()).perform_async())
    w.run()
    assert len(w.api.workflows) == 1
    w.advance(86_000)
    assert run.state == "done"
    w.advance(1000)
    with pytest.raises(JobNotFoundError):
        _ = run.state
    run_of(w, jobs, chain(jobs.work.s("a"), jobs.see.s()).perform_async())
    w.run()
    assert [one.id for one in w.api.workflows] != [run.id]
    assert len(w.api.workflows) == 1


@pytest.mark.parametrize("number", [-1, -2, 0.5, 1e300, "0", None])
def test_a_number_that_is_none_ends_no_step(
    w: World, app: App, jobs: Jobs, ran: list[Any], number: object
) -> None:
    ref = cast("str", group(jobs.work.s(name) for name in "ab").perform_async())
    run = WorkflowRun(ref, app.client)
    about = {"class": "work", "args": ["c"], "jid": "hand", "queue": "default"}
    hand = {**about, "jobd": {"v": 1, "node": {"id": run.id, "n": number}}}
    w.redis.zadd("retry", {json.dumps(hand): w.redis.time()[0] + 1e4})
    next(iter(w.api.retries)).delete()
    assert run.info.summary.live == 2
    w.run()
    assert (run.state, sorted(ran)) == ("done", ["a", "b"])


def test_a_dead_step_that_is_restored_does_not_end_its_next_attempt(
    w: World, jobs: Jobs, ran: list[Any]
) -> None:
    jobs.broken.add("a")
    run = run_of(w, jobs, chain(jobs.work.s("a"), jobs.see.s()).perform_async())
    w.run()
    assert state(run) == "failed"
    api = w.api.acting_as("ann")
    next(iter(api.dead)).delete()
    assert run.retry() == 1
    assert next(iter(api.trash)).restore() == 1
    assert (state(run), run.info.summary.live) == ("running", 1)
    with pytest.raises(ConflictError):
        next(iter(w.api.dead)).retry()
    jobs.broken.clear()
    w.run()
    assert (state(run), ran) == ("done", ["a", "a", ("see", "A")])
