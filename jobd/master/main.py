"""The master's event loop, and the decisions that concern the daemon as a whole.

It has one thread, imports no application code and has no connection to Redis. All events arrive in
its selector: signals, messages and deaths of children, requests of jobctl. Only
:meth:`Master._turn` acts on them, so the state changes in one place.
"""

from __future__ import annotations

import faulthandler
import os
import selectors
import signal
import time
from collections.abc import Callable

from jobd.errors import Exit, JobdError
from jobd.master.boot import Boot
from jobd.master.children.child import Child, Reason, Slot
from jobd.master.children.child_events import Staff
from jobd.master.children.fork import KEEPER, Forker
from jobd.master.children.killing import kill
from jobd.master.children.recoveries import Recoveries
from jobd.master.control import status
from jobd.master.control.commands import Commands
from jobd.master.files import orphans, pidfile
from jobd.master.files.rundir import RunDirectory
from jobd.master.files.statefile import State
from jobd.master.health.policies import Oversight
from jobd.master.log_care import OwnLog
from jobd.master.phase import Phase
from jobd.master.rollout.recycle import Recycle
from jobd.master.rollout.reload import Reload
from jobd.master.stop import Stop
from jobd.runtime.child.birth import become_subreaper
from jobd.runtime.ipc import messages
from jobd.runtime.ipc.launch import Launch, Verdict
from jobd.runtime.log import log
from jobd.runtime.log.file import LogFile
from jobd.runtime.process import signals
from jobd.runtime.process.sdnotify import Notifier
from jobd.runtime.process.titles import WITHOUT_PIDFILE, set_title
from jobd.settings.daemon import Config
from jobd.text.printable import text_of
from jobd.version import VERSION

_TICK = 1.0

logger = log.get("jobd.master")


