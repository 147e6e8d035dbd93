"""Periodic jobs: when each is due next, what became of its last ticks; the actions on them."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jobd.ambient import clock
from jobd.api import Page, PeriodicJob, PeriodicJobs, why_not_due
from jobd.api.actions import Given
from jobd.api.features.schedule_actions import SCHEDULE_ACTIONS
from jobd.errors import ArgumentError, ConflictError
from jobd.store.ticks import Record
from jobd.text.translatable import Text
from jobd.web.access import session
from jobd.web.http_errors import NotFound, said_by
from jobd.web.request import acting, action_of, form_of, require, state_of, url
from jobd.web.views.lists import Part
from jobd.web.views.present import clip
from jobd.web.views.render import render
from jobd.web.views.timeline import OUTCOMES, timeline

SHARED = 2.0
"""Seconds for which all readers are shown the same."""

NEXT = 5
"""Next ticks that are shown."""

DRAWN = 20.0
"""The same for the timeline."""

LONGEST_LINE = 200


@dataclass(frozen=True, slots=True)
class _Row:
    """A schedule on the page."""

    job: PeriodicJob
    upcoming: list[float]
    what: Text | None


def periodic(request: Request) -> Response:
    """All of them, the next one first."""
    state, part = state_of(request), Part.of(request.query_params)
    jobs = state.api.periodic
    found, size = state.snapshots.get(
        ("periodic", part.start, part.count),
        SHARED,
        lambda: (jobs.all(part.count, part.start), len(jobs)),
    )
    drawn = state.snapshots.get(
        ("timeline", *((one.id, one.next) for one in found)),
        DRAWN,
        lambda: timeline(found, jobs.ticks_of(found), clock.now()),
    )
    page = Page(tuple(map(_row, found)), part.start, size)
    return render(
        request,
        "periodic.html",
        here="periodic",
        page=page,
        part=part,
        drawn=drawn,
        outcomes=OUTCOMES,
        actions=SCHEDULE_ACTIONS,
    )


def periodic_job(request: Request) -> Response:
    """One of them: why it does not run, its next and its last ticks, and its line."""
    api = state_of(request).api
    found = _find(api.periodic, request.query_params.get("id", ""))
    ticks = api.periodic.ticks(found)
    return render(
        request,
        "periodic_job.html",
        here="periodic",
        row=_row(found, 10),
        ticks=[(one, OUTCOMES.get(one.what)) for one in ticks],
        reasons=why_not_due(api, found),
        drawn=timeline([found], [ticks], clock.now()),
        outcomes=OUTCOMES,
        actions=SCHEDULE_ACTIONS,
    )


def _row(job: PeriodicJob, most: int = NEXT) -> _Row:
    last: Record | None = job.last
    return _Row(job, job.upcoming(most), None if last is None else OUTCOMES.get(last.what))


def act(request: Request) -> Response:
    """One of the actions of the table; what is wrong with a line is told on the page."""
    form, jobs = form_of(request), acting(request).periodic
    action = SCHEDULE_ACTIONS[action_of(form, SCHEDULE_ACTIONS)]
    require(request, action.role)
    found = _find(jobs, str(form.get("id", "")))
    line, zone = (str(form.get(field, ""))[:LONGEST_LINE] for field in ("line", "tz"))
    if line.lstrip().startswith("@every"):
        zone = ""  # the field has that of the line before
    text: str
    try:
        done = action.do(jobs, found, Given(line=line, tz=zone.strip() or None))
    except (ArgumentError, ConflictError) as error:
        text = said_by(error)
    else:
        text = action.done(1, clip(found.name)) if done else Text("There was nothing to do.")
    state_of(request).changed()
    session.flash(request, text)
    back = url(request, "periodic_job", id=found.id) if form.get("back") else ""
    return RedirectResponse(back or url(request, "periodic"), 303)


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
