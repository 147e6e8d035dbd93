"""Workflows: how far each is, the graph of one and its steps; retry and cancel."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jobd.api import Page
from jobd.api.features.workflow_actions import WORKFLOW_ACTIONS, offered
from jobd.errors import ConflictError
from jobd.features.workflows.record import StepInfo, WorkflowInfo
from jobd.text.translatable import Text
from jobd.web.access import session
from jobd.web.http_errors import NotFound, said_by
from jobd.web.request import acting, action_of, form_of, require, state_of, url
from jobd.web.views.confirm import Question, ask
from jobd.web.views.graph import drawing
from jobd.web.views.lists import Part
from jobd.web.views.present import clip
from jobd.web.views.render import render

STATES = {
    "running": Text("running"),
    "done": Text("done"),
    "failed": Text("failed"),
    "cancelled": Text("cancelled"),
    "waiting": Text("waits"),
    "pushed": Text("pushed"),
    "expired": Text("expired"),
    "blocked": Text("blocked"),
    "unused": Text("not needed"),
}
"""The states of workflows and of their steps."""

TONES = {"done": "good", "failed": "bad", "expired": "bad", "cancelled": "warn", "blocked": "warn"}
"""The class of a tag with such a state."""

_FIRST = ("failed", "expired", "pushed")
"""States of the steps that are listed before the others."""


def workflows(request: Request) -> Response:
    """All of them, the newest first."""
    api, part = state_of(request).api, Part.of(request.query_params)
    some = tuple(api.workflows.newest(part.start, part.count))
    page = Page(some, part.start, len(api.workflows))
    return render(
        request,
        "workflows.html",
        here="workflows",
        page=page,
        part=part,
        states=STATES,
        tones=TONES,
    )


def workflow(request: Request) -> Response:
    """One of them."""
    part = Part.of(request.query_params)
    found = _find(request)
    steps = sorted((one for one in found.steps if one.job), key=_urgency)
    page = Page(tuple(steps[part.start : part.start + part.count]), part.start, len(steps))
    return render(
        request,
        "workflow.html",
        here="workflows",
        flow=found.summary,
        drawing=drawing(found.steps),
        page=page,
        part=part,
        states=STATES,
        tones=TONES,
        actions=offered(found.summary),
    )


def act(request: Request) -> Response:
    """Retry or cancel one; what asks is done when the form says ``sure``."""
    form = form_of(request)
    action = WORKFLOW_ACTIONS[action_of(form, WORKFLOW_ACTIONS)]
    require(request, action.role)
    ref = str(form.get("id", ""))[:200]
    if action.asks and not form.get("sure"):
        question = Question(
            heading=Text("Cancel workflow %(flow)s?", flow=clip(ref, 60)),
            text=action.effect,
            action=url(request, "workflow_act"),
            fields=[("id", ref), ("action", action.name)],
            button=action.button,
            back=url(request, "workflow", id=ref),
        )
        return ask(request, question, here="workflows")
    try:
        count = action.do(acting(request).workflows, ref)
    except KeyError:
        raise _gone() from None
    except ConflictError as error:
        session.flash(request, said_by(error))
    else:
        session.flash(request, action.done(count, clip(ref, 60)))
    state_of(request).changed()
    return RedirectResponse(url(request, "workflow", id=ref), 303)


def _find(request: Request) -> WorkflowInfo:
    ref = request.query_params.get("id", "")[:200]
    try:
        return state_of(request).api.workflows[ref]
    except KeyError:
        raise _gone() from None


def _gone() -> NotFound:
    return NotFound(Text("This workflow is gone: workflows are kept for a day after their end."))


def _urgency(step: StepInfo) -> tuple[int, int]:
    return (_FIRST.index(step.state) if step.state in _FIRST else len(_FIRST), step.number)


routes = [
    Route("/workflows", workflows, name="workflows"),
    Route("/workflows/workflow", workflow, name="workflow"),
    Route("/workflows/act", act, methods=["POST"], name="workflow_act"),
]