class Master:
    """One daemon, from the first fork to the last reaping.

    Args:
        config: the settings.
        logfile: the open log.
        lock: the locked pidfile, or None to do without it and without the control socket.
        foreground: whether Ctrl-C is handled (``jobd run``).
        terminal: whether a HUP means that the terminal has been closed.
        place: how the daemon is identified without a *lock*.
        launch: the launcher, which waits for the daemon.
        wait: whether *launch* waits until it is ready, or only until it exists.
        notifier: the connection to systemd.
        reread: reads the settings again for a reload, and raises ConfigError.
    """

    def __init__(
        self,
        config: Config,
        *,
        logfile: LogFile,
        lock: pidfile.Pidfile | None,
        foreground: bool,
        terminal: bool = False,
        place: str = "",
        launch: Launch | None = None,
        wait: bool = True,
        notifier: Notifier | None = None,
        reread: Callable[[], Config],
    ) -> None:
        self.config = config
        self.logfile = logfile
        self.phase = Phase.STARTING
        self.cause = ""
        self.generation = 1
        self.started = self.entered = time.monotonic()
        self.verdict = Verdict(Exit.OK)
        self.selector = selectors.DefaultSelector()
        self.notifier = notifier or Notifier()
        self._rundir = RunDirectory(lock)
        self._note = f", {WITHOUT_PIDFILE}{place}" if lock is None else ""
        self._foreground = foreground
        self._terminal = terminal
        self._launch = launch or Launch()
        self._wait = wait
        self._signals: signals.SignalInbox | None = None
        self.staff = Staff(config, Forker(config, logfile, self._leave_behind), self.selector, self)
        recycle = Recycle(self)
        self._reload = Reload(self, reread, recycle)
        self._ending = Stop(self, self._reload.cancel)
        self._boot = Boot(self, self._ending.fail)
        self._oversight = Oversight(self, recycle, self._boot.postpone, self._ending.give_up)
        self._own_log = OwnLog(self.staff, logfile, self._rundir.trim_dump)
        self._commands = Commands(self, self._ending, self._reload, self._own_log, self._oversight)
        self._quiet_when_ready = ""
        self._reaper = os.getpid() == 1
        self._unsaved = True

    # The loop ----------------------------------------------------------------------------------

    def run(self) -> Verdict:
        """Serve until stopped.

        Returns:
            the exit code, and the reason in a sentence when the daemon could not start.
        """
        inbox = self._signals = signals.install_for_master()
        self.selector.register(inbox, selectors.EVENT_READ, lambda _events: None)
        faulthandler.enable(file=self.logfile.fd, all_threads=True)
        try:
            self._open()
            while self.phase is not Phase.STOPPED:
                for key, events in self.selector.select(self._patience()):
                    # An earlier event of this batch may have closed it.
                    if self.selector.get_map().get(key.fd) is key:
                        key.data(events)
                for signum in inbox.read():
                    self._on_signal(signum)
                self._turn(time.monotonic())
        except JobdError as error:
            self.verdict = Verdict(error.exit_code, str(error))
        except Exception as error:
            logger.exception("internal_error")
            self.verdict = Verdict(Exit.SOFTWARE, f"internal error: {text_of(error)}; see the log")
        finally:
            self._close()
        return self.verdict

    def _open(self) -> None:
        self._entitle()
        if self.config.preload:
            # Become the parent of a zygote's workers.
            become_subreaper()
            self._reaper = True
        previous = self._rundir.open(self.selector, self._commands.handle)
        if previous is not None:
            self.staff.recoveries = Recoveries(orphans.sweep(previous))
        self._save()
        logger.info("master_starting", version=VERSION, workers=len(self.staff.slots.workers))
        if not self._wait:
            self._launch.report(Verdict(Exit.OK, pid=os.getpid()))

    def _patience(self) -> float:
        deadlines = [
            time.monotonic() + _TICK,
            self._oversight.rescue.next_look,
            self.staff.slots.next_deadline(),
            self.staff.gatherings.next_deadline(),
            self.notifier.next_deadline(),
            self._rundir.next_save if self._unsaved else float("inf"),
        ]
        if not self.phase.ending:
            wanted = (slot for slot in self.staff.slots.all() if self._wanted(slot))
            deadlines += (self.staff.slots.fork_at(slot) for slot in wanted if slot.empty)
        return max(0.0, min(deadlines) - time.monotonic())

    def _turn(self, now: float) -> None:
        """Everything that is due."""
        slots = self.staff.slots
        if self._reaper:
            self.staff.reap_strangers()
        self._oversight.turn(now)
        slots.tick(now)
        self.staff.gatherings.turn(now)
        if self.phase.ending:
            self._ending.advance(now)
        else:
            self._advance(now)
        slots.watch_writes()
        self._rundir.turn(now)
        self._own_log.turn(now)
        self.notifier.turn(self.line())
        self.staff.tell_trouble("; ".join(self._troubles()))
        if self._unsaved and now >= self._rundir.next_save:
            self._save()

    def _advance(self, now: float) -> None:
        if self.phase is Phase.STARTING:
            self._boot.advance(now)
        elif self.phase is Phase.RELOADING:
            self._reload.advance()
        elif self.phase is Phase.QUIETING and all(
            child.idle for child in self.staff.slots.worker_children()
        ):
            self.enter(Phase.QUIET, "no job is left")
        if not self.phase.ending:
            self.staff.fork_due(self._wanted, self.generation)

    def _wanted(self, slot: Slot) -> bool:
        # The keeper is needed while quiet, too: it renews the leases of workers that run jobs.
        return slot.role == KEEPER or not self.phase.quiet

    # States ------------------------------------------------------------------------------------

    def enter(self, phase: Phase, cause: str) -> None:
        """Change the state and log the cause."""
        logger.info("state_changed", state=phase, before=self.phase, cause=cause)
        self.phase = phase
        self.cause = cause
        self.entered = time.monotonic()
        self.retitle()

    def retitle(self) -> None:
        """Show the state in the process title and in systemd."""
        self._entitle()
        self.changed()

    def _entitle(self) -> None:
        degraded = " degraded" if self.staff.slots.degraded else ""
        set_title("master", self.config.tag, f"{self.phase}{degraded}{self._note}")

    def configure(self, config: Config) -> None:
        """Use new settings; existing children keep theirs."""
        self.config = config
        self.staff.slots.configure(config)
        log.configure(
            self.logfile, config.log_level, config.log_format, "master", config.log_max_value
        )

    def line(self) -> str:
        """The daemon in one line."""
        return status.line(self.phase, self.generation, self.staff, self._troubles())

    def _troubles(self) -> list[str]:
        """What is wrong with the daemon as a whole."""
        found = (self._oversight.crash_loop, self._reload.trouble, self._own_log.trouble)
        return [text for text in found if text]

    def ready(self) -> None:
        """The start is complete."""
        self.enter(Phase.RUNNING, "started")
        self._save()
        self.notifier.ready(self.line())
        self._launch.report(Verdict(Exit.OK, pid=os.getpid()))
        if self._quiet_when_ready:
            self.quiet(self._quiet_when_ready)

    def quiet(self, cause: str) -> None:
        """Stop taking jobs; running ones continue."""
        if self.phase is Phase.STARTING:
            self._quiet_when_ready = cause
            logger.info("quiet_postponed", cause=cause)
        elif self.phase in (Phase.RUNNING, Phase.RELOADING):
            reloading = self.phase is Phase.RELOADING
            self._reload.cancel("the daemon was told to be quiet")
            self.enter(Phase.QUIETING, cause)
            if reloading:  # otherwise systemd would keep waiting for the end of the reload
                self.notifier.ready(self.line())
            self.staff.tell(messages.Quiet())

    def resume(self, cause: str) -> None:
        """Take jobs again, also in workers that were quieted individually."""
        self._quiet_when_ready = ""
        if self.phase.quiet:
            self.enter(Phase.RUNNING, f"resumed: {cause}")
        self.staff.tell(messages.Resume())
        self._reload.resumed()

    # Events of children ------------------------------------------------------------------------

    def child_forked(self, child: Child) -> None:
        # At once: if the master is killed now, the next run must know whose jobs to recover;
        # otherwise they wait until the lease expires.
        self._save()
        if self.phase.ending:  # it was requested from a zygote before
            self.staff.slots.stop(child, Reason.STOP, time.monotonic())

    def child_ready(self, child: Child) -> None:
        self._boot.child_ready(child)
        self._oversight.child_ready(child)
        if self.phase.quiet:
            child.tell(messages.Quiet())

    def child_gone(self, child: Child, cause: str) -> None:
        self._reload.exited(child, cause)
        self._oversight.child_gone(child, cause, time.monotonic())
        if self.phase is Phase.STARTING:
            self._boot.child_gone(child, cause)

    def taken_over(self, identity: str, jobs: int) -> None:
        self._oversight.rescue.taken_over(identity, jobs, time.monotonic())

    def changed(self) -> None:
        self._unsaved = True

    # Signals -----------------------------------------------------------------------------------

    def _on_signal(self, signum: signal.Signals) -> None:
        cause = f"signal {signum.name.removeprefix('SIG')}"
        # SIGCHLD is only a wake-up.
        action: Callable[[str], None] | None = {
            signal.SIGQUIT: self._ending.at_once,
            signal.SIGTERM: self._ending.gracefully,
            signal.SIGINT: self._on_interrupt,
            signal.SIGUSR1: self.quiet,
            signal.SIGTSTP: self.quiet,
            signal.SIGHUP: self._on_hangup,
            signal.SIGUSR2: self._commands.reopen_quietly,
            signal.SIGTTIN: self._commands.dump_to_log,
        }.get(signum)
        if action is not None:
            logger.info("signal_received", signal=signum.name)
            action(cause)

    def _on_interrupt(self, cause: str) -> None:
        if self._foreground:
            self._ending.insist(cause)
        else:
            self._ending.gracefully(cause)

    def _on_hangup(self, cause: str) -> None:
        if self._terminal:
            self._ending.gracefully(f"{cause}: the terminal was closed")
        elif self._reload.request(cause):
            # Under Type=notify-reload systemd waits for an answer to its HUP in any case.
            if self.phase is Phase.RELOADING:
                self.notifier.reloading()  # whatever is in progress reports READY at its end
            elif self.phase is Phase.RUNNING or self.phase.quiet:
                self.notifier.reloading()
                self.notifier.ready(self.line())

    # The end -----------------------------------------------------------------------------------

    def _leave_behind(self) -> None:
        """In a forked child: close all descriptors of the master and of other children."""
        self.selector.close()
        self._launch.close()
        if self._signals is not None:
            self._signals.abandon()
        self._rundir.leave_behind()
        self.staff.slots.leave_behind()

    def _save(self) -> None:
        self._unsaved = not self._rundir.save(self._state())

    def _state(self) -> State:
        return status.state(
            self.phase, self.generation, self.staff, self.config, self._rundir.socket
        )

    def _close(self) -> None:
        unreaped = self.staff.slots.children()
        for child in unreaped:
            # Only after an internal error: no child may outlive the master unsupervised.
            kill(child)
        self._commands.farewell(self.verdict)
        # The next start recovers what this one could not.
        unfinished = self._state() if unreaped or self.staff.recoveries else None
        self._rundir.close(unfinished)
        self.selector.close()
        if self.verdict.code:
            self.notifier.failed(self.verdict.text, self.verdict.code)
        # A launcher that is still waiting must not be told that the daemon is ready.
        stopped = Verdict(Exit.INTERRUPTED, "the daemon was stopped before it was ready")
        self._launch.report(self.verdict if self.verdict.code else stopped)
        logger.info("master_ended", code=int(self.verdict.code))
