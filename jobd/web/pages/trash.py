"""The trash: what can be restored and until when; undo, and deleting for good."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jobd.api import Page
from jobd.api.actions import DELETION_ACTIONS, EMPTY_TRASH
from jobd.errors import ConflictError
from jobd.text.translatable import Text
from jobd.web import job_address
from jobd.web.access import session
from jobd.web.http_errors import NotFound, said_by
from jobd.web.request import acting, form_of, require, state_of, url
from jobd.web.views import rows
from jobd.web.views.confirm import STEP, Question, ask, go_on
from jobd.web.views.lists import Part, number_of
from jobd.web.views.present import clip, number, target
from jobd.web.views.render import render


def trash(request: Request) -> Response:
    """The deletions, the last one first."""
    state, part = state_of(request), Part.of(request.query_params)
    page = state.snapshots.get(
        ("trash", part.start, part.count), 5.0, lambda: state.api.trash.page(part.start, part.count)
    )
    short = state.info().memory_short
    return render(request, "trash.html", here="audit", page=page, part=part, short=short)


def deletion(request: Request) -> Response:
    """The jobs of one deletion."""
    state, part = state_of(request), Part.of(request.query_params)
    ref = request.query_params.get("ref", "")
    try:
        found = state.api.trash[ref]
    except KeyError:
        raise NotFound(Text("This deletion is a day old, or has been undone or purged.")) from None
    page = found.page(part.start, part.count)
    # Nothing stands for a job in the trash: it is in no set.
    place = job_address.Place("", "")
    shown = tuple(rows.row_of(job, place, None) for job in page)
    return render(
        request,
        "deletion.html",
        here="audit",
        deletion=found,
        page=Page(shown, page.start, page.size),
        part=part,
    )


def undo(request: Request) -> Response:
    """Put the jobs of a deletion back where they were; one step."""
    restore = DELETION_ACTIONS["restore"]
    require(request, restore.role)
    form, api = form_of(request), acting(request)
    ref, restored = str(form.get("ref", "")), number_of(form.get("changed"))
    found = api.trash.find_all([ref]).get(ref)
    if found is None:
        session.flash(request, Text("That can no longer be undone."))
        return RedirectResponse(url(request, "trash"), 303)
    # What is left of it gets less with each step.
    size = max(number_of(form.get("size")), found.jobs)
    try:
        restored += restore.do(found, STEP)
    except ConflictError as error:
        session.flash(request, said_by(error))
        return RedirectResponse(url(request, "trash"), 303)
    state_of(request).changed()
    back = job_address.list_url(request, found.origin)
    if api.trash.find_all([ref]):
        return go_on(
            request,
            Text.counted("Restoring %(count)s job", "Restoring %(count)s jobs", size),
            action=url(request, "undo"),
            fields=[("ref", ref), ("changed", restored), ("size", size)],
            scanned=restored,
            size=size,
            changed=restored,
            back=back,
            here="audit",
        )
    text = restore.done(restored, "")
    if restored < size:
        text = Text(
            "%(text)s Moved or run in the meantime: %(gone)s.",
            text=text,
            gone=number(size - restored),
        )
    session.flash(request, text)
    return RedirectResponse(back, 303)


def delete_for_good(request: Request) -> Response:
    """Delete the jobs of a deletion for good."""
    purge = DELETION_ACTIONS["purge"]
    require(request, purge.role)
    form, api = form_of(request), acting(request)
    ref = str(form.get("ref", ""))
    found = api.trash.find_all([ref]).get(ref)
    if found is None:
        session.flash(request, Text("That is no longer in the trash."))
    elif not form.get("sure"):
        question = Question(
            heading=Text.counted(
                "Delete %(count)s job for good?", "Delete %(count)s jobs for good?", found.jobs
            ),
            text=Text(
                "%(who)s took them from %(origin)s. %(effect)s",
                who=clip(found.who, 60),
                origin=target(found.origin),
                effect=purge.effect,
            ),
            action=url(request, "trash_purge"),
            fields=[("ref", ref)],
            button=Text.counted(
                "Delete %(count)s job for good", "Delete %(count)s jobs for good", found.jobs
            ),
            back=url(request, "trash"),
            rows=tuple(
                rows.row_of(job, job_address.Place("", ""), None) for job in found.page(0, 5)
            ),
        )
        return ask(request, question, here="audit")
    else:
        purged = purge.do(found, STEP)
        state_of(request).changed()
        session.flash(request, purge.done(purged, found.went_to))
    return RedirectResponse(url(request, "trash"), 303)


def empty(request: Request) -> Response:
    """Delete everything in the trash for good; one step."""
    require(request, EMPTY_TRASH.role)
    form, api = form_of(request), acting(request)
    deletions = api.trash.page(0, 1).size
    if deletions and not form.get("sure"):
        question = Question(
            heading=Text("Empty the trash?"),
            text=Text.counted(
                "%(count)s deletion cannot be undone afterwards. Its memory is free at once.",
                "%(count)s deletions cannot be undone afterwards. Their memory is free at once.",
                deletions,
            ),
            action=url(request, "trash_empty"),
            fields=[],
            button=EMPTY_TRASH.button,
            back=url(request, "trash"),
        )
        return ask(request, question, here="audit")
    purged = number_of(form.get("changed")) + EMPTY_TRASH.do(api.trash, STEP)
    state_of(request).changed()
    if left := api.trash.page(0, 1).size:
        size = max(number_of(form.get("size")), deletions)
        return go_on(
            request,
            Text("Emptying the trash"),
            action=url(request, "trash_empty"),
            fields=[("sure", "1"), ("changed", purged), ("size", size)],
            scanned=size - left,
            size=size,
            changed=purged,
            back=url(request, "trash"),
            here="audit",
        )
    session.flash(request, EMPTY_TRASH.done(purged, ""))
    return RedirectResponse(url(request, "trash"), 303)


routes = [
    Route("/trash", trash, name="trash"),
    Route("/trash/jobs", deletion, name="trash_jobs"),
    Route("/trash/purge", delete_for_good, methods=["POST"], name="trash_purge"),
    Route("/trash/empty", empty, methods=["POST"], name="trash_empty"),
    Route("/undo", undo, methods=["POST"], name="undo"),
]
