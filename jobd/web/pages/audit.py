"""The audit log: who did what, with undo where the trash still has it."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobd.api import AuditEntry
from jobd.text.translatable import Text
from jobd.web import job_address
from jobd.web.request import state_of, url
from jobd.web.shared.state import State
from jobd.web.views.lists import Part
from jobd.web.views.present import clip, target
from jobd.web.views.render import render

_UNDOABLE = frozenset({"cancel", "clear", "delete", "edit", "kill"})

DONE = {
    "add_to_queue": Text("put into their queues %(target)s"),
    "bury": Text("put among the dead %(target)s"),
    "cancel": Text("cancelled in %(target)s"),
    "clear": Text("cleared %(target)s"),
    "delete": Text("deleted %(target)s"),
    "dump_threads": Text("asked for the stacks of %(target)s"),
    "edit": Text("edited %(target)s"),
    "kill": Text("killed %(target)s"),
    "mark": Text("marked the deploy %(target)s"),
    "pause": Text("paused %(target)s"),
    "purge": Text("deleted for good %(target)s"),
    "quiet": Text("quieted %(target)s"),
    "reschedule": Text("rescheduled %(target)s"),
    "reset": Text("set to zero %(target)s"),
    "restore": Text("restored %(target)s"),
    "retry": Text("retried %(target)s"),
    "stop": Text("stopped %(target)s"),
    "trim": Text("trimmed %(target)s"),
    "unpause": Text("resumed %(target)s"),
    "pause schedule": Text("paused %(target)s"),
    "resume schedule": Text("resumed %(target)s"),
    "change schedule": Text("changed %(target)s"),
    "reset schedule": Text("took back the change of %(target)s"),
    "run schedule": Text("pushed %(target)s"),
    "cancel batch": Text("cancelled %(target)s"),
    "close batch": Text("closed %(target)s"),
    "delete batch": Text("deleted %(target)s"),
}
"""What somebody did, by the name of the action; others are shown by that. The target is a link."""

_MOVED = "move to "
"""Begins the name of an action that has another queue in it."""

_NOT_TO_JOBS = frozenset({"dump_threads", "mark", "pause", "quiet", "reset", "stop", "unpause"}) | {
    *(f"{act} schedule" for act in ("pause", "resume", "change", "reset")),
    *(f"{act} batch" for act in ("cancel", "close", "delete")),
}
"""Actions of which the log does not count jobs."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One entry, in words.

    Attributes:
        target: to what it was done; a link where *href* is not empty.
        done: what was done, with a place for the target; empty if that has no words.
        queue: the one that jobs were moved to.
        jobs: how many, None where it was not about jobs.
    """

    entry: AuditEntry
    target: Text
    href: str
    done: Text | None
    queue: str
    jobs: int | None


def audit(request: Request) -> Response:
    """The page."""
    state, part = state_of(request), Part.of(request.query_params)
    before = request.query_params.get("before", "")[:40]
    entries, kept = state.snapshots.get(
        ("audit", part.count, before), 1.5, lambda: _read(state, part.count, before)
    )
    size = state.snapshots.get("audit size", 1.5, lambda: state.api.audit.size)
    return render(
        request,
        "audit.html",
        rows=[_row(request, entry) for entry in entries],
        kept=kept,
        size=size,
        before=before,
        part=part,
    )


def _row(request: Request, entry: AuditEntry) -> _Row:
    action, name = entry.action, entry.target
    shown, href = target(name), ""
    if action == "mark":
        shown = Text(clip(name.removeprefix("deploy:"), 120))
    elif name == "processes":
        shown = Text.counted("%(count)s process", "%(count)s processes", entry.jobs)
    elif name == "stats":
        shown = Text("the totals")
    elif name.startswith("periodic:"):
        shown = Text(clip(name.removeprefix("periodic:"), 120))
        href = url(request, "periodic")
    elif name.startswith("workflow:"):
        shown = Text(clip(name.removeprefix("workflow:"), 120))
        href = url(request, "workflow", id=name.removeprefix("workflow:"))
    elif name.startswith("batch:"):
        shown = Text(clip(name.removeprefix("batch:"), 120))
        href = url(request, "batch", id=name.removeprefix("batch:"))
    elif name in job_address.PAGES or name.startswith("queue:"):
        href = job_address.list_url(request, name)
    done, queue = DONE.get(action), ""
    if action.startswith(_MOVED):
        done, queue = Text("moved jobs of %(target)s to queue %(queue)s"), action[len(_MOVED) :]
    return _Row(
        entry, shown, href, done, clip(queue, 120), None if action in _NOT_TO_JOBS else entry.jobs
    )


def _read(state: State, count: int, before: str) -> tuple[list[AuditEntry], frozenset[str]]:
    """Some entries, and the places in the log of those that can be undone."""
    entries = state.api.audit.page(count, before=before)
    undoable = [entry for entry in entries if entry.action in _UNDOABLE]
    kept = state.api.trash.find_all(entry.ref for entry in undoable)
    return entries, frozenset(
        entry.id
        for entry in undoable
        if (found := kept.get(entry.ref))
        and (found.who, found.action, found.origin) == (entry.who, entry.action, entry.target)
    )


routes = [Route("/audit", audit, name="audit")]
