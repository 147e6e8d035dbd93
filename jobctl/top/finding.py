"""Finding a job by its id, wherever it is."""

from __future__ import annotations

from typing import TypeVar

from jobctl.top.dialogs import Working
from jobctl.top.view import View
from jobctl.top.views.job import JobView
from jobd.api.find import JobSearch

T = TypeVar("T")

_EVERY = 20
"""Steps between two looks at the progress."""


async def found_by_id(view: View[T]) -> None:
    """Ask for an id, and show the job."""
    if jid := await view.prompt("Find a job", hint="its id"):
        await show_job(view, jid)


async def show_job(view: View[T], jid: str) -> None:
    """Look for the job with this id wherever it may be, and show it."""
    search, screen = JobSearch(view.source.api, jid), Working(f"looking for {jid[:60]}")
    await view.app.push_screen(screen)
    try:
        while not search.done and not screen.stopped:
            if found := await view.source.act(lambda _: search.next()):
                view.open(JobView(view.source, found[0]))
                return
            screen.progress(search.scanned, 0, 0)
    finally:
        screen.dismiss(None)
    if not screen.stopped:
        view.complain(f"there is no job {jid}: it is done, was deleted, or was never pushed")
