"""What is done to jobs of the retries, the schedule and the dead: to those chosen on a page, or to
all that match a search, step by step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jobd.api import JobSet, SortedEntry
from jobd.api.setsteps import SetAction
from jobd.errors import ArgumentError
from jobd.web import lists, rows, session
from jobd.web.asking import STEP, Question, ask, go_on
from jobd.web.gate import form_of, require
from jobd.web.lists import Part
from jobd.web.places import set_named
from jobd.web.present import clip, jobs, number
from jobd.web.refusals import Refusal
from jobd.web.render import url
from jobd.web.search import Search, parse
from jobd.web.state import acting, state_of
from jobd.web.times import when_of
from jobd.web.users import Role

_REF = re.compile(r"[0-9a-f]{1,16}-[0-9a-f]{8}")
_COUNTING = 0.12
"""Seconds for which the page that asks may count."""


@dataclass(frozen=True, slots=True)
class Act:
    """An action.

    Attributes:
        name: of it in the data API.
        text: on its button.
        done, doing: how the message after it, and the page while it goes on, begin.
        then: the sentence of the question.
        role: who may do it.
        asks: whether it asks first also for a few jobs.
        undoable: whether the trash keeps what it takes away.
    """

    name: SetAction
    text: str
    done: str
    doing: str
    then: str
    role: Role
    asks: bool = False
    undoable: bool = False


ACTS = {
    act.name: act
    for act in (
        Act(
            "retry",
            "Retry now",
            "Put into their queues:",
            "Retrying",
            "Runs as soon as a worker is free, without using up a retry.",
            Role.OPERATOR,
        ),
        Act(
            "add_to_queue",
            "Add to queue",
            "Put into their queues:",
            "Adding to the queues",
            "Runs as soon as a worker is free.",
            Role.OPERATOR,
        ),
        Act(
            "reschedule",
            "Reschedule",
            "Rescheduled",
            "Rescheduling",
            "Waits until the time that you give.",
            Role.OPERATOR,
            asks=True,
        ),
        Act(
            "kill",
            "Kill",
            "Killed",
            "Killing",
            "Goes to the dead jobs and is not tried again.",
            Role.ADMIN,
            asks=True,
            undoable=True,
        ),
        Act(
            "delete",
            "Delete",
            "Deleted",
            "Deleting",
            "Will not run.",
            Role.ADMIN,
            asks=True,
            undoable=True,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Kind:
    """One of the three sets as a page.

    Attributes:
        page: name of the page; of the tab too.
        set: name of the set.
        title: of the page.
        what: what its jobs are called.
        time: what their score says.
        acts: the actions on its jobs.
        grouped: whether its jobs have failed.
    """

    page: str
    set: str
    title: str
    what: str
    time: str
    acts: tuple[str, ...]
    grouped: bool = True

    @property
    def actions(self) -> list[Act]:
        return [ACTS[cast(SetAction, name)] for name in self.acts]


def act(request: Request, kind: Kind) -> Response:
    """Do what a form of the page wants."""
    form = form_of(request)
    action = next((one for one in kind.actions if one.name == form.get("action")), None)
    if action is None:
        raise Refusal(f"{kind.title} can be: {', '.join(kind.acts)}. The form says something else.")
    require(request, action.role)
    everything, keys = bool(form.get("all")), lists.chosen_keys(form)
    if form.get("only"):
        everything = False
    if not everything and not keys:
        return _done(request, kind, form, "No job was chosen.")
    found = set_named(acting(request), kind.set)
    if not form.get("sure"):
        if everything or action.asks:
            return _ask(request, kind, action, form, found, None if everything else keys)
    elif action.name == "reschedule":
        try:
            when_of(form)
        except ArgumentError as error:
            wrong = str(error)
            chosen = None if everything else keys
            return _ask(request, kind, action, form, found, chosen, wrong)
    if everything:
        return _all(request, kind, action, form)
    return _some(request, kind, action, form, keys)


def _some(request: Request, kind: Kind, action: Act, form: FormData, keys: list[str]) -> Response:
    api = acting(request)
    found = set_named(api, kind.set)
    entries = found.find_all(keys)
    changed = _change(found, action.name, entries, form)
    text = f"{action.done} {jobs(changed)}."
    if changed < len(keys):
        text += f" Not there any more, or no job: {number(len(keys) - changed)}."
    undo = api.last_ref if action.undoable and changed else ""
    return _done(request, kind, form, text, undo=undo)


def _change(
    found: JobSet, action: SetAction, entries: Sequence[SortedEntry], form: FormData
) -> int:
    if action == "reschedule":
        return found.reschedule(when_of(form), *entries)
    steps = {
        "retry": found.retry,
        "add_to_queue": found.add_to_queue,
        "kill": found.kill,
        "delete": found.delete,
    }
    return steps[action](*entries)


def _all(request: Request, kind: Kind, action: Act, form: FormData) -> Response:
    """One step of an action on all that match."""
    api, part = acting(request), Part.of(form)
    found = set_named(api, kind.set)
    if action.name == "delete" and not part.searching:
        cleared = found.clear()
        undo = api.last_ref if cleared else ""
        return _done(request, kind, form, f"{action.done} {jobs(cleared)}.", undo=undo)
    search, given = _search(part), str(form.get("ref", ""))
    sweep = found.sweep(
        action.name,
        search.match,
        search.where,
        when=when_of(form) if action.name == "reschedule" else None,
        cursor=part.cursor,
        ref=given if _REF.fullmatch(given) else None,
    )
    size = lists.number_of(form.get("size")) or found.size
    sweep.run(STEP)
    changed = lists.number_of(form.get("changed")) + sweep.changed
    if sweep.done:
        undo = sweep.ref if action.undoable and changed else ""
        return _done(request, kind, form, f"{action.done} {jobs(changed)}.", undo=undo)
    state_of(request).changed()
    scanned = part.scanned + sweep.scanned
    fields = [
        *_fields(action, form, None),
        *((name, str(form.get(name, ""))) for name in ("kind", "amount", "unit", "at", "zone")),
        *(("sure", "1"), ("cursor", sweep.cursor), ("ref", sweep.ref)),
        *(("changed", changed), ("scanned", scanned), ("size", size)),
    ]
    return go_on(
        request,
        f"{action.doing} {kind.what}",
        action=url(request, f"{kind.page}_act"),
        fields=fields,
        scanned=scanned,
        size=size,
        changed=changed,
        back=_back(request, kind, form),
        here=kind.page,
    )


def _ask(
    request: Request,
    kind: Kind,
    action: Act,
    form: FormData,
    found: JobSet,
    keys: list[str] | None,
    wrong: str = "",
) -> Response:
    if keys is None:
        part = Part.of(form)
        how_many, entries = _count(found, part)
        which = _which(kind, part)
    else:
        entries = found.find_all(keys)
        how_many, which = jobs(len(entries)), ""
    text = action.then
    if action.name == "kill":
        text += f" The last {number(acting(request).dead_max_jobs - 1)} of those are kept."
    question = Question(
        heading=f"{action.text}: {how_many}{which}?",
        text=text,
        action=url(request, f"{kind.page}_act"),
        fields=_fields(action, form, keys),
        button=action.text if action.name == "reschedule" else f"{action.text}: {how_many}",
        back=_back(request, kind, form),
        danger=action.undoable,
        restorable=action.undoable,
        asks_when=action.name == "reschedule",
        rows=tuple(map(rows.of_entry, entries[:5])),
    )
    return ask(request, question, here=kind.page, wrong=wrong)


def _count(found: JobSet, part: Part) -> tuple[str, list[SortedEntry]]:
    """How many jobs match, as far as that can be said at once, and some of them."""
    if not part.searching:
        page = found.page(0, 5)
        return jobs(page.size), list(page)
    search = _search(part)
    scan = found.scan(search.match, search.where)
    entries = scan.first(10**9, seconds=_COUNTING)
    return jobs(len(entries)) if scan.done else f"at least {jobs(len(entries))}", entries


def _which(kind: Kind, part: Part) -> str:
    if part.q:
        return f" that match “{clip(part.q, 60)}”"
    if part.group:
        return f" that failed with {clip(part.error, 60) or 'the same error'}"
    return f", which is all {kind.what}"


def _search(part: Part) -> Search:
    return parse(part.q, part.group, part.error)


def _fields(action: Act, form: FormData, keys: list[str] | None) -> list[tuple[str, str | int]]:
    """What says the same as *form*, again."""
    which = [("all", "1")] if keys is None else [("key", key) for key in keys]
    query = Part.of(form).query()
    kept = [(name, str(value)) for name, value in query.items() if value]
    return [("action", action.name), *which, *kept, ("to", str(form.get("to", "")))]


def _done(request: Request, kind: Kind, form: FormData, text: str, *, undo: str = "") -> Response:
    state_of(request).changed()
    session.flash(request, text, undo=undo)
    return RedirectResponse(_back(request, kind, form), 303)


def _back(request: Request, kind: Kind, form: FormData) -> str:
    """The page that the form was on."""
    if form.get("to") == "groups":
        return url(request, f"{kind.page}_groups")
    return url(request, kind.page, **Part.of(form).query())
