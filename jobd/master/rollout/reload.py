"""The reload: new settings and fresh code, brought in by a rolling restart of the workers.

A configuration that cannot be read changes nothing. When a new worker does not get ready, those
that were not replaced stay, and so do the settings. Those that were are replaced back where there
is a zygote, which still has the old code; otherwise they stay new: the old code is nowhere.

A daemon that is quiet makes no workers. It takes the settings at once, for what the master itself
does by them, and owes the new workers until it is resumed.
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
    """The reloads of one master: at most one goes on, at most one more is owed, to it or to the
    resume.

    Args:
        reread: reads the settings again, from where they came at the start.
    """

    def __init__(self, daemon: Daemon, reread: Callable[[], Config], recycle: Recycle) -> None:
        self._daemon = daemon
        self._reread = reread
        self._recycle = recycle
        # Those of the last reload that was completed, or of the start.
        self._before = daemon.config
        self._complete = daemon.generation
        self._roll: Roll | None = None
        self._owed = ""
        self._clients: list[Client] = []
        self.trouble = ""
        """What became of the last reload that was asked for, if it did not bring in the settings
        and the code of that time; "" from the begin of the next one on."""

    @property
    def postponed(self) -> bool:
        """Whether the resume of a quiet daemon is to be followed by a reload."""
        return bool(self._owed)

    def request(self, cause: str, client: Client | None = None) -> str:
        """Begin a reload, or owe one more to the one that goes on, or to the resume.

        Returns:
            why it is refused; "" when it is not, and *client* is told the outcome, unless it is
            :attr:`postponed`: nobody knows when the resume will be.
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
            # Also to this HUP systemd wants an answer, even if the settings cannot be read later.
            self._daemon.notifier.reloading()
        return ""

    def _owe(self, cause: str, config: Config) -> None:
        daemon = self._daemon
        self._owed = cause
        self.trouble = ""
        daemon.configure(config)
        logger.info("reload_postponed", cause=cause, until="the resume")
        # Whoever has sent a HUP by way of systemd waits to be told that it was taken.
        daemon.notifier.reloading()
        daemon.notifier.ready(daemon.line())

    def resumed(self) -> None:
        """The daemon is no longer quiet: make the workers that are owed."""
        cause, self._owed = self._owed, ""
        if cause:
            self._begin(f"{cause}, while it was quiet", self._daemon.config)

    def _read(self) -> Config | str:
        """The settings as they are now; or why they cannot be used."""
        try:
            config = self._reread()
            descriptors.provide(config.concurrency, config.workers)
            workdir.require(config.directory)
        except ConfigError as error:
            return f"the settings stay as they were: {error}"
        except Exception as error:
            # Whatever is wrong with a file, the workers that run must not pay for it.
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
        """What keeps it from being complete, in a sentence."""
        return Waiting(self._roll.waits_for() if self._roll is not None else "the next turn")

    def _progress(self, text: str) -> None:
        for client in self._clients:
            client.send(Progress(text))

    def advance(self) -> None:
        """Called by every turn of the loop while a roll goes on."""
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
                self._roll = roll  # it has stopped half way, for another one, and goes on
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
        """Where the old zygote still has the old code, replace those that were replaced already."""
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
        """Something more important has come up. Settings taken while it was quiet hold."""
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
