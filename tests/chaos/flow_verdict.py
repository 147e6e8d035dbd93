"""Whether batches and workflows came to the right end: what Redis says of them, held against the
life of each job and what the jobs have noted.

That no callback and no step was pushed twice is in the history of each job: none is in two places,
and none is back after its end. Here: that each was pushed which had to be, and no other.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from jobctl.chaos.journal import Execution
from jobd import Workflow
from jobd.api.features.batches import Batches, Recount
from jobd.api.session import Session
from jobd.errors import JobNotFoundError
from jobd.features.batches.record import BatchStatus
from jobd.features.workflows.record import StepInfo, WorkflowInfo
from jobd.jobs.client import Client
from jobd.wire.batches import EVENTS, callback_jid
from tests.chaos.flow_producer import CALLBACKS, FlowProducer
from tests.chaos.flows import FATES, Shape
from tests.chaos.history import History, Life
from tests.chaos.pushes import Fate

_NUMBERS = 100
"""Callbacks, which are given first, have numbers below that."""

_NEVER = Life()


class BatchEnd(NamedTuple):
    """What Redis says of a batch when all jobs have ended."""

    status: BatchStatus
    recount: Recount


class Ends(NamedTuple):
    """Of all; the workflows with the result of the last step."""

    batches: dict[str, BatchEnd]
    workflows: dict[str, tuple[WorkflowInfo, object]]


@dataclass(slots=True)
class FlowVerdict:
    """What was found."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def expect(self, right: object, problem: str) -> None:
        if not right:
            self.wrong.append(problem)


def read(client: Client, batches: Collection[str], workflows: Collection[str]) -> Ends:
    """What Redis says of them; those that it has not are left out."""
    every = Batches(Session(client.redis, client.prefix))
    found: dict[str, BatchEnd] = {}
    for bid in batches:
        try:
            found[bid] = BatchEnd(every.get(bid), every.recount(bid))
        except JobNotFoundError:
            pass
    flows: dict[str, tuple[WorkflowInfo, object]] = {}
    for ref in workflows:
        run = Workflow.get(ref, client)
        try:
            flows[ref] = (run.info, run.result())
        except JobNotFoundError:
            pass
    return Ends(found, flows)


def fates(history: History, ends: Ends) -> dict[str, Fate]:
    """How the jobs of batches and workflows are to end."""
    found: dict[str, Fate] = {}
    cancelled = {bid for bid, end in ends.batches.items() if end.status.cancelled_at is not None}
    for bid, tokens in _members(history).items():
        if bid in cancelled:
            found |= dict.fromkeys(tokens, Fate.PATIENT)
    for info, _ in ends.workflows.values():
        if info.summary.cancelled:
            found |= {one.jid: Fate.PATIENT for one in info.steps if not one.role}
    for token, life in history.lives.items():
        for name, fate in FATES.items():
            if b'"class":"%b"' % name.encode() in life.raw:
                found[token] = fate
    return found


def judge(
    history: History, journal: Mapping[str, list[Execution]], ends: Ends, made: FlowProducer
) -> FlowVerdict:
    """Look at all of them."""
    verdict = FlowVerdict()
    members = _members(history)
    for one in made.whole - ends.batches.keys() - ends.workflows.keys():
        verdict.wrong.append(f"{one}: pushed, and not there")
    for bid, end in ends.batches.items():
        inside = [one.status for one in ends.batches.values() if one.status.parent == bid]
        batch = _Batch(bid, end, inside, members[bid], history, journal, verdict)
        batch.look(made.batches[bid].least if bid in made.whole else None)
    for ref, (info, result) in ends.workflows.items():
        flow = _Flow(info, history, journal, verdict)
        flow.look()
        planned = made.workflows[ref]
        if info.summary.state == "done":
            flow.expect(result == planned.result, f"its result is {result!r}")
        if planned.shape is Shape.GROWING:
            flow.look_at_grown()
    return verdict


def _members(history: History) -> dict[str, list[str]]:
    """The jobs of each batch."""
    found: dict[str, list[str]] = defaultdict(list)
    for token, life in history.lives.items():
        if b'"batch":["' in life.raw:
            found[json.loads(life.raw)["jobd"]["batch"][0]].append(token)
    return found


