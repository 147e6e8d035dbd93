"""What is done to jobs of the retries, the schedule and the dead: to those chosen on a page, or to
all that match a search, step by step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jobd.api import Api, JobSet, SortedEntry
from jobd.api.actions import NOTHING, SET_ACTIONS, Action, Given, SetDo
from jobd.api.sets.steps import SetAction
from jobd.errors import ArgumentError
from jobd.text.translatable import Text
from jobd.web.access import session
from jobd.web.http_errors import Refusal, said_by
from jobd.web.job_address import set_named
from jobd.web.request import acting, form_of, require, state_of, url
from jobd.web.views import lists, rows
from jobd.web.views.confirm import STEP, Question, ask, go_on, is_permanent, ref_of
from jobd.web.views.lists import Part
from jobd.web.views.present import clip, jobs, number
from jobd.web.views.search import Search, parse
from jobd.web.views.times import when_of

_COUNTING = 0.12
"""Seconds for which the page that asks may count."""


_DOING: Mapping[str, Text] = {
    "retry": Text("Retrying %(what)s"),
    "add_to_queue": Text("Adding to the queues %(what)s"),
    "reschedule": Text("Rescheduling %(what)s"),
    "kill": Text("Killing %(what)s"),
    "delete": Text("Deleting %(what)s"),
}
"""The heading of the page while an action goes on."""

ASKED = {
    "retry": Text("Retry %(jobs)s now"),
    "add_to_queue": Text("Add %(jobs)s to the queue"),
    "reschedule": Text("Reschedule %(jobs)s"),
    "kill": Text("Kill %(jobs)s"),
    "delete": Text("Delete %(jobs)s"),
}
"""What is asked, and the button that does it."""


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
    title: Text
    what: Text
    time: Text
    acts: tuple[str, ...]
    grouped: bool = True

    @property
    def actions(self) -> list[Action[SetDo]]:
        return [SET_ACTIONS[name] for name in self.acts]


def act(request: Request, kind: Kind) -> Response:
    """Do what a form of the page wants."""
    form = form_of(request)
    action = next((one for one in kind.actions if one.name == form.get("action")), None)
    if action is None:
        raise Refusal(
            Text(
                "unknown action for %(jobs)s; use one of: %(known)s",
                jobs=kind.title,
                known=", ".join(kind.acts),
            )
        )
    require(request, action.role)
    everything, keys = bool(form.get("all")), lists.chosen_keys(form)
    if form.get("only"):
        everything = False
    if not everything and not keys:
        return _done(request, kind, form, Text("No jobs were selected."))
    found = set_named(acting(request), kind.set)
    if not form.get("sure"):
        if everything or action.asks:
            return _ask(request, kind, action, form, found, None if everything else keys)
    else:
        try:
            _given(action, form)
        except ArgumentError as error:
            wrong = said_by(error)
            chosen = None if everything else keys
            return _ask(request, kind, action, form, found, chosen, wrong)
    if everything:
        return _all(request, kind, action, form)
    return _some(request, kind, action, form, keys)


def _some(
    request: Request, kind: Kind, action: Action[SetDo], form: FormData, keys: list[str]
) -> Response:
    api = _acting(request, action, form)
    found = set_named(api, kind.set)
    entries = found.find_all(keys)
    changed = action.do(found, entries, _given(action, form))
    text = action.done(changed, "")
    if changed < len(keys):
        text = Text(
            "%(text)s No longer there, not a job, or kept out by another one: %(gone)s.",
            text=text,
            gone=number(len(keys) - changed),
        )
    undo = api.last_ref if action.undoable and api.keeps_deleted and changed else ""
    return _done(request, kind, form, text, undo=undo)


def _given(action: Action[SetDo], form: FormData) -> Given:
    return Given(when=when_of(form)) if action.form == "when" else NOTHING


def _acting(request: Request, action: Action[SetDo], form: FormData) -> Api:
    return acting(request, permanent=action.name == "delete" and is_permanent(form))


def _all(request: Request, kind: Kind, action: Action[SetDo], form: FormData) -> Response:
    """One step of an action on all that match."""
    api, part = _acting(request, action, form), Part.of(form)
    found = set_named(api, kind.set)
    if action.name == "delete" and not part.searching:
        cleared = found.clear()
        undo = api.last_ref if cleared and api.keeps_deleted else ""
        return _done(request, kind, form, action.done(cleared, ""), undo=undo)
    search = _search(part)
    sweep = found.sweep(
        cast(SetAction, action.name),
        where=search.where,
        pattern=search.match,
        when=_given(action, form).when,
        cursor=part.cursor,
        ref=ref_of(form),
    )
    size = lists.number_of(form.get("size")) or found.size
    sweep.run(STEP)
    changed = lists.number_of(form.get("changed")) + sweep.changed
    kept = lists.number_of(form.get("kept")) + sweep.kept
    if sweep.done:
        undo = sweep.ref if action.undoable and api.keeps_deleted and changed else ""
        text = action.done(changed, "")
        if kept:
            text = Text("%(text)s Kept out by other jobs: %(kept)s.", text=text, kept=number(kept))
        return _done(request, kind, form, text, undo=undo)
    state_of(request).changed()
    scanned = part.scanned + sweep.scanned
    fields = [
        *_fields(action, form, None),
        *((name, str(form.get(name, ""))) for name in ("kind", "amount", "unit", "at", "zone")),
        *((("permanent", "1"),) if is_permanent(form) else ()),
        *(("sure", "1"), ("cursor", sweep.cursor), ("ref", sweep.ref)),
        *(("changed", changed), ("kept", kept), ("scanned", scanned), ("size", size)),
    ]
    return go_on(
        request,
        _DOING[action.name].filled(what=kind.what),
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
    action: Action[SetDo],
    form: FormData,
    found: JobSet,
    keys: list[str] | None,
    wrong: str = "",
) -> Response:
    if keys is None:
        part = Part.of(form)
        how_many, entries = _count(found, part)
        which = _which(kind, part, how_many)
    else:
        entries = found.find_all(keys)
        which = how_many = jobs(len(entries))
    text = action.effect
    if action.name == "kill":
        text = Text(
            "%(text)s The dead set keeps the last %(most)s.",
            text=text,
            most=number(acting(request).dead_max_jobs - 1),
        )
    question = Question(
        heading=Text("%(action)s?", action=ASKED[action.name].filled(jobs=which)),
        text=text,
        action=url(request, f"{kind.page}_act"),
        fields=_fields(action, form, keys),
        button=action.button if action.form else ASKED[action.name].filled(jobs=how_many),
        back=_back(request, kind, form),
        danger=action.undoable,
        restorable=action.undoable,
        deletes=action.name == "delete",
        asks_when=action.form == "when",
        rows=tuple(map(rows.of_entry, entries[:5])),
    )
    return ask(request, question, here=kind.page, wrong=wrong)


def _count(found: JobSet, part: Part) -> tuple[Text, list[SortedEntry]]:
    """How many jobs match, as far as that can be said at once, and some of them."""
    if not part.searching:
        page = found.page(0, 5)
        return jobs(page.size), list(page)
    search = _search(part)
    scan = found.scan(where=search.where, pattern=search.match)
    entries: list[SortedEntry] = []
    count_so_far, end = 0, time.monotonic() + _COUNTING
    while not scan.done and time.monotonic() < end:
        step = scan.next()
        count_so_far += len(step)
        entries += step[: 5 - len(entries)]
    count = jobs(count_so_far)
    return count if scan.done else Text("at least %(jobs)s", jobs=count), entries


def _which(kind: Kind, part: Part, how_many: Text) -> Text:
    """All jobs that match, for the question about them."""
    if part.q:
        return Text("%(jobs)s that match “%(search)s”", jobs=how_many, search=clip(part.q, 60))
    if part.group:
        return Text(
            "%(jobs)s that failed with %(error)s",
            jobs=how_many,
            error=clip(part.error, 60) or Text("the same error"),
        )
    return Text("all %(what)s (%(jobs)s)", what=kind.what, jobs=how_many)


def _search(part: Part) -> Search:
    return parse(part.q, part.group, part.error)


def _fields(
    action: Action[SetDo], form: FormData, keys: list[str] | None
) -> list[tuple[str, str | int]]:
    """What says the same as *form*, again."""
    which = [("all", "1")] if keys is None else [("key", key) for key in keys]
    query = Part.of(form).query()
    kept = [(name, str(value)) for name, value in query.items() if value]
    return [("action", action.name), *which, *kept, ("to", str(form.get("to", "")))]


def _done(request: Request, kind: Kind, form: FormData, text: Text, *, undo: str = "") -> Response:
    state_of(request).changed()
    session.flash(request, text, undo=undo)
    return RedirectResponse(_back(request, kind, form), 303)


def _back(request: Request, kind: Kind, form: FormData) -> str:
    """The page that the form was on."""
    if form.get("to") == "groups":
        return url(request, f"{kind.page}_groups")
    return url(request, kind.page, **Part.of(form).query())
