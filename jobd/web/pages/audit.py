"""The audit log: who did what, with undo where the trash still has it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobd.api import AuditEntry
from jobd.web import places
from jobd.web.lists import Part
from jobd.web.render import render
from jobd.web.state import State, state_of

_UNDOABLE = frozenset({"clear", "delete", "kill"})

DONE = {
    "add_to_queue": "put into their queues",
    "bury": "put among the dead",
    "clear": "cleared",
    "delete": "deleted",
    "dump": "dumped the stacks of",
    "kill": "killed",
    "pause": "paused",
    "purge": "deleted for good",
    "quiet": "quieted",
    "reschedule": "rescheduled",
    "reset": "set to zero",
    "restore": "restored",
    "retry": "retried",
    "stop": "stopped",
    "trim": "trimmed",
    "unpause": "resumed",
}
"""What somebody did, by the name of the action; others are shown by that."""


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
        entries=entries,
        kept=kept,
        size=size,
        before=before,
        part=part,
        done=DONE,
        lists={
            entry.target: places.list_url(request, entry.target)
            for entry in entries
            if entry.target in places.PAGES or entry.target.startswith("queue:")
        },
    )


def _read(state: State, count: int, before: str) -> tuple[list[AuditEntry], frozenset[str]]:
    """Some entries, and the ids of those that can be undone."""
    entries = state.api.audit.page(count, before=before)
    refs = [entry.ref for entry in entries if entry.action in _UNDOABLE]
    return entries, frozenset(state.api.trash.find_all(refs))


routes = [Route("/audit", audit, name="audit")]
