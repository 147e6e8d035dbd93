"""A job's page: what it is, what has happened to it, why it is not running, and what to do."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jobd.api import Api, JobRecord, SortedEntry
from jobd.api.records import is_plain
from jobd.errors import ArgumentError
from jobd.text.translatable import Text
from jobd.web import job_address
from jobd.web.access import session
from jobd.web.access.users import Role
from jobd.web.http_errors import NotFound, Refusal
from jobd.web.job_address import Place
from jobd.web.request import acting, form_of, require, state_of, url
from jobd.web.views import confirm, jobview
from jobd.web.views.confirm import Question
from jobd.web.views.present import clip
from jobd.web.views.render import render
from jobd.web.views.times import UNIT_NAMES, UNITS

_ROLES = {
    "retry": Role.OPERATOR,
    "add_to_queue": Role.OPERATOR,
    "reschedule": Role.OPERATOR,
    "move": Role.OPERATOR,
    "kill": Role.ADMIN,
    "delete": Role.ADMIN,
}

_STATES = {
    "retry": (Text("waits for another attempt"), "warn"),
    "schedule": (Text("scheduled"), "accent"),
    "dead": (Text("dead"), "bad"),
    "work": (Text("running"), "good"),
}


def page(request: Request) -> Response:
    """The page of the job at ``?set=…&key=…``; where that is empty, where it is now."""
    state, query = state_of(request), request.query_params
    place = jobview.parse_place(query.get("set", ""), query.get("key", ""))
    job = job_address.find(state.api, place)
    if job is None:
        return _gone(request, place)
    # Of one moment: kept apart, one of them could tell of a start that the other does not know.
    started, reasons = state.snapshots.get(
        ("why", place),
        3.0,
        lambda: (jobview.started(state.api, place), jobview.why(state.api, place, job)),
    )
    kind, _, queue = place.set.partition(":")
    in_queue = Text("in queue %(queue)s", queue=clip(queue, 70)), "accent"
    label, tone = in_queue if kind == "queue" else _STATES[place.set]
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
        events=jobview.timeline(job, place, started),
        arguments=jobview.arguments(job, state.api.app.registry),
        trace=jobview.trace(job),
        payload=jobview.payload(job),
        retries=jobview.retries(job),
        others=jobview.others(job),
        lineage=jobview.lineage(job),
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
    """Whether he is sure."""
    state, query = state_of(request), request.query_params
    place = jobview.parse_place(query.get("set", ""), query.get("key", ""))
    action = query.get("action", "")
    _check(request, action)
    job = _here(state.api, place)
    name = clip(job.display_class, 100) or Text("this job")
    texts = {
        "delete": (Text("Delete %(job)s?", job=name), Text("It will not run."), Text("Delete")),
        "kill": (
            Text("Kill %(job)s?", job=name),
            Text("It goes to the dead set: it is not tried again."),
            Text("Kill"),
        ),
    }
    if action not in texts:
        raise Refusal(Text("%(action)s needs no asking", action=repr(clip(action, 50))))
    heading, text, button = texts[action]
    question = Question(
        heading=heading,
        text=text,
        action=url(request, "job_do"),
        fields=[("set", place.set), ("key", place.key), ("action", action)],
        button=button,
        back=job_address.job_url(request, place),
        restorable=True,
        deletes=action == "delete",
    )
    return confirm.ask(request, question, here=_tab(place))


def _tab(place: Place) -> str:
    """The tab that a job there belongs to."""
    return "busy" if place.set == "work" else job_address.PAGES.get(place.set, "queues")


def do(request: Request) -> Response:
    """Act on the job."""
    form = form_of(request)
    place = jobview.parse_place(str(form.get("set", "")), str(form.get("key", "")))
    action = str(form.get("action", ""))
    _check(request, action)
    api = acting(request, permanent=action == "delete" and confirm.is_permanent(form))
    job = _here(api, place)
    text, undo = _act(api, job, action, {key: str(value) for key, value in form.items()})
    state_of(request).changed()
    session.flash(request, text, undo=undo)
    return _after(request, place, job, action)


def _act(api: Api, job: JobRecord, action: str, form: dict[str, str]) -> tuple[Text, str]:
    """Do it; what to say, and the id by which it is undone, or nothing."""
    name = clip(job.display_class, 100) or Text("The job")
    if isinstance(job, SortedEntry):
        match action:
            case "retry":
                done, text = job.retry(), Text("%(job)s is in its queue.", job=name)
            case "add_to_queue":
                done, text = job.add_to_queue(), Text("%(job)s is in its queue.", job=name)
            case "reschedule":
                done = job.reschedule(_seconds(form))
                text = Text("%(job)s has another time.", job=name)
            case "kill":
                done, text = job.kill(), Text("%(job)s is dead.", job=name)
            case "delete":
                done, text = job.delete(), Text("%(job)s is deleted.", job=name)
            case _:
                raise Refusal(Text("only a job in a queue can be moved to another queue"))
    else:
        match action:
            case "delete":
                done, text = job.delete(), Text("%(job)s is deleted.", job=name)
            case "move":
                target = form.get("queue", "")
                done = api.queue(job.queue).move(target, job) == 1
                text = Text("%(job)s is in queue %(queue)s.", job=name, queue=target)
            case _:
                raise Refusal(Text("a job in a queue can be moved to another queue, or deleted"))
    if not done:
        raise NotFound(
            Text("It is malformed and cannot be run; delete it.")
            if job.malformed
            else Text("Nothing was done: the job is not here any more, somebody was faster.")
        )
    return text, api.last_ref if action in ("delete", "kill") and api.keeps_deleted else ""


def _after(request: Request, place: Place, job: JobRecord, action: str) -> Response:
    """Where the job is now; where it was if it is nowhere, or cannot be found."""
    if action == "delete" or not is_plain(job.jid):
        return RedirectResponse(job_address.list_url(request, place.set), 303)
    return RedirectResponse(url(request, "find", jid=job.jid), 303)


def _seconds(form: dict[str, str]) -> float:
    unit = UNITS.get(form.get("unit", ""))
    try:
        amount = float(form.get("amount", ""))
    except ValueError:
        amount = 0.0
    if unit is None or not 0 < amount * unit <= 10 * 365 * 86400:
        raise ArgumentError(
            Text("give it a time from now of more than nothing and up to ten years")
        )
    return amount * unit


def _check(request: Request, action: str) -> None:
    if action not in _ROLES:
        raise Refusal(
            Text(
                "there is no %(action)s for jobs; there are %(known)s",
                action=repr(clip(action, 50)),
                known=", ".join(_ROLES),
            )
        )
    require(request, _ROLES[action])


def _here(api: Api, place: Place) -> JobRecord:
    """The job there, for a change.

    Raises:
        NotFound: it is not there any more.
        Refusal: it runs, and nobody can do anything to it.
    """
    if place.set == "work":
        raise Refusal(
            Text("A job that runs cannot be changed. Wait for its end, or stop its process.")
        )
    job = job_address.find(api, place)
    if job is None:
        raise NotFound(Text("The job is not here any more: it has run, or somebody has moved it."))
    return job


routes = [
    Route("/job", page, name="job"),
    Route("/job/ask", ask, name="job_ask"),
    Route("/job/do", do, methods=["POST"], name="job_do"),
]
