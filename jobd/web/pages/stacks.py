"""What the threads of processes are doing: the answer to a question that was asked on Busy."""

from __future__ import annotations

import time

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobd.api import Page, Process, Stacks
from jobd.web.pages.busy import ALL
from jobd.web.request import state_of
from jobd.web.shared.state import State
from jobd.web.views import busy, stacktext
from jobd.web.views.lists import number_of
from jobd.web.views.render import render

PATIENCE = 45.0
"""Seconds after a question during which the page looks for the answer by itself. A process answers
at once, or with its next heartbeat, within ten."""

PAGE = 20
"""Processes of one page."""


def page(request: Request) -> Response:
    """The stacks of one process, or of all. To ask for them takes an operator."""
    state, query = state_of(request), request.query_params
    identity = query.get("identity", ALL)
    start = number_of(query.get("start"))
    asked = number_of(query.get("asked"))
    processes = [one for one in busy.read(state).processes if identity in (ALL, one.identity)]
    shown = processes[start : start + PAGE] if identity == ALL else processes
    # One that has ended since may have told before.
    names = [one.identity for one in shown] if identity == ALL else [identity[:500]]
    told = _told(state, tuple(names))
    rows = [_row(name, shown, told) for name in names]
    missing = [row for row in rows if row["dump"] is None and row["answers"]]
    return render(
        request,
        "stacks.html",
        here="busy",
        identity=identity,
        rows=rows,
        list=Page(tuple(names), start, len(processes) if identity == ALL else len(names)),
        count=PAGE,
        asked=asked,
        waits=bool(missing) and 0 <= time.time() - asked < PATIENCE,
        missing=len(missing),
    )


def _told(state: State, names: tuple[str, ...]) -> dict[str, Stacks]:
    return state.snapshots.get(("stacks", names), 1.0, lambda: state.api.processes.stacks(names))


def _row(name: str, processes: list[Process], told: dict[str, Stacks]) -> dict[str, object]:
    process = next((one for one in processes if one.identity == name), None)
    stacks = told.get(name)
    return {
        "identity": name,
        "process": process,
        # Whether an answer can come, and come to us.
        "answers": process is not None and process.is_jobd,
        "at": stacks.at if stacks else None,
        "dump": stacktext.parse(stacks.text) if stacks else None,
    }


routes = [Route("/busy/stacks", page, name="stacks")]
