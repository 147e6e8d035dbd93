"""The reload: loads new settings and code by a rolling restart of the workers.

A configuration that cannot be read changes nothing. If a new worker does not become ready, workers
not replaced yet stay, and so do the settings. Workers already replaced are rolled back if there is
a zygote, because it still has the old code; otherwise they keep the new code.

A quiet daemon starts no workers. It applies the settings that concern the master at once, and
replaces the workers when it is resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from jobd.errors import ConfigError
from jobd.master.control.messages import Progress, Reloaded, Waiting
from jobd.master.daemon import Daemon
from jobd.master.phase import Phase
from jobd.master.rollout.recycle import Recycle
from jobd.master.rollout.roll import Roll
from jobd.master.rollout.scale import scale
from jobd.master.rollout.succession import Outcome
from jobd.runtime.log import log
from jobd.runtime.process import descriptors
from jobd.settings import workdir
from jobd.settings.daemon import Config, fixed_changes

if TYPE_CHECKING:
    from jobd.master.children.child import Child
    from jobd.master.control.control_socket import Client

logger = log.get("jobd.master")


class Reload:
    """The reloads of one master: at most one in progress and one pending, which follows that one
    or the resume.

    Args:
        reread: reads the settings again, from the same sources as at the start.
    """

    def __init__(self, daemon: Daemon, reread: Callable[[], Config], recycle: Recycle) -> None:
        self._daemon = daemon
        self._reread = reread
        self._recycle = recycle
        # The settings of the last completed reload, or of the start.
        self._before = daemon.config
        self._complete = daemon.generation
        self._roll: Roll | None = None
        self._owed = ""
        self._clients: list[Client] = []
        self.trouble = ""
        """Why the last requested reload did not load the new settings and code; "" again when the
        next one begins."""

    @property
    def postponed(self) -> bool:
        """Whether a reload follows when the quiet daemon is resumed."""
        return bool(self._owed)

    def request(self, cause: str, client: Client | None = None) -> str:
        """Begin a reload, or make one pending after the current one or the resume.

        Returns:
            why it is refused, or "". If it is accepted, *client* is told the outcome, unless it is
            :attr:`postponed`: the time of the resume is unknown.
        """
        if error := self._request(cause, client):
            logger.warning("reload_refused", cause=cause, reason=error)
        return error

    def _request(self, cause: str, client: Client | None) -> str:
        phase = self._daemon.phase
        if phase is Phase.STARTING:
            return "it is still starting, and its workers load the newest code anyway"
        if phase.ending:
            return "it is stopping"
        config = self._read()
        if isinstance(config, str):
            self.trouble = f"reload refused: {config}"
            return config
        if phase.quiet:
            self._owe(cause, config)
            return ""
        if client is not None:
            self._clients.append(client)
        if self._roll is None:
            self._begin(cause, config)
        else:
            self._roll.again = True
            logger.info("reload_postponed", cause=cause)
            # systemd expects an answer to this HUP, too, even if reading the settings fails later.
            self._daemon.notifier.reloading()
        return ""

    def _owe(self, cause: str, config: Config) -> None:
        daemon = self._daemon
        self._owed = cause
        self.trouble = ""
        daemon.configure(config)
        logger.info("reload_postponed", cause=cause, until="the resume")
        # systemd waits for an answer to its HUP.
        daemon.notifier.reloading()
        daemon.notifier.ready(daemon.line())

    def resumed(self) -> None:
        """The daemon has been resumed: begin a pending reload."""
        cause, self._owed = self._owed, ""
        if cause:
            self._begin(f"{cause}, while it was quiet", self._daemon.config)

    def _read(self) -> Config | str:
        """The current settings, or why they cannot be used."""
        try:
            config = self._reread()
            descriptors.provide(config.concurrency, config.workers)
            workdir.require(config.directory)
        except ConfigError as error:
            return f"the settings stay as they were: {error}"
        except Exception as error:
            # A broken file must not affect the running workers.
            logger.exception("settings_unreadable")
            return f"the settings stay as they were: internal error: {error}; see the log"
        if names := fixed_changes(self._daemon.config, config):
            return (
                f"{', '.join(names)} cannot change while the daemon runs: "
                "stop it and start it again"
            )
        return config

    def _begin(self, cause: str, config: Config) -> None:
        daemon = self._daemon
        daemon.configure(config)
        self.trouble = ""
        daemon.generation += 1
        self._roll = Roll(daemon.staff, daemon.generation, config, self._progress)
        daemon.enter(Phase.RELOADING, cause)
        daemon.notifier.reloading()

    def waits_for(self) -> Waiting:
        """What it waits for, as a phrase."""
        return Waiting(self._roll.waits_for() if self._roll is not None else "the next turn")

    def _progress(self, text: str) -> None:
        for client in self._clients:
            client.send(Progress(text))

    def advance(self) -> None:
        """Called in every turn of the loop during a roll."""
        if self._roll is None:
            return
        outcome = self._roll.advance()
        if outcome is Outcome.GOING_ON:
            return
        roll, self._roll = self._roll, None
        if roll.again:
            config = self._read()
            if isinstance(config, Config):
                self._begin("a reload asked for during a reload", config)
                return
            logger.error("reload_refused", reason=config)
            self.trouble = f"reload refused: {config}"
            roll.again = False
            if outcome is Outcome.DONE:
                self._roll = roll  # it had paused for the other reload, and continues
                return
        if outcome is Outcome.FAILED:
            logger.error("reload_failed", reason=roll.error)
            self._daemon.configure(self._before)
            self._take_back(roll)
        self._finish(roll, outcome)

    def _finish(self, roll: Roll, outcome: Outcome) -> None:
        daemon = self._daemon
        if outcome is Outcome.DONE:
            if daemon.config != self._before:
                daemon.staff.replace_keeper()
            if daemon.config.workers != self._before.workers:
                scale(daemon, daemon.config.workers, "a reload with other settings")
            self._before = daemon.config
            self._complete = roll.generation
            daemon.enter(Phase.RUNNING, f"generation {roll.generation} is complete")
            daemon.notifier.ready(daemon.line())
            for client in self._take_clients():
                client.done(Reloaded(roll.generation))
        else:
            self.trouble = f"reload failed: {roll.error}"
            daemon.enter(Phase.RUNNING, self.trouble)
            daemon.notifier.ready(daemon.line())
            for client in self._take_clients():
                client.failed(f"{roll.error}; the workers that were not replaced stay")

    def _take_back(self, roll: Roll) -> None:
        """If the old zygote still has the old code, roll back the workers already replaced."""
        daemon = self._daemon
        if daemon.staff.slots.zygote is None:
            return
        for child in daemon.staff.slots.worker_children():
            if child.generation > self._complete and child.reason is None:
                self._recycle.want(child, f"the reload failed: {roll.error}")

    def exited(self, child: Child, cause: str) -> None:
        """A child has been reaped."""
        if self._roll is not None:
            self._roll.exited(child, cause)

    def cancel(self, why: str) -> None:
        """Cancel the reload. Settings applied while quiet stay."""
        self._owed = ""
        if self._roll is not None:
            self._roll.cancel()
            self._roll = None
            self._daemon.configure(self._before)
            logger.warning("reload_cancelled", reason=why)
            self.trouble = f"reload cancelled: {why}"
        for client in self._take_clients():
            client.failed(f"the reload was cancelled: {why}")

    def _take_clients(self) -> list[Client]:
        clients, self._clients = self._clients, []
        return clients
