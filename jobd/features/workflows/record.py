"""What is known of a workflow, as it is read from Redis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import msgspec

from jobd.graphs.graph import Policy, followers
from jobd.graphs.inputs import Outcome, outcome
from jobd.graphs.plan import About, Role, Step, jid_of, steps_of
from jobd.wire.json_value import UNREADABLE

State = Literal["running", "done", "failed", "cancelled"]
StepState = Literal[
    "waiting", "pushed", "done", "failed", "expired", "cancelled", "blocked", "unused"
]

SUMMARY = ("about", "state", "size", "done", "failed", "passed", "live", "cancelled", "ended_at")
"""The fields that a summary is made from."""

_LETTERS: Mapping[str, StepState] = {
    "p": "pushed",
    "d": "done",
    "f": "failed",
    "x": "expired",
    "c": "cancelled",
}


@dataclass(frozen=True, slots=True)
class Summary:
    """A workflow without its steps.

    Attributes:
        state: ``"running"`` while any of its jobs is somewhere.
        size: how many steps it has; without those that undo others, and joints.
        done: how many of them are done.
        failed: steps that have failed for good; ``passed`` are those of them after which the
            workflow has gone on.
        live: jobs that wait or run.
        created_at, ended_at: seconds since 1970; None before the end.
        cancelled: whether it was cancelled: by a user, or by a step that has failed.
    """

    id: str
    name: str
    state: State
    size: int
    done: int
    failed: int
    passed: int
    live: int
    created_at: float
    ended_at: float | None
    cancelled: Literal["", "user", "step"]
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class StepInfo:
    """A step.

    Attributes:
        number: in the workflow.
        job: class in the payload; "" for a joint, which only waits for those before it.
        jid: id of its job.
        after: the steps that it waits for.
        state: ``"waiting"``; ``"blocked"``: for a step that has failed; ``"pushed"``: its job
            waits or runs; ``"unused"``: it undoes a step or tells of a failure, and was not needed.
        role: ``"undo"``, ``"error"`` or "".
        of: the step that it undoes, or of whose failure it is told; -1 for none.
        error: class and message of its failure.
    """

    number: int
    name: str
    job: str
    jid: str
    after: tuple[int, ...]
    state: StepState
    on_failure: Policy
    role: Role
    of: int
    error: str = ""

    @property
    def label(self) -> str:
        """Its name; of one that is not in the graph, what it is for."""
        if self.role == "undo":
            return f"undo {self.of}"
        return "on_error" if self.role == "error" else self.name


@dataclass(frozen=True, slots=True)
class WorkflowInfo:
    """A workflow with its steps."""

    summary: Summary
    steps: tuple[StepInfo, ...]


def summary_of(ref: str, fields: Mapping[bytes, bytes | None]) -> Summary | None:
    """The summary in some fields of a hash; None if it is no workflow."""
    about, state = fields.get(b"about"), fields.get(b"state")
    if about is None or state is None:
        return None
    try:
        known = msgspec.json.decode(about, type=About)
    except UNREADABLE:
        return None
    ended = fields.get(b"ended_at")
    return Summary(
        ref,
        known.name,
        cast(State, state.decode(errors="replace")),
        _number(fields.get(b"size")),
        _number(fields.get(b"done")),
        _number(fields.get(b"failed")),
        _number(fields.get(b"passed")),
        _number(fields.get(b"live")),
        known.created_at,
        _time(ended),
        cast(
            "Literal['', 'user', 'step']",
            (fields.get(b"cancelled") or b"").decode(errors="replace"),
        ),
        known.parent,
    )


def info_of(ref: str, fields: Mapping[bytes, bytes], letters: bytes) -> WorkflowInfo | None:
    """The workflow in a hash and the letters of its steps; None if it is none."""
    summary = summary_of(ref, fields)
    if summary is None:
        return None
    try:
        steps = _linked(steps_of(fields), fields)
    except (IndexError, *UNREADABLE):
        return None
    if any(not 0 <= one < len(steps) for step in steps for one in step.after):
        return None
    told = letters.decode("latin-1")[: len(steps)].ljust(len(steps), ".")
    lost = _blocked(steps, told)
    found = tuple(
        _step(ref, number, step, _state(summary, step, told[number], number in lost), fields)
        for number, step in enumerate(steps)
    )
    return WorkflowInfo(summary, found)


def _linked(steps: list[Step], fields: Mapping[bytes, bytes]) -> list[Step]:
    """The *steps*; those that wait for added ones come after their joint."""
    for number, joint in enumerate(steps):
        if joint.job:
            continue
        for one in map(int, filter(None, fields.get(b"s:%d" % number, b"").split(b","))):
            step = steps[one]
            if number not in step.after:
                steps[one] = msgspec.structs.replace(step, after=(*step.after, number))
    return steps


def _blocked(steps: list[Step], letters: str) -> set[int]:
    """The steps that wait for one that has failed."""
    after = followers([step.after for step in steps])
    lost: set[int] = set()
    told = [number for number, letter in enumerate(letters) if letter in "fxc"]
    while told:
        for number in after[told.pop()]:
            if letters[number] == "." and number not in lost:
                lost.add(number)
                told.append(number)
    return lost


def _state(summary: Summary, step: Step, letter: str, blocked: bool) -> StepState:
    if letter != ".":
        return _LETTERS.get(letter.lower(), "waiting")
    if step.role:
        return "unused"
    if summary.cancelled:
        return "cancelled"
    return "blocked" if blocked else "waiting"


def _step(
    ref: str, number: int, step: Step, state: StepState, fields: Mapping[bytes, bytes]
) -> StepInfo:
    error = ""
    if state in ("failed", "expired", "cancelled"):
        error = _error(outcome_of(fields.get(b"r:%d" % number)))
    jid = jid_of(ref, number) if step.job else ""
    of = _number(fields.get(b"first", b"-1")) if step.role == "error" else step.of
    return StepInfo(
        number,
        step.name,
        step.job,
        jid,
        step.after,
        state,
        step.on_failure,
        step.role,
        of,
        error,
    )


def outcome_of(raw: bytes | None) -> Outcome:
    """A stored outcome; an empty one if a program has written something else."""
    try:
        return outcome(raw)
    except UNREADABLE:
        return Outcome()


def _error(found: Outcome) -> str:
    return f"{found.error_class}: {found.message or ''}" if found.error_class else ""


def _number(raw: bytes | None) -> int:
    try:
        return int(raw or 0)
    except ValueError:
        return 0


def _time(raw: bytes | None) -> float | None:
    try:
        return None if raw is None else float(raw)
    except ValueError:
        return None
