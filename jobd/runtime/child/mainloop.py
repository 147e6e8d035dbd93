"""The main loop of a child process: handles signals and messages of the master. It does nothing
slow, so that it always responds.
"""

from __future__ import annotations

import selectors
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from signal import Signals
from typing import TYPE_CHECKING

from jobd.runtime.ipc import messages
from jobd.runtime.ipc.channel import ChannelClosed
from jobd.runtime.ipc.messages import FromChild, FromMaster, Unknown
from jobd.runtime.ipc.scoreboard import MAIN_BEAT
from jobd.runtime.log import log
from jobd.runtime.process import forks
from jobd.runtime.process.wakeup import Bell
from jobd.text.printable import kind_of

if TYPE_CHECKING:
    from jobd.runtime.child.seat import Seat

TURN = 1.0
"""Seconds between heartbeats on the scoreboard while idle."""

LOOK_AT_LOG = 10.0
"""Seconds between checks whether the log file has been moved."""


_NEVER_BLOCKED = {
    Signals.SIGSEGV,
    Signals.SIGBUS,
    Signals.SIGFPE,
    Signals.SIGILL,
    Signals.SIGABRT,
}


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Block signals while jobd's own threads are started: they inherit the mask, so that only the
    main thread handles signals. Crash signals stay unblocked, for their stack dumps. Not for job
    threads: processes that a job starts would inherit the mask and ignore TERM.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _NEVER_BLOCKED)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Child(ABC):
    """Base class of the worker, the keeper and the zygote."""

    def __init__(self, seat: Seat) -> None:
        self.seat = seat
        self.log = log.get(f"jobd.{seat.role.partition('.')[0]}")
        self.bell = Bell()
        self.exit_code: int | None = None
        self._selector = selectors.DefaultSelector()
        for source in (seat.signals, seat.channel, self.bell):
            self._selector.register(source, selectors.EVENT_READ, source)
        for ours in (self.bell, self._selector):
            forks.on_copy(ours.close)
        self._log_looked_at = time.monotonic()
        self._outage_told = ""

    def ended(self) -> bool:
        """Whether the process is about to exit."""
        return self.exit_code is not None

    # -- for subclasses ------------------------------------------------------------------------

    @abstractmethod
    def on_signal(self, signal: Signals) -> None:
        """Handle a signal, other than the two that all children handle alike."""

    @abstractmethod
    def on_message(self, message: FromMaster | Unknown) -> None:
        """Handle a message of the master, other than those that all children handle alike."""

    def on_orphaned(self) -> None:
        """Handle the death of the master."""
        self.exit_code = 0

    @abstractmethod
    def tick(self) -> None:
        """Called after every turn."""

    @abstractmethod
    def stacks(self, *, busy: bool = False, arguments: bool = False) -> str:
        """The stacks of all threads; with *busy* only of those that run jobs, optionally with the
        *arguments* of the jobs."""

    # -- the loop ------------------------------------------------------------------------------

    def turn(self, seconds: float = TURN) -> None:
        """Wait for events, at most *seconds*, and handle them."""
        self.seat.page.beat(MAIN_BEAT)
        for key, _ in self._selector.select(max(0.0, seconds)):
            if key.data is self.seat.channel:
                self._receive()
            elif key.data is self.bell:
                self.bell.silence()
        for arrived in self.seat.signals.read():
            self._signalled(arrived)
        self._look_at_log()
        if self.seat.channel.wants_write:
            self._flush()
        self.tick()

    def tell(self, message: FromChild) -> None:
        """Send *message* to the master. If the master is gone, the next turn handles that."""
        try:
            self.seat.channel.send(message)
        except ChannelClosed as error:
            self.log.debug("master_unreachable", error=str(error))

    def tell_outage(self, error: str) -> None:
        """Tell the master the Redis *error* of this process, if it has changed; "" for none."""
        if error != self._outage_told:
            self._outage_told = error
            self.tell(messages.Outage(error))

    def _stacks(self, *, busy: bool = False, arguments: bool = False) -> str:
        """Like :meth:`stacks`, but never raises."""
        try:
            return self.stacks(busy=busy, arguments=arguments)
        except Exception as error:
            self.log.exception("stacks_unreadable")
            return f"the stacks cannot be shown: {kind_of(error)}\n"

    def _flush(self) -> None:
        try:
            self.seat.channel.flush()
        except ChannelClosed as error:
            self.log.debug("master_unreachable", error=str(error))

    def _receive(self) -> None:
        try:
            received = self.seat.channel.receive()
        except ChannelClosed:
            self._selector.unregister(self.seat.channel)
            self.on_orphaned()
            return
        for message in received:
            match message:
                case messages.Reopen():
                    self.tell(messages.Reopened(self.seat.logfile.reopen()))
                case messages.Dump():
                    text = self._stacks(busy=message.busy, arguments=message.arguments)
                    self.tell(messages.Stacks(message.id, text))
                case messages.Welcome():
                    pass  # a worker forked by the zygote has waited for it
                case _:
                    self.on_message(message)

    def _signalled(self, signal: Signals) -> None:
        match signal:
            case Signals.SIGUSR2:
                self.seat.logfile.reopen()
            case Signals.SIGTTIN:
                self.seat.dump()
                self.log.warning("thread_dump", stack=self._stacks())
            case _:
                self.on_signal(signal)

    def _look_at_log(self) -> None:
        now = time.monotonic()
        if now - self._log_looked_at >= LOOK_AT_LOG:
            self._log_looked_at = now
            if self.seat.logfile.moved():
                self.seat.logfile.reopen()
