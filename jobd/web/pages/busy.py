"""Busy: who works, on what, since when; and quieting, stopping and asking for stacks."""

from __future__ import annotations

import time
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jobd.api import Process
from jobd.errors import ArgumentError
from jobd.web import asking, busy, session
from jobd.web.asking import Question
from jobd.web.gate import form_of, require
from jobd.web.lists import number_of
from jobd.web.present import clip
from jobd.web.refusals import NotFound, Refusal
from jobd.web.render import render, url
from jobd.web.state import acting, state_of
from jobd.web.users import Role

ALL = "all"
"""Stands for all processes where an identity is expected."""

_ROLES = {"quiet": Role.OPERATOR, "dump": Role.OPERATOR, "stop": Role.ADMIN}

_TOLD = {
    "quiet": ("takes no new jobs", "take no new jobs"),
    "stop": ("stops when its jobs have ended or its time is over", "stop"),
    "dump": ("tells its stacks", "tell their stacks"),
}


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
    count = len(_processes(request, identity))
    whom = f"all {count} processes" if identity == ALL else f"process {identity}"
    if do == "quiet":
        heading = f"Quiet {whom}?"
        text = (
            "Running jobs go on to their end; no new ones are taken, so queues grow. From here it "
            "cannot be undone: jobctl resume on each host ends it, or new processes."
        )
    else:
        heading = f"Stop {whom}?"
        text = (
            "Running jobs get the time that the daemon's timeout allows; what has not ended then "
            "goes back to its queue. The master of a jobd worker starts a new one at once; to stop "
            "a daemon use jobctl stop on its host. A Sidekiq stays stopped."
        )
    question = Question(
        heading=clip(heading, 300),
        text=text,
        action=url(request, "busy_do"),
        fields=[("do", do), ("identity", identity)],
        button="Stop" if do == "stop" else "Quiet",
        back=url(request, "busy"),
    )
    return asking.ask(request, question, here="busy")


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
        told = send_all[what]()
        text = f"{told:,} processes {_TOLD[what][1]} with their next heartbeats"
    else:
        process = _find(request, identity)
        send = {"quiet": process.quiet, "stop": process.stop, "dump": process.dump_threads}
        if not send[what]():
            raise NotFound(f"{identity} has gone.")
        text = f"{identity} {_TOLD[what][0]} with its next heartbeat"
    state_of(request).changed()
    if what == "dump":
        asked = int(time.time())
        return RedirectResponse(url(request, "stacks", identity=identity, asked=asked), 303)
    session.flash(request, f"{text}, within ten seconds.")
    return RedirectResponse(url(request, "busy"), 303)


def _role(what: str) -> Role:
    if what not in _ROLES:
        raise Refusal(f"there is no {what[:50]!r} for processes; there are {', '.join(_ROLES)}")
    return _ROLES[what]


def _find(request: Request, identity: str) -> Process:
    try:
        return acting(request).processes[identity]
    except KeyError:
        raise NotFound(f"There is no process {identity[:200]!r}, or not any more.") from None


def _processes(request: Request, identity: str) -> list[Process]:
    if identity == ALL:
        found = [one for one in busy.read(state_of(request)).processes if not one.embedded]
        if not found:
            raise NotFound("There is no process that takes signals.")
        return found
    process = _find(request, identity)
    if process.embedded:
        raise ArgumentError(f"{identity} is a part of another program and takes no signals")
    return [process]


routes = [
    Route("/busy", page, name="busy"),
    Route("/busy/ask", ask, name="busy_ask"),
    Route("/busy/do", do, methods=["POST"], name="busy_do"),
]
