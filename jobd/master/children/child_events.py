"""Events of the children: handles their messages and exits.

Decisions that concern the daemon as a whole are left to the master, through :class:`Events`.
"""

from __future__ import annotations

import os
import selectors
import signal
import time
from collections.abc import Callable
from typing import Protocol

from jobd.errors import Exit
from jobd.master.children import laststacks
from jobd.master.children.child import Child, Failure, Reason, Slot, Stage
from jobd.master.children.fork import KEEPER, Forker
from jobd.master.children.leading import Leading
from jobd.master.children.recoveries import Recoveries
from jobd.master.children.replies import Gatherings
from jobd.master.children.slots import Slots
from jobd.master.files.statefile import Unrecovered
from jobd.runtime.ipc import messages
from jobd.runtime.ipc.channel import ChannelClosed
from jobd.runtime.ipc.messages import FromChild, FromMaster, Nonsense, Unknown
from jobd.runtime.log import log
from jobd.settings.daemon import Config

logger = log.get("jobd.master")


class Events(Protocol):
    """The events passed on to the master."""

    def child_forked(self, child: Child) -> None:
        """*child* has been forked."""

    def child_ready(self, child: Child) -> None:
        """*child* has booted."""

    def child_gone(self, child: Child, cause: str) -> None:
        """*child* has been reaped; *cause* describes how it ended."""

    def taken_over(self, identity: str, jobs: int) -> None:
        """The keeper has returned deliveries that a worker has not read to their queues."""

    def changed(self) -> None:
        """The content of the state file has changed."""


def ending(status: int) -> str:
    """A description of how a process ended; *status* is negative for a signal.

    >>> ending(-9)
    'killed by signal 9 (SIGKILL)'
    """
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"killed by signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"killed by signal {-status}"


