"""Who asked for a rolling restart, and what they are told about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobd import log
from jobd.master.phase import Phase
from jobd.master.roll import Roll
from jobd.master.succession import Outcome

if TYPE_CHECKING:
    from jobd.master.child import Child
    from jobd.master.control import Client
    from jobd.master.master import Master

logger = log.get("jobd.master")


class Restart:
    """The rolling restarts of one master: at most one goes on, at most one more is owed."""

    def __init__(self, master: Master) -> None:
        self._master = master
        self._roll: Roll | None = None
        self._clients: list[Client] = []

    def request(self, cause: str, client: Client | None = None) -> str:
        """Begin a restart, or owe one more to the one that goes on.

        Returns:
            why it cannot be done now; "" when it can, and *client* is told the outcome.
        """
        phase = self._master.phase
        if phase is Phase.STARTING:
            return "it is still starting, and its workers load the newest code anyway"
        if phase.quiet:
            return "it is quiet; resume it first"
        if phase.ending:
            return "it is stopping"
        if client is not None:
            self._clients.append(client)
        if self._roll is None:
            self._begin(cause)
        else:
            self._roll.again = True
            logger.info("restart_postponed", cause=cause)
        return ""

    def _begin(self, cause: str) -> None:
        master = self._master
        master.generation += 1
        self._roll = Roll(master.staff, master.generation, master.config.timeout, self._progress)
        master.enter(Phase.RELOADING, cause)
        master.notifier.reloading()

    def _progress(self, text: str) -> None:
        for client in self._clients:
            client.send("progress", text=text)

    def advance(self) -> None:
        """Called by every turn of the loop while a roll goes on."""
        if self._roll is None:
            return
        outcome = self._roll.advance()
        if outcome is Outcome.GOING_ON:
            return
        roll, self._roll = self._roll, None
        if outcome is Outcome.FAILED:
            logger.error("restart_failed", reason=roll.error)
        if roll.again:
            self._begin("restart asked for during a restart")
            return
        master = self._master
        if outcome is Outcome.DONE:
            master.enter(Phase.RUNNING, f"generation {roll.generation} is complete")
            master.notifier.ready(master.line())
            for client in self._take_clients():
                client.done(generation=roll.generation)
        else:
            master.enter(Phase.RUNNING, f"restart failed: {roll.error}")
            master.notifier.ready(f"restart failed: {roll.error}")
            for client in self._take_clients():
                client.failed(f"{roll.error}; the old workers stay")

    def exited(self, child: Child, cause: str) -> None:
        """A child has been reaped."""
        if self._roll is not None:
            self._roll.exited(child, cause)

    def cancel(self, why: str) -> None:
        """Something more important has come up."""
        if self._roll is not None:
            self._roll.cancel()
            self._roll = None
            logger.warning("restart_cancelled", reason=why)
        for client in self._take_clients():
            client.failed(f"the restart was cancelled: {why}")

    def _take_clients(self) -> list[Client]:
        clients, self._clients = self._clients, []
        return clients
