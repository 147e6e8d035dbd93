"""Finding a job by its id: through what runs, the sets and the queues, some steps for each page."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jobd.web.request import state_of, url
from jobd.web.views.lists import number_of
from jobd.web.views.render import render

NOWHERE = "find"
"""The page belongs to no tab."""

FIRST, NEXT = 0.08, 0.4
"""Seconds for which the first page searches, and each one that goes on."""


def page(request: Request) -> Response:
    """The job's page if it was found; else how far the search has come."""
    query = request.query_params
    jid = query.get("jid", "").strip()[:100]
    was = query.get("was", "")[:200]
    if not jid:
        return render(
            request, "find.html", here=NOWHERE, jid=jid, was=was, place="", scanned=0, cursor=""
        )
    cursor = query.get("cursor", "")
    search = state_of(request).api.find(jid, cursor=cursor)
    found = search.first(1, seconds=NEXT if cursor else FIRST)
    if found:
        return RedirectResponse(url(request, "job", set=found[0].place, key=found[0].key), 303)
    before = number_of(query.get("scanned"))
    scanned = min(before + search.scanned, 10**12)
    status = 200 if search.cursor else 404
    return render(
        request,
        "find.html",
        status,
        here=NOWHERE,
        jid=jid,
        was=was,
        place=search.place,
        scanned=scanned,
        cursor=search.cursor,
    )


routes = [Route("/find", page, name="find")]