class Staff:
    """All children and their pending business."""

    def __init__(
        self, config: Config, forker: Forker, selector: selectors.BaseSelector, events: Events
    ) -> None:
        self.recoveries = Recoveries()
        self.gatherings = Gatherings()
        self.jobs_left = False
        self._trouble_told = ""
        self.returned = 0
        """Jobs returned to Redis unfinished: given back at a deadline, or recovered."""
        self.slots = Slots(
            config, forker, selector, self._on_entered, self._on_channel, self._on_exit
        )
        self.leading = Leading(self.slots.children)
        self._events = events

    def fork_due(self, wanted: Callable[[Slot], bool], generation: int) -> None:
        """Fill the empty slots that are wanted and whose back-off is over."""
        now = time.monotonic()
        for slot in self.slots.all():
            due = slot.empty and now >= slot.start_at and wanted(slot)
            if due and self.slots.may_fork(slot):
                self.slots.fork(slot, generation)

    def _on_entered(self, child: Child) -> None:
        """A child has been forked: tell the keeper, or a new keeper everything it must know."""
        self._tell_keeper(self._workers_message())
        if child.role == KEEPER:
            self._trouble_told = ""
            for message in self.recoveries.messages():
                self._tell_keeper(message)
        self._events.child_forked(child)

    def replace_keeper(self) -> None:
        """Replace the keeper by one with the current settings: its slot is refilled on exit."""
        if (keeper := self.slots.keeper.child) is not None:
            self.slots.stop(keeper, Reason.ROLL, time.monotonic())

    def tell(self, message: FromMaster) -> None:
        """Tell every child."""
        for child in self.slots.children():
            child.tell(message)

    # The channel -------------------------------------------------------------------------------

    def _on_channel(self, child: Child, events: int) -> None:
        if child.channel is None:
            return
        try:
            if events & selectors.EVENT_WRITE:
                child.channel.flush()
            if events & selectors.EVENT_READ:
                for message in child.channel.receive():
                    self._on_message(child, message)
        except ChannelClosed:
            self.slots.hang_up(child)
        except Nonsense as error:
            # A job has written to a descriptor that is not its own, or the child is corrupt.
            logger.error(
                "child_sent_invalid_message", child=child.role, child_pid=child.pid, said=str(error)
            )
            self.slots.hang_up(child)

    def _on_message(self, child: Child, message: FromChild | Unknown) -> None:
        match message:
            case messages.Booting():
                self._on_booting(child, message.note)
            case messages.Ready():
                self._on_ready(child)
            case messages.Failed():
                child.failure = Failure(message.code, message.permanent, message.reason)
            case messages.Quieting():
                self._on_quieting(child, message.cause)
            case messages.Quieted():
                self._quiet(child)
            case messages.Idle():
                child.idle = True
            case messages.Resumed():
                self._on_resumed(child)
            case messages.Stopping():
                self._on_stopping(child, message.cause)
            case messages.Outage():
                self._on_outage(child, message.error)
            case messages.Control():
                child.control = message.error
            case messages.MemoryShort():
                child.memory_short = message.why
            case messages.Listener():
                child.listener = message.error
            case messages.Leading():
                self.leading.changed(message.token)
            case messages.Interrupted():
                self.returned += message.jobs
            case messages.Recovered():
                self._on_recovered(message.identity, message.jobs)
            case messages.TakenOver():
                self._events.taken_over(message.identity, message.jobs)
            case messages.Reopened():
                if message.error:
                    logger.error("log_not_reopened", child=child.role, error=message.error)
            case messages.Stacks():
                pass  # an answer to a question, and nothing else
            case messages.Born() | messages.Stillborn() | Unknown():
                # The first two come on lines for which no child is known yet.
                said = messages.type_of(message)
                logger.error("message_unknown", child=child.role, message=said)
                return
        self.gatherings.answer(child, message)

    def _on_booting(self, child: Child, note: str) -> None:
        self.slots.waits(child, note)
        if child.note:
            logger.info("child_waiting", child=child.role, child_pid=child.pid, waiting=child.note)

    def _on_ready(self, child: Child) -> None:
        child.note = ""
        child.ready_at = time.monotonic()
        if child.stage is Stage.BOOTING:
            child.stage = Stage.READY
        seconds = round(child.ready_at - child.forked_at, 3)
        logger.info("child_ready", child=child.role, child_pid=child.pid, seconds=seconds)
        self._events.child_ready(child)
        self.leading.look()
        self._events.changed()

    def _on_quieting(self, child: Child, cause: str) -> None:
        child.cause = cause
        self._quiet(child)
        logger.info("child_quiet", child=child.role, child_pid=child.pid, cause=child.cause)

    def _quiet(self, child: Child) -> None:
        if child.stage is Stage.READY:
            child.stage = Stage.QUIET
            self._events.changed()

    def _on_resumed(self, child: Child) -> None:
        child.idle = False
        if child.stage is Stage.QUIET:
            child.stage = Stage.READY
            child.cause = ""
            self._events.changed()

    def _on_stopping(self, child: Child, cause: str) -> None:
        if child.reason is None:
            child.reason = Reason.EXTERNAL
            child.cause = cause
            logger.info("child_leaving", child=child.role, child_pid=child.pid, cause=child.cause)
        child.stage = Stage.STOPPING
        self._events.changed()

    def _on_outage(self, child: Child, error: str) -> None:
        if not child.outage:
            child.outage_since = time.monotonic()
        child.outage = error

    def _on_recovered(self, identity: str, jobs: int) -> None:
        self.recoveries.done(identity)
        self.returned += jobs
        logger.info("recovery_complete", owner=identity, jobs=jobs)
        self._events.changed()

    # The end of a child ------------------------------------------------------------------------

    def _on_exit(self, child: Child) -> None:
        # Its last messages first: a worker that cannot boot reports why and exits.
        self._on_channel(child, selectors.EVENT_READ)
        status = self.slots.reap(child)
        if status is None:
            return
        cause = ending(status)
        if child.reason is not None and not child.planned and status < 0:
            cause = f"{child.reason}, {cause}"
        jobs = child.jobs
        self._log_exit(child, status, cause, jobs)
        self.leading.gone(child)
        if child.role == KEEPER:
            self.leading.changed(0)
            # For a replaced keeper, its successor has been told to recover what it left.
            if child.reason is not Reason.ROLL:
                self.jobs_left = self.jobs_left or status == Exit.JOBS_LEFT
        elif child.is_worker:
            self._tell_keeper(self._workers_message())
            # Also one that was never ready: it claims its first jobs just before it reports that.
            # But one that reports why it cannot start has not got that far.
            if child.failure is None and not (child.planned and status == Exit.OK):
                self._recover(child, cause, status)
        if jobs:
            cause = f"{cause} while it ran {jobs}"
        now = time.monotonic()
        if child.planned:
            child.slot.start_at = now
        elif not child.beside:
            delay = self.slots.crashed(child, cause, now)
            logger.info("child_backoff", child=child.role, seconds=round(delay, 1))
        self.gatherings.lost(child)
        self._events.child_gone(child, cause)
        self._events.changed()
        child.workplace.close()

    def _log_exit(self, child: Child, status: int, cause: str, jobs: str) -> None:
        known = {"child": child.role, "child_pid": child.pid, "cause": cause}
        ran = {"running": jobs} if jobs else {}
        if child.planned and status == Exit.OK:
            logger.info("child_exited", **known, reason=child.reason, **ran)
            return
        if child.failure is not None:
            known["reason"] = child.failure.reason
        elif child.dumped and status == -signal.SIGSEGV:
            known["reason"] = f"{child.reason}; it crashed during its last dump, before the KILL"
        elif child.reason is not None:
            known["reason"] = child.reason
        elif status == -signal.SIGKILL:
            known["reason"] = (
                "by the kernel, perhaps out of memory (see dmesg), or by a process, perhaps the "
                "job itself"
            )
        if crash := child.workplace.dump.crash():
            logger.error("child_died", **known, **ran, stack=crash)
        else:
            logger.error("child_died", **known, **ran)

    def _recover(self, child: Child, cause: str, status: int) -> None:
        running = child.workplace.page.running()
        stacks = laststacks.of_jobs(child.workplace.dump, running, status)
        sequences = tuple(job.sequence for job in running)
        entry = Unrecovered(child.identity, sequences, cause)
        self._tell_keeper(self.recoveries.add(entry, stacks))

    # The keeper --------------------------------------------------------------------------------

    def take_over(self, child: Child, waits: list[int]) -> bool:
        """Have the keeper return the jobs delivered by these *waits* of a worker; returns whether
        there is a keeper to answer."""
        return self._tell_keeper(messages.TakeOver(child.identity, waits))

    def tell_trouble(self, text: str) -> None:
        """Tell the keeper what is wrong with the daemon, if that has changed; "" for nothing."""
        if text != self._trouble_told and self._tell_keeper(messages.Trouble(text)):
            self._trouble_told = text

    def tell_serving(self, workers: int, why: str) -> bool:
        """Tell the keeper how many workers take jobs, or why none does, and what all of them do;
        returns whether there is a keeper."""
        children = self.slots.worker_children()
        running = sum(len(child.workplace.page.sequences()) for child in children)
        processed = sum(child.processed for child in children)
        return self._tell_keeper(messages.Serving(workers, why, running, processed))

    def _tell_keeper(self, message: FromMaster) -> bool:
        keeper = self.slots.keeper.child
        return keeper is not None and keeper.tell(message)

    def _workers_message(self) -> messages.Workers:
        return messages.Workers([child.identity for child in self.slots.worker_children()])

    def reap_strangers(self) -> None:
        """As the reaper of orphans (PID 1, or for a zygote): reap processes that jobs have left,
        but not our own children."""
        if self.slots.unborn:
            return  # it may be a child that died before its process id was known
        ours = {child.pid for child in self.slots.children()}
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None or ended.si_pid in ours:
                return  # our own are reaped by their pidfd, in the same turn of the loop
            os.waitpid(ended.si_pid, 0)
