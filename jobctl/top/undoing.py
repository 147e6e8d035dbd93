"""Undoing the last deletion of this session."""

from __future__ import annotations

from typing import TypeVar

from jobctl.data.words import counted
from jobctl.top.view import View
from jobd.api.actions import DELETION_ACTIONS
from jobd.api.entry import Api

T = TypeVar("T")

_STEP = 0.25
"""Seconds of a step."""


async def undo(view: View[T]) -> None:
    """Put back what was deleted or killed last."""
    ref, action = view.source.undo, DELETION_ACTIONS["restore"]
    if not ref:
        view.complain("nothing was deleted here; jobctl trash ls shows what others have deleted")
        return
    found = (await view.source.act(lambda api: api.trash.find_all([ref]))).get(ref)
    if found is None:
        view.complain(f"{ref} is not in the trash any more")
        return
    if not await view.ask(f"Put {counted(found.jobs, 'job')} back where they were?"):
        return
    restoring = _Restoring(view.source.api, ref)
    changed = await view.in_steps("Putting jobs back", restoring, found.jobs)
    if restoring.done:
        view.source.undo = ""
    view.say(str(action.done(changed, "")))


class _Restoring:
    """One deletion that is undone, in steps."""

    def __init__(self, api: Api, ref: str) -> None:
        self._api, self._ref = api, ref
        self.scanned, self.done = 0, False

    def step(self) -> int:
        found = self._api.trash.find_all([self._ref]).get(self._ref)
        if found is None:
            self.done = True
            return 0
        restored = int(DELETION_ACTIONS["restore"].do(found, _STEP))
        self.scanned += restored
        self.done = not restored
        return restored
