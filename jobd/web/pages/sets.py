"""Retries, scheduled and dead: one page for the three, with paging and search."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobd.text.translatable import Text
from jobd.web.job_address import job_url, set_named
from jobd.web.pages.set_actions import Kind, act
from jobd.web.request import state_of
from jobd.web.shared.grouping import Grouped
from jobd.web.views import lists, rows
from jobd.web.views.lists import Part
from jobd.web.views.render import render
from jobd.web.views.search import FIELDS, parse

KINDS = (
    Kind(
        page="retries",
        set="retry",
        title=Text("Retries"),
        what=Text("retries"),
        time=Text("Next try"),
        acts=("retry", "reschedule", "kill", "delete"),
    ),
    Kind(
        page="scheduled",
        set="schedule",
        title=Text("Scheduled"),
        what=Text("scheduled jobs"),
        time=Text("Runs"),
        acts=("add_to_queue", "reschedule", "delete"),
        grouped=False,
    ),
    Kind(
        page="dead",
        set="dead",
        title=Text("Dead"),
        what=Text("dead jobs"),
        time=Text("Died"),
        acts=("retry", "delete"),
    ),
)

FIRST, NEXT = 0.05, 0.5
"""Seconds for which a page goes on grouping: the first answer, and each one that follows."""


def page(request: Request, kind: Kind) -> Response:
    """The list."""
    state, part = state_of(request), Part.of(request.query_params)
    jobs = set_named(state.api, kind.set)
    shown = finds = None
    if part.searching:
        search = parse(part.q, part.group, part.error)
        scan = jobs.scan(where=search.where, pattern=search.match, cursor=part.cursor)
        finds = lists.search(scan, part, jobs.size, rows.of_entry)
    else:
        shown = lists.remembered(
            request,
            (kind.set, part.start, part.count, part.other),
            lambda: rows.page_of_set(jobs, part.start, part.count, reverse=part.other),
        )
    return render(
        request,
        "jobs.html",
        kind=kind,
        page=shown,
        finds=finds,
        part=part,
        search_page=kind.page,
        search_fields=FIELDS,
        job_url=partial(job_url, request),
        tag_url=partial(lists.tag_url, request, kind.set),
    )


def groups(request: Request, kind: Kind) -> Response:
    """The failures grouped by what went wrong."""
    state = state_of(request)
    seconds = NEXT if "go" in request.query_params else FIRST
    grouped: Grouped = state.groupings[kind.set].look(set_named(state.api, kind.set), seconds)
    return render(request, "groups.html", kind=kind, grouped=grouped)


def _routes(kind: Kind) -> list[Route]:
    name = kind.page
    made = [
        Route(f"/{name}", partial(page, kind=kind), name=name),
        Route(f"/{name}/act", partial(act, kind=kind), methods=["POST"], name=f"{name}_act"),
    ]
    if kind.grouped:
        made.append(Route(f"/{name}/groups", partial(groups, kind=kind), name=f"{name}_groups"))
    return made


routes = [route for kind in KINDS for route in _routes(kind)]
