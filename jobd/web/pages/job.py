"""A job's page: what it is, what has happened to it, why it is not running, and what to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jobd.api import Api, JobRecord, SortedEntry
from jobd.api.actions import (
    CANCEL_ANSWERS,
    JOB_ACTIONS,
    QUEUED_ACTIONS,
    SET_ACTIONS,
    Action,
    Given,
)
from jobd.api.features.held_back import LOCK
from jobd.api.records import is_plain
from jobd.text.translatable import Text
from jobd.web import job_address
from jobd.web.access import session
from jobd.web.http_errors import NotFound, Refusal
from jobd.web.job_address import Place
from jobd.web.request import acting, form_of, require, state_of, url
from jobd.web.views import confirm, jobview
from jobd.web.views.confirm import Question
from jobd.web.views.lists import tag_url
from jobd.web.views.present import clip
from jobd.web.views.render import render
from jobd.web.views.times import UNIT_NAMES, when_of

_DONE = {
    "retry": Text("%(job)s is in its queue."),
    "add_to_queue": Text("%(job)s is in its queue."),
    "reschedule": Text("%(job)s is rescheduled."),
    "move": Text("%(job)s is in queue %(queue)s."),
    "kill": Text("%(job)s is dead."),
    "delete": Text("%(job)s is deleted."),
}

_IN_FLIGHT = {
    "claimed": (Text("claimed"), "accent"),
    "ended": (Text("ended"), ""),
    "orphaned": (Text("its process is dead"), "bad"),
    "silent": (Text("no heartbeat"), "warn"),
}
"""What is said of a job that a worker has taken, by the first reason; else it is running."""

_STATES = {
    "retry": (Text("waits for another attempt"), "warn"),
    "schedule": (Text("scheduled"), "accent"),
    "dead": (Text("dead"), "bad"),
    "work": (Text("running"), "good"),
    LOCK: (Text("waits for a lock"), "warn"),
}


MOST_CHILDREN = 100
"""Children of a job that its page shows."""


def page(request: Request) -> Response:
    """The page of the job at ``?set=…&key=…``; where that is empty, where it is now."""
    state, query = state_of(request), request.query_params
    place = jobview.parse_place(query.get("set", ""), query.get("key", ""))
    job = job_address.find(state.api, place)
    if job is None:
        return _gone(request, place)
    # Of one moment: kept apart, one of them could tell of a start that the other does not know.
    work, reasons = state.snapshots.get(
        ("why", place),
        3.0,
        lambda: (jobview.running(state.api, place), jobview.why(state.api, place, job)),
    )
    family = None
    if jobview.has_family(job) or query.get("family"):
        family = state.snapshots.get(
            ("family", job.jid, job.root_jid), 10.0, lambda: jobview.family(state.api, job)
        )
    kind, _, queue = place.set.partition(":")
    in_queue = Text("in queue %(queue)s", queue=clip(queue, 70)), "accent"
    label, tone = in_queue if kind == "queue" else _STATES[place.set]
    if kind == "work":
        first = reasons[0].kind if reasons else "ended"
        label, tone = _IN_FLIGHT.get(first, (label, tone))
    queues = state.queues() if kind == "queue" else []
    return render(
        request,
        "job.html",
        here=_tab(place),
        job=job,
        place=place,
        kind=kind,
        label=label,
        tone=tone,
        reasons=reasons,
        events=jobview.timeline(job, place, work.run_at if work else None),
        reported=work.progress if work else None,
        silent_since=work.silent_since if work else None,
        stalled=work is not None and work.stalled(time.time()),
        arguments=jobview.arguments(job, state.api.app.registry),
        trace=jobview.trace(job),
        payload=jobview.payload(job),
        retries=jobview.retries(job),
        others=jobview.others(job),
        lineage=jobview.lineage(job),
        family=family,
        most_children=MOST_CHILDREN,
        places=_STATES,
        tag_url=partial(tag_url, request, place.set),
        progress=job.iterable_state(),
        units=UNIT_NAMES,
        queues=[one.name for one in queues if one.name != queue][:200],
        failures=None if not job.error_class else (job.retry_count or 0) + 1,
    )


def _gone(request: Request, place: Place) -> Response:
    """It is not where it was: its id is looked for."""
    jid = jobview.jid_of(place)
    if not jid:
        raise NotFound(Text("This job is not here any more: it has run, or somebody has moved it."))
    return RedirectResponse(url(request, "find", jid=jid, was=place.set), 303)


def ask(request: Request) -> Response:
    """The question before an action."""
    state, query = state_of(request), request.query_params
    place = jobview.parse_place(query.get("set", ""), query.get("key", ""))
    action = _action(request, place, query.get("action", ""))
    job = _here(state.api, place, action)
    name = clip(job.display_class, 100) or Text("this job")
    if not action.asks or action.form:
        raise Refusal(Text("%(action)s needs no confirmation", action=action.name))
    question = Question(
        heading=Text("%(action)s %(job)s?", action=action.button, job=name),
        text=action.effect,
        action=url(request, "job_do"),
        fields=[("set", place.set), ("key", place.key), ("action", action.name)],
        button=action.button,
        back=job_address.job_url(request, place),
        restorable=action.undoable,
        deletes=action.name == "delete",
    )
    return confirm.ask(request, question, here=_tab(place))


def _tab(place: Place) -> str:
    """The tab that a job there belongs to."""
    return "busy" if place.set == "work" else job_address.PAGES.get(place.set, "queues")


def do(request: Request) -> Response:
    """Act on the job."""
    form = form_of(request)
    place = jobview.parse_place(str(form.get("set", "")), str(form.get("key", "")))
    action = _action(request, place, str(form.get("action", "")))
    api = acting(request, permanent=action.name == "delete" and confirm.is_permanent(form))
    job = _here(api, place, action)
    if place.set in ("work", LOCK):
        return _cancel(request, api, job)
    given = Given(
        when=when_of(form) if action.form == "when" else None,
        queue=str(form.get("queue", "")) if action.form == "queue" else "",
    )
    if isinstance(job, SortedEntry):
        done = SET_ACTIONS[action.name].do(job.parent, [job], given)
    else:
        done = QUEUED_ACTIONS[action.name].do(api.queue(job.queue), [job], given)
    if not done:
        raise NotFound(
            Text("It is malformed and cannot be run; delete it.")
            if job.malformed
            else Text("Nothing was done: the job is not here any more, somebody was faster.")
        )
    state_of(request).changed()
    name = clip(job.display_class, 100) or Text("The job")
    text = _DONE[action.name].filled(job=name, queue=given.queue)
    session.flash(request, text, undo=api.last_ref if action.undoable and api.keeps_deleted else "")
    return _after(request, place, job, action.name)


def _cancel(request: Request, api: Api, job: JobRecord) -> Response:
    answer = JOB_ACTIONS["cancel"].do(api, job.jid, job.queue, False)
    state_of(request).changed()
    name = clip(job.display_class, 100) or Text("The job")
    session.flash(request, CANCEL_ANSWERS[answer].filled(job=name))
    return RedirectResponse(url(request, "busy"), 303)


def _after(request: Request, place: Place, job: JobRecord, action: str) -> Response:
    """Where the job is now; where it was if it is nowhere, or cannot be found."""
    if action == "delete" or not is_plain(job.jid):
        return RedirectResponse(job_address.list_url(request, place.set), 303)
    return RedirectResponse(url(request, "find", jid=job.jid), 303)


def _action(request: Request, place: Place, name: str) -> Action[Callable[..., object]]:
    """The action of that name on a job that is there, if the user may do it."""
    known: Mapping[str, Action[Callable[..., object]]]
    known = QUEUED_ACTIONS if place.set.startswith("queue:") else SET_ACTIONS
    if place.set == "work":
        known = {**SET_ACTIONS, **JOB_ACTIONS}
    if place.set == LOCK:
        known = JOB_ACTIONS
    if name not in known:
        raise Refusal(
            Text(
                "unknown action %(action)s for this job; use one of: %(known)s",
                action=repr(clip(name, 50)),
                known=", ".join(known),
            )
        )
    require(request, known[name].role)
    return known[name]


def _here(api: Api, place: Place, action: Action[Callable[..., object]]) -> JobRecord:
    """The job there, for a change.

    Raises:
        NotFound: it is not there any more.
        Refusal: it runs, and can only be cancelled.
    """
    if place.set == "work" and action.name not in JOB_ACTIONS:
        raise Refusal(Text("A job that runs cannot be changed. Wait for its end, or cancel it."))
    job = job_address.find(api, place)
    if job is None:
        raise NotFound(Text("The job is not here any more: it has run, or somebody has moved it."))
    return job


routes = [
    Route("/job", page, name="job"),
    Route("/job/ask", ask, name="job_ask"),
    Route("/job/do", do, methods=["POST"], name="job_do"),
]
