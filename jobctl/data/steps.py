"""What takes long and is no sweep, in steps: moving a queue, restoring a deletion, emptying the
trash. The commands and the full-screen display take them, show how far they are, and stop between
two of them.
"""

from __future__ import annotations

from typing import Protocol

from jobd.api.actions import DELETION_ACTIONS, EMPTY_TRASH
from jobd.api.entry import Api
from jobd.errors import ConflictError

_SECONDS = 0.25
"""Of a step."""


class Steps(Protocol):
    """Something long, as a sweep of the data API.

    Attributes:
        done: whether there is nothing left to do.
        scanned: jobs that were looked at.
    """

    @property
    def done(self) -> bool: ...

    @property
    def scanned(self) -> int: ...

    def step(self) -> int:
        """Go on; returns how many jobs that has changed."""


class Moving:
    """Moves the jobs of a queue that are there now.

    Raises:
        ArgumentError: that cannot be the name of a queue, or it is the same one.
    """

    def __init__(self, api: Api, source: str, target: str) -> None:
        self._api, self._queue, self._target = api, api.queue(source), target
        self._queue.check_target(target)
        self._left = self._queue.size
        self._ref: str | None = None
        self.scanned = 0

    @property
    def done(self) -> bool:
        return self._left <= 0

    def step(self) -> int:
        """Move some; returns how many."""
        moved = self._queue.move_all(self._target, most=self._left, seconds=_SECONDS, ref=self._ref)
        self._ref = self._api.last_ref
        self._left = self._left - moved if moved else 0
        self.scanned += moved
        return moved


class Restoring:
    """One deletion that is undone.

    Attributes:
        scanned: jobs that are back where they were.
        done: whether there is nothing more to put back; what unique jobs keep out stays.
    """

    def __init__(self, api: Api, ref: str) -> None:
        self._api, self._ref = api, ref
        self.scanned, self.done = 0, False

    def step(self) -> int:
        """Go on; returns how many it has put back.

        Raises:
            ConflictError: nothing can be put back at all.
        """
        found = self._api.trash.find_all([self._ref]).get(self._ref)
        restored = 0
        try:
            if found is not None:
                restored = DELETION_ACTIONS["restore"].do(found, _SECONDS)
        except ConflictError:
            if not self.scanned:
                raise
        self.scanned += restored
        self.done = not restored
        return restored


class Emptying:
    """The trash, whose deletions are made final.

    Attributes:
        scanned: jobs that are gone.
        done: whether the trash is empty.
    """

    def __init__(self, api: Api) -> None:
        self._trash = api.trash
        self.scanned, self.done = 0, False

    def step(self) -> int:
        """Go on; returns how many jobs it has deleted."""
        purged = EMPTY_TRASH.do(self._trash, _SECONDS)
        self.scanned += purged
        self.done = not self._trash.page(0, 1).size
        return purged
