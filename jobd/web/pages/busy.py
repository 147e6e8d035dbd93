"""Busy: who works, on what, since when; and quieting, stopping and asking for stacks."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jobd.api import Process
from jobd.errors import ArgumentError
from jobd.text.translatable import Text
from jobd.web.access import session
from jobd.web.access.users import Role
from jobd.web.http_errors import NotFound, Refusal
from jobd.web.request import acting, form_of, require, state_of, url
from jobd.web.views import busy, confirm
from jobd.web.views.confirm import Question
from jobd.web.views.lists import number_of
from jobd.web.views.present import clip
from jobd.web.views.render import render

ALL = "all"
"""Stands for all processes where an identity is expected."""

_ROLES = {"quiet": Role.OPERATOR, "dump": Role.OPERATOR, "stop": Role.ADMIN}


def page(request: Request) -> Response:
    """The page, in one of its three forms: all, ``?only=jobs``, ``?only=processes``."""
    state, query = state_of(request), request.query_params
    only = query.get("only", "")
    wanted = query.get("q", "")[:200]
    identity = query.get("process", "")
    start = number_of(query.get("start"))
    everything = busy.read(state)
    reading = busy.search(everything, wanted)
    context: dict[str, Any] = {}
    if only == "jobs" or identity:
        only, jobs = "jobs", busy.all_jobs(reading, identity, start)
        context = {"list": jobs, "progress": busy.progress(state, jobs)}
    elif only == "processes":
        context = {"list": busy.all_processes(reading, start)}
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
        },
        count=busy.WORKERS if not only else busy.PAGE,
        queues_of=busy.queues_of,
        **context,
    )


def ask(request: Request) -> Response:
    """Whether he is sure."""
    do, identity = request.query_params.get("do", ""), request.query_params.get("identity", "")
    require(request, _role(do))
    found = _processes(request, identity)
    count, kinds = len(found), {process.is_jobd for process in found}
    one = clip(identity, 250)
    if do == "quiet":
        heading = (
            Text.counted("Quiet all %(count)s process?", "Quiet all %(count)s processes?", count)
            if identity == ALL
            else Text("Quiet process %(process)s?", process=one)
        )
        text = Text(
            "Running jobs go on to their end; no new ones are taken, so queues grow. From here it "
            "cannot be undone."
        )
        ours = Text("For jobd, jobctl resume on each host ends it, or new processes.")
        theirs = Text("A Sidekiq stays quiet until it is restarted.")
    else:
        heading = (
            Text.counted("Stop all %(count)s process?", "Stop all %(count)s processes?", count)
            if identity == ALL
            else Text("Stop process %(process)s?", process=one)
        )
        text = Text(
            "Running jobs get the time that its timeout allows; what has not ended then goes back "
            "to its queue."
        )
        ours = Text(
            "The master of a jobd worker starts a new one at once; to stop a daemon use jobctl "
            "stop on its host."
        )
        theirs = Text("A Sidekiq stays stopped.")
    for is_jobd, more in ((True, ours), (False, theirs)):
        if is_jobd in kinds:
            text = Text("%(text)s %(more)s", text=text, more=more)
    question = Question(
        heading=heading,
        text=text,
        action=url(request, "busy_do"),
        fields=[("do", do), ("identity", identity)],
        button=Text("Stop") if do == "stop" else Text("Quiet"),
        back=url(request, "busy"),
    )
    return confirm.ask(request, question, here="busy")


def do(request: Request) -> Response:
    """Send a signal, to one process or to all."""
    form = form_of(request)
    what, identity = str(form.get("do", "")), str(form.get("identity", ""))
    require(request, _role(what))
    api = acting(request)
    if identity == ALL:
        send_all = {
            "quiet": api.processes.quiet_all,
            "stop": api.processes.stop_all,
            "dump": api.processes.dump_threads_all,
        }
        text = _told_all(what, send_all[what]())
    else:
        process = _find(request, identity)
        send = {"quiet": process.quiet, "stop": process.stop, "dump": process.dump_threads}
        if not send[what]():
            raise NotFound(Text("%(process)s has gone.", process=identity))
        text = _told_one(what, identity)
    state_of(request).changed()
    if what == "dump":
        asked = int(time.time())
        return RedirectResponse(url(request, "stacks", identity=identity, asked=asked), 303)
    session.flash(request, text)
    return RedirectResponse(url(request, "busy"), 303)


def _told_one(what: str, identity: str) -> Text:
    if what == "quiet":
        return Text(
            "%(process)s takes no new jobs with its next heartbeat, within ten seconds.",
            process=identity,
        )
    return Text(
        "%(process)s gets the request at its next heartbeat, within ten seconds, and stops when "
        "its jobs end or its timeout expires.",
        process=identity,
    )


def _told_all(what: str, count: int) -> Text:
    if what == "quiet":
        return Text.counted(
            "%(count)s process takes no new jobs with its next heartbeat, within ten seconds.",
            "%(count)s processes take no new jobs with their next heartbeats, within ten seconds.",
            count,
        )
    return Text.counted(
        "%(count)s process stops with its next heartbeat, within ten seconds.",
        "%(count)s processes stop with their next heartbeats, within ten seconds.",
        count,
    )


def _role(what: str) -> Role:
    if what not in _ROLES:
        raise Refusal(
            Text(
                "there is no %(action)s for processes; there are %(known)s",
                action=repr(what[:50]),
                known=", ".join(_ROLES),
            )
        )
    return _ROLES[what]


def _find(request: Request, identity: str) -> Process:
    try:
        return acting(request).processes[identity]
    except KeyError:
        raise NotFound(
            Text("There is no process %(process)s, or not any more.", process=repr(identity[:200]))
        ) from None


def _processes(request: Request, identity: str) -> list[Process]:
    if identity == ALL:
        found = [one for one in busy.read(state_of(request)).processes if not one.embedded]
        if not found:
            raise NotFound(Text("There is no process that takes signals."))
        return found
    process = _find(request, identity)
    if process.embedded:
        raise ArgumentError(
            Text("%(process)s is a part of another program and takes no signals", process=identity)
        )
    return [process]


routes = [
    Route("/busy", page, name="busy"),
    Route("/busy/ask", ask, name="busy_ask"),
    Route("/busy/do", do, methods=["POST"], name="busy_do"),
]
