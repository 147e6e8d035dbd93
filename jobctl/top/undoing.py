"""Undoing a deletion: the last one of this session, or another one of the trash."""

from __future__ import annotations

from typing import TypeVar

from jobctl.data.steps import Restoring
from jobctl.top.view import View
from jobd.api.actions import DELETION_ACTIONS
from jobd.api.trash import Deletion
from jobd.text.counting import counted

T = TypeVar("T")


async def undo(view: View[T]) -> None:
    """Put back what was deleted or killed last."""
    ref = view.source.undo
    if not ref:
        view.complain("nothing was deleted here; u shows what others have deleted")
        return
    found = (await view.source.act(lambda api: api.trash.find_all([ref]))).get(ref)
    if found is None:
        view.complain(f"{ref} is not in the trash any more")
        return
    await restore(view, found)


async def restore(view: View[T], deletion: Deletion) -> None:
    """Put back what a deletion has taken away."""
    ref, source = deletion.ref, view.source
    if not await view.ask(f"Put {counted(deletion.jobs, 'job')} back where they were?"):
        return
    restoring = Restoring(source.api, ref)
    changed = await view.in_steps("Putting jobs back", restoring, deletion.jobs)
    if restoring.done and source.undo == ref:
        source.undo = ""
    view.say(str(DELETION_ACTIONS["restore"].done(changed, "")))
