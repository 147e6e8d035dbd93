"""Batches: how far each is and how fast; one with its counts, callbacks, those inside it and what
has failed; cancelling, closing and deleting them."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jobd.api import Page
from jobd.api.actions import Action
from jobd.api.features import batch_parts
from jobd.api.features.batch_actions import BATCH_ACTIONS, BatchDo, offered
from jobd.api.search.scans import end_of
from jobd.errors import ArgumentError, JobNotFoundError
from jobd.features.batches.record import BatchStatus
from jobd.text.translatable import Text
from jobd.web.access import session
from jobd.web.http_errors import NotFound, Refusal, said_by
from jobd.web.request import acting, action_of, form_of, require, state_of, url
from jobd.web.shared.batch_rates import Pace
from jobd.web.views.confirm import STEP, Question, ask, go_on
from jobd.web.views.lists import Part, number_of
from jobd.web.views.render import render

STATES = {
    "abandoned": Text("abandoned"),
    "open": Text("open"),
    "running": Text("running"),
    "cancelled": Text("cancelled"),
    "succeeded": Text("succeeded"),
    "failed": Text("failed"),
}
"""The states of batches."""

TONES = {"abandoned": "warn", "succeeded": "good", "failed": "bad", "cancelled": "warn"}
"""The class of a tag with such a state."""

EVENTS = {
    "success": Text("success"),
    "complete": Text("complete"),
    "death": Text("death"),
    "pending": Text("waits for its next attempt"),
    "dead": Text("dead"),
}
"""Events of callbacks, and what has become of members that have failed."""

SHARED = 2.0
"""Seconds for which all readers are shown the same."""

FAILED = 25
"""Members that have failed which the page of a batch names."""


@dataclass(frozen=True, slots=True)
class _Row:
    """A batch on the page, and how fast it is."""

    batch: BatchStatus
    pace: Pace


def batches(request: Request) -> Response:
    """All of them, the newest first."""
    state, part = state_of(request), Part.of(request.query_params)
    found, size = state.snapshots.get(
        ("batches", part.start, part.count),
        SHARED,
        lambda: (
            state.api.batches.newest(part.count, part.start),
            len(state.api.batches),
        ),
    )
    page = Page(_rows(request, found), part.start, size)
    return render(
        request, "batches.html", here="batches", page=page, part=part, states=STATES, tones=TONES
    )


def batch(request: Request) -> Response:
    """One of them."""
    state = state_of(request)
    one = _find(request, request.query_params.get("id", ""))
    parts = state.snapshots.get(
        ("batch", one), SHARED, lambda: batch_parts.parts(state.api, one, FAILED)
    )
    [row] = _rows(request, [one])
    return render(
        request,
        "batch.html",
        here="batches",
        row=row,
        inner=_rows(request, parts.inside),
        all_inside=parts.all_inside,
        callbacks=parts.callbacks,
        failed=parts.failures,
        actions=offered(one),
        states=STATES,
        tones=TONES,
        events=EVENTS,
    )


def act(request: Request) -> Response:
    """One of the actions of the table; those that ask are done when the form says ``sure``."""
    form = form_of(request)
    action = BATCH_ACTIONS[action_of(form, BATCH_ACTIONS)]
    require(request, action.role)
    one = _find(request, str(form.get("id", "")))
    if action.asks and not form.get("sure"):
        return ask(
            request,
            Question(
                heading=_QUESTIONS[action.name].filled(batch=one.bid),
                text=action.effect,
                action=url(request, "batch_act"),
                fields=[("id", one.bid), ("action", action.name)],
                button=action.button,
                back=url(request, "batch", id=one.bid),
            ),
            here="batches",
        )
    try:
        if action.name == "cancel":
            return _cancel(request, one, form)
        count = action.do(acting(request).batches, one.bid)
    except JobNotFoundError:
        raise _gone() from None
    return _done(request, one, action, count)


def _cancel(request: Request, one: BatchStatus, form: FormData) -> Response:
    """One step of it: there may be millions of jobs."""
    api, changed = acting(request), number_of(form.get("changed"))
    scanned, size = number_of(form.get("scanned")), number_of(form.get("size"))
    try:
        cancelling = api.batches.cancelling(one.bid, str(form.get("cursor", "")))
    except ArgumentError as error:
        raise Refusal(said_by(error)) from None
    if not size:
        found = api.stats()
        size = found.enqueued + found.retry_size + found.scheduled_size
    cancelling.until(end_of(STEP))
    changed += cancelling.cancelled + cancelling.cancelling
    if cancelling.done:
        return _done(request, one, BATCH_ACTIONS["cancel"], changed)
    state_of(request).changed()
    scanned += cancelling.scanned
    return go_on(
        request,
        Text("Cancelling batch %(batch)s", batch=one.bid),
        action=url(request, "batch_act"),
        fields=[
            *(("id", one.bid), ("action", "cancel"), ("sure", "1")),
            *(("cursor", cancelling.cursor), ("changed", changed)),
            *(("scanned", scanned), ("size", size)),
        ],
        scanned=scanned,
        size=size,
        changed=changed,
        back=url(request, "batch", id=one.bid),
        here="batches",
    )


def _done(request: Request, one: BatchStatus, action: Action[BatchDo], count: int) -> Response:
    state_of(request).changed()
    session.flash(request, action.done(count, one.bid))
    there = action.name != "delete"
    back = url(request, "batch", id=one.bid) if there else url(request, "batches")
    return RedirectResponse(back, 303)


_QUESTIONS = {
    "cancel": Text("Cancel batch %(batch)s?"),
    "delete": Text("Delete batch %(batch)s?"),
}


def _rows(request: Request, found: list[BatchStatus]) -> tuple[_Row, ...]:
    paces = state_of(request).batch_rates.look(found)
    return tuple(_Row(one, paces[one.bid]) for one in found)


def _find(request: Request, bid: str) -> BatchStatus:
    try:
        return state_of(request).api.batches.get(bid[:100])
    except JobNotFoundError:
        raise _gone() from None


def _gone() -> NotFound:
    return NotFound(Text("This batch is gone: batches are kept for a day after their end."))


routes = [
    Route("/batches", batches, name="batches"),
    Route("/batches/batch", batch, name="batch"),
    Route("/batches/act", act, methods=["POST"], name="batch_act"),
]