@dataclass(frozen=True, slots=True)
class _Batch:
    bid: str
    end: BatchEnd
    inside: list[BatchStatus]
    members: list[str]
    history: History
    journal: Mapping[str, list[Execution]]
    verdict: FlowVerdict

    def look(self, least: int | None) -> None:
        """*least* members were pushed; None if only a part of them may have been sent."""
        status, lives = self.end.status, self.history.lives
        self.verdict.counts[f"{'nested ' if status.parent else ''}batch {status.state}"] += 1
        dead = [one for one in self.members if lives[one].places]
        unrun = [one for one in self.members if one not in dead and not self._ran(one)]
        below = sum(1 for one in self.inside if one.success_at is None)
        expected = {
            "total": len(self.members) + len(self.inside),
            "pending": 0,
            "dead": len(dead) + below,
            "unconfirmed": 0,
            "open": 0,
        }
        told = {name: getattr(status, name) for name in expected}
        self.expect(told == expected, f"{told}, not {expected}")
        self.expect(
            status.total == status.done + status.dead + status.dropped,
            f"its members do not add up: {status}",
        )
        # One that was killed when it had run may also have been dropped then.
        self.expect(status.dropped >= len(unrun), f"{len(unrun)} were not run: {status}")
        self.expect(status.total >= (least or 0), f"of {least} members: {status}")
        self.expect(not self.end.recount.counters, f"wrong counters: {self.end.recount.counters}")
        self.expect(not self.end.recount.missing, f"members are lost: {self.end.recount.missing}")
        bad = expected["dead"] > 0
        state = "cancelled" if status.cancelled_at else "failed" if bad else "succeeded"
        self.expect(status.state == state, f"it is {status.state}, not {state}")
        happened = {"success": not bad, "complete": True, "death": bad}
        for event in EVENTS:
            jids = [callback_jid(self.bid, event, number) for number in range(_NUMBERS)]
            pushed = sum(1 for jid in jids if jid in lives)
            right = [CALLBACKS if happened[event] else 0, *([0] if least is None else [])]
            self.expect(pushed in right, f"{pushed} callbacks of {event}, not {right}")
            self.verdict.counts["callbacks"] += pushed

    def _ran(self, token: str) -> bool:
        return any(one.outcome == "done" for one in self.journal.get(token, []))

    def expect(self, right: object, problem: str) -> None:
        self.verdict.expect(right, f"batch {self.bid}: {problem}")


_ENDS: Mapping[str, Callable[[Life], bool]] = {
    "done": lambda life: life.ended is not None and not life.places,
    "failed": lambda life: life.places == [b"dead"],
    "expired": lambda life: life.ended is not None,
    "cancelled": lambda life: not life.places,
    "blocked": lambda life: life.ended is None and not life.places,
    "unused": lambda life: life.ended is None and not life.places,
}
"""What has become of the job of a step in that state."""


@dataclass(frozen=True, slots=True)
class _Flow:
    info: WorkflowInfo
    history: History
    journal: Mapping[str, list[Execution]]
    verdict: FlowVerdict

    def look(self) -> None:
        one, steps = self.info.summary, self.info.steps
        self.verdict.counts[f"workflow {one.state}"] += 1
        for step in steps:
            if step.job:
                self._look_at(step)
        ordinary = [step for step in steps if step.job and not step.role]
        states = Counter(step.state for step in ordinary)
        stopped = [s for s in ordinary if s.state == "failed" and s.on_failure != "continue"]
        expected = {
            "size": len(ordinary),
            "done": states["done"],
            "passed": states["failed"] - len(stopped),
            "live": 0,
        }
        if not one.cancelled:
            expected["failed"] = len(stopped)
        told = {name: getattr(one, name) for name in expected}
        self.expect(told == expected, f"{told}, not {expected}")
        self.expect(one.state == ("failed" if stopped else "done"), f"it is {one.state}")
        for alarm in (step for step in steps if step.role == "error"):
            self.expect((alarm.state == "unused") != bool(stopped), f"on_error is {alarm.state}")
        if one.cancelled:
            self._look_at_undone(steps)

    def _look_at(self, step: StepInfo) -> None:
        life = self.history.lives.get(step.jid, _NEVER)
        fits = _ENDS.get(step.state)
        self.expect(
            fits is not None and fits(life),
            f"step {step.number} is {step.state}, and its job in {life.places} ({life.ended})",
        )
        began = min((one.began for one in self.journal.get(step.jid, [])), default=None)
        if began is None:
            return
        for number in step.after:
            before = self.info.steps[number]
            if before.job and before.state != "failed":
                self.expect(
                    self._over(before) < began, f"step {step.number} began before {number} ended"
                )

    def look_at_grown(self) -> None:
        """What comes after a step that adds others, comes after those."""
        grows, then, *added = self.info.steps
        begins = [one.began for one in self.journal.get(then.jid, [])]
        for step in added if begins else []:
            if grows.number in step.after:
                self.expect(self._over(step) < min(begins), f"step 1 began before {step.number}")

    def _look_at_undone(self, steps: tuple[StepInfo, ...]) -> None:
        """The last step first; each after the one before it."""
        undone = [s for s in steps if s.role == "undo" and s.state == "done"]
        for step in steps:
            if step.role == "undo" and steps[step.of].state == "done":
                failed = any(s.role == "undo" and s.state == "failed" for s in steps)
                self.expect(
                    step.state == "done" or failed, f"step {step.of} was not undone: {step.state}"
                )
        ends = [self._over(step) for step in sorted(undone, key=lambda step: -step.of)]
        self.expect(ends == sorted(ends), "steps were undone in the wrong order")

    def _over(self, step: StepInfo) -> float:
        """When it was first done."""
        found = self.journal.get(step.jid, [])
        return min((one.ended or 0.0 for one in found if one.outcome == "done"), default=0.0)

    def expect(self, right: object, problem: str) -> None:
        self.verdict.expect(right, f"workflow {self.info.summary.id}: {problem}")
