"""Periodic jobs: when each is due next, what became of its last ticks; pause, resume, run now."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jobd.api import Page, PeriodicJob, PeriodicJobs
from jobd.api.roles import Role
from jobd.errors import ConflictError
from jobd.store.ticks import Record
from jobd.text.translatable import Text
from jobd.web.access import session
from jobd.web.http_errors import NotFound, Refusal, said_by
from jobd.web.request import acting, form_of, require, state_of, url
from jobd.web.views.lists import Part
from jobd.web.views.present import clip
from jobd.web.views.render import render

SHARED = 2.0
"""Seconds for which all readers are shown the same."""

NEXT = 5
"""Next ticks that are shown."""

WHAT = {
    "fired": Text("in time"),
    "late": Text("late"),
    "missed": Text("missed"),
    "skipped": Text("skipped: the one before had not ended"),
    "run": Text("pushed by a user"),
}
"""What became of a tick."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A schedule on the page."""

    job: PeriodicJob
    upcoming: list[float]
    what: Text | None


def periodic(request: Request) -> Response:
    """All of them, the next one first."""
    state, part = state_of(request), Part.of(request.query_params)
    found = state.snapshots.get("periodic", SHARED, lambda: state.api.periodic.all(1000))
    some = tuple(_row(one) for one in found[part.start : part.start + part.count])
    page = Page(some, part.start, len(found))
    return render(request, "periodic.html", here="periodic", page=page, part=part)


def periodic_job(request: Request) -> Response:
    """One of them, with its last ticks."""
    api = state_of(request).api
    found = _find(api.periodic, request.query_params.get("id", ""))
    ticks = [(one, WHAT.get(one.what)) for one in api.periodic.ticks(found)]
    return render(request, "periodic_job.html", here="periodic", row=_row(found, 10), ticks=ticks)


def _row(job: PeriodicJob, most: int = NEXT) -> _Row:
    last: Record | None = job.last
    return _Row(job, job.upcoming(most), None if last is None else WHAT.get(last.what))


def act(request: Request) -> Response:
    """Pause, resume or run one."""
    require(request, Role.OPERATOR)
    form, api = form_of(request), acting(request)
    found = _find(api.periodic, str(form.get("id", "")))
    name = clip(found.name)
    text: str
    match str(form.get("action", "")):
        case "pause":
            api.periodic.pause(found)
            text = Text("Periodic job %(name)s is paused.", name=name)
        case "resume":
            api.periodic.resume(found)
            text = Text("Periodic job %(name)s goes on.", name=name)
        case "run":
            try:
                jid = api.periodic.run(found)
            except ConflictError as error:
                text = said_by(error)
            else:
                text = Text("Pushed %(name)s as job %(jid)s.", name=name, jid=jid)
        case other:
            raise Refusal(
                Text(
                    "unknown action %(action)s; use one of: %(known)s",
                    action=repr(other[:100]),
                    known="pause, resume, run",
                )
            )
    state_of(request).changed()
    session.flash(request, text)
    return RedirectResponse(url(request, "periodic"), 303)


def _find(jobs: PeriodicJobs, name: str) -> PeriodicJob:
    try:
        return jobs[name[:100]]
    except KeyError:
        raise NotFound(Text("This periodic job is gone.")) from None


routes = [
    Route("/periodic", periodic, name="periodic"),
    Route("/periodic/job", periodic_job, name="periodic_job"),
    Route("/periodic/act", act, methods=["POST"], name="periodic_act"),
]
