"""What the parts of the master may ask of the daemon, and tell it.

The policies, the stop, the reload and the commands of jobctl need the settings, the children and
the state that the daemon is in, and nothing else of the master. So none of them knows it, and each
works in a test without one.
"""

from __future__ import annotations

from typing import Protocol

from jobd.master.children.child_events import Staff
from jobd.master.phase import Phase
from jobd.runtime.ipc.launch import Verdict
from jobd.runtime.process.sdnotify import Notifier
from jobd.settings.daemon import Config


class Daemon(Protocol):
    """The daemon as its parts see it.

    Attributes:
        cause: why it is in that *phase*, since *entered* (monotonic s).
        generation: of the code that new workers have; each reload counts one up.
        started: when the master began (monotonic s).
        verdict: how it will end.
    """

    config: Config
    phase: Phase
    cause: str
    entered: float
    started: float
    generation: int
    verdict: Verdict
    notifier: Notifier
    staff: Staff

    def enter(self, phase: Phase, cause: str) -> None:
        """Change the state, and say why."""

    def changed(self) -> None:
        """Something in the state file is no longer as it was."""

    def retitle(self) -> None:
        """Show the state where people look."""

    def configure(self, config: Config) -> None:
        """Go on with other settings; children that live keep theirs."""

    def line(self) -> str:
        """The daemon in one line."""

    def ready(self) -> None:
        """The start is complete."""

    def quiet(self, cause: str) -> None:
        """Take no new jobs; those that run go on."""

    def resume(self, cause: str) -> None:
        """Take jobs again, also in workers that were quieted one by one."""
