"""The lead of this daemon's keeper: one of its workers runs the hooks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from jobd.master.children.child import Child, Stage
from jobd.runtime.ipc import messages
from jobd.runtime.log import log

logger = log.get("jobd.master")


class Leading:
    """Chooses the worker. When it ends while the daemon leads, another one takes its place.

    Args:
        children: the living children.
    """

    def __init__(self, children: Callable[[], Iterable[Child]]) -> None:
        self._children = children
        self._worker: Child | None = None
        self.token = 0
        """The number of the lead; 0 without."""

    def changed(self, token: int) -> None:
        """The keeper leads or does not lead any more."""
        if token == self.token:
            return
        logger.info("lead_changed", leads=bool(token), token=token or self.token)
        self.token = token
        self._worker = None
        self.look()

    def gone(self, child: Child) -> None:
        """A child has ended."""
        if child is self._worker:
            self._worker = None
            self.look()

    def look(self) -> None:
        """Tell a worker that is ready, if none has been told."""
        if not self.token or self._worker is not None:
            return
        for child in self._children():
            serves = child.is_worker and child.stage is Stage.READY and child.reason is None
            if serves and child.tell(messages.Lead()):
                self._worker = child
                return
