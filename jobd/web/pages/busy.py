"""Busy: who works, on what, since when; and quieting, stopping and asking for stacks."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jobd.api import Process
from jobd.api.actions import PROCESS_ACTIONS, Action, ProcessDo
from jobd.errors import ArgumentError
from jobd.text.translatable import Text
from jobd.web.access import session
from jobd.web.http_errors import NotFound, Refusal
from jobd.web.request import acting, form_of, require, state_of, url
from jobd.web.views import busy, confirm
from jobd.web.views.confirm import Question
from jobd.web.views.lists import number_of, tag_url
from jobd.web.views.present import clip
from jobd.web.views.render import render

ALL = "all"
"""Stands for all processes where an identity is expected."""

_MORE = {
    "quiet": (
        Text("For jobd, jobctl resume on each host ends it, or new processes."),
        Text("A Sidekiq stays quiet until it is restarted."),
    ),
    "stop": (
        Text(
            "The master of a jobd worker starts a new one at once; to stop a daemon use jobctl "
            "stop on its host."
        ),
        Text("A Sidekiq stays stopped."),
    ),
}
"""What a question says of processes of jobd, and of Sidekiq."""


def page(request: Request) -> Response:
    """The page, in one of its three forms: all, ``?only=jobs``, ``?only=processes``."""
    state, query = state_of(request), request.query_params
    only = query.get("only", "")
    wanted = query.get("q", "")[:200]
    identity = query.get("process", "")
    start = number_of(query.get("start"))
    sort = query.get("sort", "")
    sort = sort if sort in busy.COLUMNS else "process"
    everything = busy.read(state)
    reading = busy.search(everything, wanted)
    context: dict[str, Any] = {}
    if only == "jobs" or identity:
        only, jobs = "jobs", busy.all_jobs(reading, identity, start)
        context = {"list": jobs, "progress": busy.progress(state, jobs)}
    elif only == "processes":
        context = {"list": busy.all_processes(reading, start, sort)}
    else:
        only = ""
        host = query.get("host", "")
        few = len(reading.processes) <= busy.OPEN or bool(wanted.strip())
        tree = busy.tree(reading, host, start, all_open=few)
        shown = [job for worker in tree.page for job in worker.jobs]
        context = {
            "tree": tree,
            "list": tree.page,
            "progress": busy.progress(state, shown),
            "few": few,
        }
    return render(
        request,
        "busy.html",
        reading=everything,
        only=only,
        q=wanted,
        process=identity,
        query={
            "only": only,
            "q": wanted,
            "process": identity,
            "host": query.get("host", ""),
            "sort": sort if only == "processes" else "",
        },
        columns=busy.COLUMNS,
        sort=sort,
        tag_url=partial(tag_url, request, "work"),
        count=busy.WORKERS if not only else busy.PAGE,
        queues_of=busy.queues_of,
        troubles=state.troubles(),
        **context,
    )


def ask(request: Request) -> Response:
    """The question before an action."""
    query = request.query_params
    action, identity = _action(request, query.get("do", "")), query.get("identity", "")
    if not action.asks:
        raise Refusal(Text("%(action)s needs no confirmation", action=action.name))
    found = _processes(request, identity)
    text = action.effect
    kinds = {process.is_jobd for process in found}
    for is_jobd, more in zip((True, False), _MORE[action.name], strict=True):
        if is_jobd in kinds:
            text = Text("%(text)s %(more)s", text=text, more=more)
    heading = Text(
        "%(action)s process %(process)s?", action=action.button, process=clip(identity, 250)
    )
    if identity == ALL:
        heading = Text.counted(
            "%(action)s all %(count)s process?",
            "%(action)s all %(count)s processes?",
            len(found),
            action=action.button,
        )
    question = Question(
        heading=heading,
        text=text,
        action=url(request, "busy_do"),
        fields=[("do", action.name), ("identity", identity)],
        button=action.button,
        back=url(request, "busy"),
    )
    return confirm.ask(request, question, here="busy")


def do(request: Request) -> Response:
    """Send a signal, to one process or to all."""
    form = form_of(request)
    identity = str(form.get("identity", ""))
    action, processes = _action(request, str(form.get("do", ""))), acting(request).processes
    if identity == ALL:
        text = action.done(action.do(processes, None), "")
    elif action.do(processes, _find(request, identity)):
        text = action.done(1, identity)
    else:
        raise NotFound(Text("%(process)s has ended.", process=identity))
    state_of(request).changed()
    if action.name == "dump":
        asked = int(time.time())
        return RedirectResponse(url(request, "stacks", identity=identity, asked=asked), 303)
    session.flash(request, text)
    return RedirectResponse(url(request, "busy"), 303)


def _action(request: Request, name: str) -> Action[ProcessDo]:
    """The action of that name, if the user may do it."""
    if name not in PROCESS_ACTIONS:
        raise Refusal(
            Text(
                "unknown action %(action)s for processes; use one of: %(known)s",
                action=repr(name[:50]),
                known=", ".join(PROCESS_ACTIONS),
            )
        )
    require(request, PROCESS_ACTIONS[name].role)
    return PROCESS_ACTIONS[name]


def _find(request: Request, identity: str) -> Process:
    try:
        return acting(request).processes[identity]
    except KeyError:
        raise NotFound(
            Text(
                "There is no process %(process)s; it may have ended.", process=repr(identity[:200])
            )
        ) from None


def _processes(request: Request, identity: str) -> list[Process]:
    if identity == ALL:
        found = [one for one in busy.read(state_of(request)).processes if not one.embedded]
        if not found:
            raise NotFound(Text("No running process takes signals."))
        return found
    process = _find(request, identity)
    if process.embedded:
        raise ArgumentError(
            Text(
                "%(process)s is embedded in another program and takes no signals", process=identity
            )
        )
    return [process]


routes = [
    Route("/busy", page, name="busy"),
    Route("/busy/ask", ask, name="busy_ask"),
    Route("/busy/do", do, methods=["POST"], name="busy_do"),
]
