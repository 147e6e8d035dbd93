"""What is done to jobs, on some of them or on all that a filter finds: by the table of actions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from jobctl.data.filters import Filters, delay_of
from jobctl.data.sets import Set
from jobctl.data.steps import Moving
from jobctl.data.words import stay
from jobctl.top.view import View
from jobd.api.actions import (
    CANCEL_ANSWERS,
    JOB_ACTIONS,
    NOTHING,
    QUEUE_ACTIONS,
    QUEUED_ACTIONS,
    SET_ACTIONS,
    Action,
    Given,
)
from jobd.api.records import JobRecord
from jobd.api.sets.entries import SortedEntry
from jobd.text.counting import counted

T = TypeVar("T")


async def on_entries(view: View[T], of: Set, name: str, entries: Sequence[SortedEntry]) -> bool:
    """Do the action that the set calls *name* to some of its entries; whether it was done."""
    action = SET_ACTIONS[of.actions[name]]
    what = counted(len(entries), "job") if len(entries) != 1 else named(entries[0])
    given = await _given(view, action)
    if given is None or (action.asks and not await _sure(view, action, what)):
        return False
    changed = await view.source.act(lambda api: action.do(of.of(api), entries, given))
    _tell(view, action, changed, "")
    return True


async def on_set(view: View[T], of: Set, name: str, chosen: Filters, size: int) -> bool:
    """Do it to all entries of the set, or to those that fit the filters."""
    kind = of.actions[name]
    action = SET_ACTIONS[kind]
    given = await _given(view, action)
    what = (
        f"all jobs of {of.name} that fit" if chosen else f"all {counted(size, 'job')} of {of.name}"
    )
    if given is None or not await _sure(view, action, what):
        return False
    if name == "delete" and not chosen:
        changed = await view.source.act(lambda api: of.of(api).clear())
    else:
        test = chosen.test() if chosen else None
        jobs = of.of(view.source.api)
        sweep = jobs.sweep(kind, chosen.text, test, when=given.when)
        changed = await view.in_steps(f"{action.button}: {what}", sweep, size)
        if sweep.kept:
            view.complain(stay(sweep.kept, sweep.keeps))
    _tell(view, action, changed, "")
    return True


async def on_queued(view: View[T], queue: str, name: str, jobs: Sequence[JobRecord]) -> bool:
    """Do something to some jobs of a queue."""
    action = QUEUED_ACTIONS[name]
    what = counted(len(jobs), "job") if len(jobs) != 1 else named(jobs[0])
    given = await _given(view, action)
    if given is None or (action.asks and not await _sure(view, action, what)):
        return False
    changed = await view.source.act(lambda api: action.do(api.queue(queue), jobs, given))
    _tell(view, action, changed, given.queue or queue)
    return True


async def on_queue(view: View[T], name: str, queue: str, chosen: Filters, size: int) -> bool:
    """Delete (or move) all jobs of a queue, or delete those that fit the filters."""
    action = QUEUE_ACTIONS[name]
    given = await _given(view, action)
    what = (
        f"all jobs of queue {queue} that fit"
        if chosen
        else f"all {counted(size, 'job')} of {queue}"
    )
    if given is None or not await _sure(view, action, what):
        return False
    if name == "move":
        moving = Moving(view.source.api, queue, given.queue)
        changed = await view.in_steps(f"{action.button}: {what}", moving, size)
    elif chosen:
        sweep = view.source.api.queue(queue).sweep(chosen.text, chosen.test())
        changed = await view.in_steps(f"{action.button}: {what}", sweep, size)
    else:
        changed = await view.source.act(lambda api: action.do(api.queue(queue), NOTHING))
    _tell(view, action, changed, given.queue or queue)
    return True


async def cancel(view: View[T], job: JobRecord) -> None:
    """Cancel a job, wherever it is."""
    action = JOB_ACTIONS["cancel"]
    if await _sure(view, action, named(job)):
        answer = await view.source.act(lambda api: action.do(api, job.jid, None, False))
        view.say(str(CANCEL_ANSWERS[answer].filled(job=job.jid)))


def named(job: JobRecord) -> str:
    """A job in a question.

    >>> named(JobRecord(b'{"class":"Mail","args":[],"jid":"ab"}'))
    'Mail ab'
    """
    return f"{job.display_class[:60]} {job.jid[:40]}".strip() or "this job"


async def _sure(view: View[T], action: Action[Callable[..., object]], what: str) -> bool:
    return await view.ask(f"{action.effect} {action.button} {what}?".strip())


async def _given(view: View[T], action: Action[Callable[..., object]]) -> Given | None:
    """What the action needs to know; None if nobody says it."""
    if action.form == "when":
        text = await view.prompt(f"{action.button}: when", hint="from now: 90s, 15m, 2h, 3d")
        return Given(when=delay_of(text)) if text else None
    if action.form == "queue":
        text = await view.prompt(f"{action.button}: to which queue")
        return Given(queue=text) if text else None
    return NOTHING


def _tell(view: View[T], action: Action[Callable[..., object]], changed: int, where: str) -> None:
    text = str(action.done(changed, where))
    if action.undoable and changed and (ref := view.source.api.last_ref):
        view.source.undo = ref
        text += " U undoes it."
    view.say(text)
