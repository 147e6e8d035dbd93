"""All queues: how much waits in them, for how long, how fast it goes; pause, resume and clear."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jobd.api import Page, QueueSummary
from jobd.api.actions import NOTHING, QUEUE_ACTIONS
from jobd.api.queues.obstacles import not_obeyed, taking_anyway
from jobd.api.shared.figures import SHARED, lasts
from jobd.text.translatable import Text
from jobd.web.access import session
from jobd.web.http_errors import Refusal
from jobd.web.request import acting, action_of, form_of, require, state_of, url
from jobd.web.shared.queue_rates import EVERY, PACE, Rates
from jobd.web.shared.state import State
from jobd.web.views.confirm import Question, ask, is_permanent
from jobd.web.views.lists import Part
from jobd.web.views.present import clip
from jobd.web.views.render import render

ORDERS: dict[str, Callable[[QueueSummary], str | float]] = {
    "name": lambda queue: queue.name,
    "size": lambda queue: -queue.size,
    "latency": lambda queue: -queue.latency,
}
"""What the queues may be sorted by."""


LONGEST_NAME = 10_000
"""Characters of the name of a queue that something is done to: the audit log keeps it."""

MOST_WATCHED = 500
"""Queues whose rates are known, the largest ones."""


def rates(state: State) -> dict[str, Rates]:
    """How fast each of them goes."""
    queues = state.queues()
    largest = sorted(queues, key=lambda queue: -queue.size)[:MOST_WATCHED]
    return state.snapshots.get(
        "flows",
        lambda found: max(EVERY, lasts(3 * len(found), PACE)),
        lambda: state.flows.look(state.api, largest),
    )


def queues(request: Request) -> Response:
    """The page."""
    state, part = state_of(request), Part.of(request.query_params)
    found = state.queues()
    order = request.query_params.get("sort", "name")
    shown = [queue for queue in found if part.q.lower() in queue.name.lower()]
    known = state.known_queues()
    if known > len(found) and part.q and part.q not in {queue.name for queue in shown}:
        # Those that are not looked at are found by their whole names.
        jobs = state.api.queue(part.q)
        summary = state.snapshots.get(("unknown queue", part.q), SHARED, jobs.summary)
        shown += [summary] if summary.size or summary.paused else []
    shown.sort(key=ORDERS.get(order, ORDERS["name"]))
    page = Page(tuple(shown[part.start : part.start + part.count]), part.start, len(shown))
    return render(
        request,
        "queues.html",
        page=page,
        part=part,
        sort=order if order in ORDERS else "name",
        orders=list(ORDERS),
        rates=rates(state),
        unknown=Rates(),
        served=state.served(),
        total=sum(queue.size for queue in found),
        known=known,
        looked_at=len(found),
    )


def act(request: Request) -> Response:
    """Pause, resume or clear one queue."""
    form = form_of(request)
    steps = {"pause": _pause, "resume": _resume, "clear": _clear}
    action = action_of(form, steps)
    name = str(form.get("name", ""))
    if not 0 < len(name) <= LONGEST_NAME:
        raise Refusal(Text("which queue? The form does not say it."))
    require(request, QUEUE_ACTIONS[action].role)
    return steps[action](request, form, name)


def _pause(request: Request, form: FormData, name: str) -> Response:
    pause = QUEUE_ACTIONS["pause"]
    paused = pause.do(acting(request).queue(name), NOTHING)
    others = taking_anyway(state_of(request).processes(), name)
    if not others:
        return _done(request, form, pause.done(paused, clip(name)))
    text = Text(
        "Queue %(queue)s is paused: no worker of jobd takes jobs from it. %(others)s To stop them "
        "as well, quiet them on the page Busy.",
        queue=clip(name),
        others=not_obeyed(others),
    )
    return _done(request, form, text)


def _resume(request: Request, form: FormData, name: str) -> Response:
    resume = QUEUE_ACTIONS["resume"]
    resumed = resume.do(acting(request).queue(name), NOTHING)
    return _done(request, form, resume.done(resumed, clip(name)))


def _clear(request: Request, form: FormData, name: str) -> Response:
    clear = QUEUE_ACTIONS["clear"]
    api = acting(request, permanent=is_permanent(form))
    queue = api.queue(name)
    if not form.get("sure"):
        size = queue.size
        question = Question(
            heading=Text("Clear queue %(queue)s?", queue=clip(name, 60)),
            text=Text.counted(
                "%(count)s job in it will be deleted. Jobs already taken by workers run on.",
                "%(count)s jobs in it will be deleted. Jobs already taken by workers run on.",
                size,
            ),
            action=url(request, "queues_act"),
            fields=[("action", "clear"), ("name", name), ("back", str(form.get("back", "")))],
            button=Text.counted("Delete %(count)s job", "Delete %(count)s jobs", size),
            back=_back(request, form, name),
            restorable=clear.undoable,
            deletes=True,
        )
        return ask(request, question, here="queues")
    cleared = clear.do(queue, NOTHING)
    text = clear.done(cleared, clip(name))
    return _done(request, form, text, undo=api.last_ref if cleared and api.keeps_deleted else "")


def _done(request: Request, form: FormData, text: Text, *, undo: str = "") -> Response:
    state_of(request).changed()
    session.flash(request, text, undo=undo)
    return RedirectResponse(_back(request, form, str(form.get("name", ""))), 303)


def _back(request: Request, form: FormData, name: str) -> str:
    """The page that the form was on."""
    if form.get("back") == "queue":
        return url(request, "queue", name=name)
    return url(request, "queues")


routes = [
    Route("/queues", queues, name="queues"),
    Route("/queues/act", act, methods=["POST"], name="queues_act"),
]
