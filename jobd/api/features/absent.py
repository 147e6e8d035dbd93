"""Why a job does not run that is in no queue, set or process: it waits for a lock, it is a step of
a workflow or a callback whose time has not come, or it was a member of a batch.

Ids of steps and callbacks are made from those of their workflows and batches, and nothing has an
index by them, so the newest ones are gone through.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import chain

from jobd.api.features.attached import notes
from jobd.api.features.batches import Batches
from jobd.api.features.held_back import find_held_back
from jobd.api.features.workflows import Workflows
from jobd.api.reading import answers, batches, integer, text
from jobd.api.records import JobRecord
from jobd.api.session import Session
from jobd.api.shared.reason import Reason
from jobd.features.batches.record import BatchStatus
from jobd.features.workflows.record import StepInfo, StepState, WorkflowInfo
from jobd.graphs.plan import jid_of
from jobd.text.printable import shortened
from jobd.text.translatable import Text
from jobd.wire.batches import PENDING, STATES, callback_jid, states_of

MOST = 1_000
"""Workflows, and batches, that are gone through."""

MOST_STEPS = 200_000
"""Steps of workflows that are gone through."""

_NAMED = 5
"""Steps in one sentence."""

_JID = re.compile(r"[0-9a-f]{24}")
_BID = 16
"""Characters of the id of a member that are the id of its batch."""


def why_absent(session: Session, jid: str) -> list[Reason]:
    """Why the job with this id does not run, although it waits in no queue or set and no process
    has it; empty if nothing is known of it.

    Cost: O(locks that have kept a job out), and what is gone through of workflows and batches.

    Raises:
        UnavailableError: the server does not answer.
    """
    looks: tuple[Callable[[Session, str], list[Reason]], ...] = (_held_back,)
    if _JID.fullmatch(jid) is not None:
        looks += (_member, _callback, _step)
    return next((found for look in looks if (found := look(session, jid))), [])


def _held_back(session: Session, jid: str) -> list[Reason]:
    job = find_held_back(session, jid)
    return [] if job is None else why_held_back(session, job)


def why_held_back(session: Session, job: JobRecord) -> list[Reason]:
    """Why a job waits for its lock; empty if it does not any more."""
    lock = job.attachments.lock
    if lock is None:
        return []
    with session.redis.pipeline(transaction=False) as pipe:
        pipe.hmget(session.keys.lock(lock.key), ["jid", "again_jid"])
        [found] = answers(pipe)
    holder, waits = found or (None, None)
    if waits is None or text(waits) != job.jid:
        return []
    said = Text(
        "It is unique, and waits until job %(holder)s has ended, which holds its lock.",
        holder=shortened(text(holder or b"?"), 100),
    )
    others = (Reason(one.kind, one.text, one.advice, one.at) for one in notes(job))
    return [Reason("lock", said), *(one for one in others if one.kind != "unique")]


# -- batches ---------------------------------------------------------------------------------------

_MEMBERS = {
    "pending": Text(
        "It is a pending member of batch %(batch)s, but nowhere: it has just moved, or a program "
        "that knows no batches has run or deleted it."
    ),
    "done": Text("It was a member of batch %(batch)s, and is done."),
    "dead": Text("It was a member of batch %(batch)s, and has died or was discarded."),
    "expired": Text("It was a member of batch %(batch)s, and has expired."),
    "cancelled": Text("It was a member of batch %(batch)s, and was cancelled or deleted."),
    "unconfirmed": Text(
        "It was a member of batch %(batch)s, and a program that knows no batches has run or "
        "deleted it."
    ),
}


def _member(session: Session, jid: str) -> list[Reason]:
    bid, number = jid[:_BID], int(jid[_BID:], 16)
    with session.redis.pipeline(transaction=False) as pipe:
        pipe.getrange(session.keys.batch_members(bid), number // 2, number // 2)
        [byte] = answers(pipe)
    state, _ = states_of(byte or b"\0")[number % 2]
    said = _MEMBERS.get(STATES[state]) if state < len(STATES) else None
    if said is None:
        return []
    advice = Text("Ask again; then: jobctl batch doctor %(batch)s", batch=bid)
    return [Reason("batch", said.filled(batch=bid), advice if state == PENDING else "")]


def _callback(session: Session, jid: str) -> list[Reason]:
    for part in batches(Batches(session).newest(MOST)):
        with session.redis.pipeline(transaction=False) as pipe:
            for status in part:
                pipe.hkeys(session.keys.batch_callbacks(status.bid))
            stored = answers(pipe)
        for status, names in zip(part, stored, strict=True):
            for name in map(text, names or ()):
                event, _, number = name.partition(":")
                if number.isdigit() and callback_jid(status.bid, event, int(number)) == jid:
                    raw = session.redis.hget(session.keys.batch_callbacks(status.bid), name)
                    return [_of_callback(status, event, pushed=not raw)]
    return []


def _of_callback(status: BatchStatus, event: str, *, pushed: bool) -> Reason:
    if pushed:
        said = Text(
            "It was pushed as a callback of batch %(batch)s, for its %(event)s, and is done or was "
            "deleted.",
            batch=status.bid,
            event=event,
        )
        return Reason("callback", said)
    said = Text(
        "It is a callback of batch %(batch)s and waits for its %(event)s: of %(total)s jobs "
        "%(pending)s are pending and %(dead)s dead.",
        batch=status.bid,
        event=shortened(event, 100),
        total=f"{status.total:,}",
        pending=f"{status.pending:,}",
        dead=f"{status.dead:,}",
    )
    return Reason("callback", said, Text("jobctl batch show %(batch)s", batch=status.bid))


# -- workflows -------------------------------------------------------------------------------------

_STEPS: dict[StepState, Text] = {
    "pushed": Text(
        "It is step %(step)s of workflow %(workflow)s and was pushed, but is nowhere: it has just "
        "moved."
    ),
    "done": Text("It was step %(step)s of workflow %(workflow)s, and is done."),
    "failed": Text("It was step %(step)s of workflow %(workflow)s, and has failed for good."),
    "expired": Text("It was step %(step)s of workflow %(workflow)s, and has expired."),
    "cancelled": Text(
        "It is step %(step)s of workflow %(workflow)s, and it or the workflow was cancelled."
    ),
    "unused": Text(
        "It is step %(step)s of workflow %(workflow)s, and runs only if the workflow fails or is "
        "cancelled."
    ),
}
_FAILED = ("failed", "expired", "cancelled")


def _step(session: Session, jid: str) -> list[Reason]:
    workflows, left = Workflows(session), MOST_STEPS
    for part in batches(workflows.newest(0, MOST)):
        with session.redis.pipeline(transaction=False) as pipe:
            for one in part:
                pipe.strlen(session.keys.workflow_steps(one.id))
            sizes = map(integer, answers(pipe))
        for one, size in zip(part, sizes, strict=True):
            numbers = range(min(size, left))
            left -= len(numbers)
            for number in numbers:
                if jid_of(one.id, number) == jid:
                    flow = workflows[one.id]
                    return [_of_step(flow, flow.steps[number])]
    return []


def _of_step(flow: WorkflowInfo, step: StepInfo) -> Reason:
    about = {"step": _named(step), "workflow": shortened(flow.summary.id, 100)}
    if (said := _STEPS.get(step.state)) is not None:
        return Reason("workflow", said.filled(**about))
    if step.state == "blocked":
        failed = _before(flow, step, lambda one: one.state in _FAILED)
        said = Text.counted(
            "It is step %(step)s of workflow %(workflow)s and does not run, since step %(steps)s "
            "has failed.",
            "It is step %(step)s of workflow %(workflow)s and does not run, since %(count)s steps "
            "before it have failed: %(steps)s.",
            len(failed),
            steps=_names(failed),
            **about,
        )
        advice = Text("Fix the cause, then: jobctl workflow retry %(workflow)s", **about)
        return Reason("workflow", said, advice, blocks=True)
    pending = _before(flow, step, lambda one: one.state == "pushed")
    if not pending:
        said = Text("It is step %(step)s of workflow %(workflow)s and is about to be pushed.")
        return Reason("workflow", said.filled(**about))
    said = Text.counted(
        "It is step %(step)s of workflow %(workflow)s and waits for step %(steps)s.",
        "It is step %(step)s of workflow %(workflow)s and waits for %(count)s steps that wait or "
        "run: %(steps)s.",
        len(pending),
        steps=_names(pending),
        **about,
    )
    return Reason("workflow", said, Text("jobctl workflow show %(workflow)s", **about))


def _before(
    flow: WorkflowInfo, step: StepInfo, wanted: Callable[[StepInfo], bool]
) -> list[StepInfo]:
    """The steps that are *wanted* of those that it waits for, and of those that these wait for."""
    found: list[StepInfo] = []
    seen, left = {step.number}, list(step.after)
    while left:
        one = flow.steps[left.pop()]
        if one.number in seen:
            continue
        seen.add(one.number)
        if wanted(one):
            found.append(one)
        elif one.state in ("waiting", "blocked"):
            left += one.after
    return sorted(found, key=lambda one: one.number)


def _named(step: StepInfo) -> str:
    name = shortened(step.name or step.job, 100)
    return f"{step.number} ({name})" if name else str(step.number)


def _names(steps: list[StepInfo]) -> str:
    named = [_named(step) for step in steps[:_NAMED]]
    return ", ".join(chain(named, ["…"] if len(steps) > _NAMED else []))
