"""The interface of the daemon to the parts of the master.

The policies, the stop, the reload and the commands of jobctl need the settings, the children and
the state of the daemon, and nothing else of the master. So they do not depend on it and can be
tested without one.
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
        cause: why it is in *phase*, which it *entered* then (monotonic s).
        generation: of the code that new workers have; each reload increments it.
        started: when the master started (monotonic s).
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
        """Change the state and log the cause."""

    def changed(self) -> None:
        """The content of the state file has changed."""

    def retitle(self) -> None:
        """Show the state in the process title and in systemd."""

    def configure(self, config: Config) -> None:
        """Use new settings; existing children keep theirs."""

    def line(self) -> str:
        """The daemon in one line."""

    def ready(self) -> None:
        """The start is complete."""

    def quiet(self, cause: str) -> None:
        """Stop taking jobs; running ones continue."""

    def resume(self, cause: str) -> None:
        """Take jobs again, also in workers that were quieted individually."""
