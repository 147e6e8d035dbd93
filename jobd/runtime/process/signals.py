"""Signals as data: a handler sets a flag and wakes the loop, and the loop acts.

A handler that does more than that deadlocks or re-enters sooner or later (locks, logging), and
one that writes no wake-up byte is noticed only when the ``select`` it interrupted ends by itself.
Standard signals do not queue, so a signal means "at least once since you last looked" here too.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterable
from signal import Signals
from types import FrameType

# What is acted on first when several have arrived: the harsher request wins.
ORDER = (
    Signals.SIGQUIT,
    Signals.SIGTERM,
    Signals.SIGINT,
    Signals.SIGCHLD,
    Signals.SIGUSR1,
    Signals.SIGTSTP,
    Signals.SIGHUP,
    Signals.SIGUSR2,
    Signals.SIGTTIN,
)

MASTER_SIGNALS = frozenset(ORDER)

CHILD_SIGNALS = frozenset(
    {
        Signals.SIGQUIT,
        Signals.SIGTERM,
        Signals.SIGUSR1,
        Signals.SIGTSTP,
        Signals.SIGUSR2,
        Signals.SIGTTIN,
    }
)

RAW_DUMP = Signals.SIGRTMAX
"""Has the C code of a process write its stacks, whether or not it can run Python. It reads frames
that may be changing, and may crash of that: only for a process that does not answer."""

# Ctrl-C and the end of a terminal session are the master's business. They get a handler that does
# nothing rather than SIG_IGN, which the programs that a job starts would inherit.
CHILD_DEAF_TO = frozenset({Signals.SIGINT, Signals.SIGHUP})

BLOCKED = MASTER_SIGNALS | CHILD_DEAF_TO
"""The signals that nobody may get around a fork."""


def _flag_only(_signum: int, _frame: FrameType | None) -> None:
    """The handler of a signal that has no effect."""


class SignalInbox:
    """The signals that have arrived and were not read yet.

    Installing it replaces the handlers of *handled* and the process's wake-up descriptor. Only the
    main thread may make one.

    Example:
        >>> inbox = SignalInbox({Signals.SIGUSR1})
        >>> signal.raise_signal(Signals.SIGUSR1)
        >>> inbox.read()
        [<Signals.SIGUSR1: 10>]
        >>> inbox.close()
    """

    def __init__(self, handled: Iterable[Signals]) -> None:
        self._handled = frozenset(handled)
        self._arrived: set[int] = set()
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self.listen()

    def listen(self) -> None:
        """Take the signals; also those that somebody else has taken meanwhile."""
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for signum in self._handled:
            signal.signal(signum, self._note)
            # No C library that a job uses shall see an interrupted call.
            signal.siginterrupt(signum, False)

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        self._arrived.add(signum)

    def fileno(self) -> int:
        """Readable when :meth:`read` has something to return."""
        return self._reader.fileno()

    def read(self) -> list[Signals]:
        """What has arrived since the last call, each signal once, the most urgent first.

        The bytes are only a wake-up: a flood can fill the socket, and then the byte of the one
        signal that matters would be the one that is missing. The set has it.
        """
        while True:
            try:
                if not self._reader.recv(4096):
                    break
            except BlockingIOError:
                break
        arrived, self._arrived = self._arrived, set()
        return [signum for signum in ORDER if signum in arrived]

    def close(self) -> None:
        """Give the wake-up descriptor and the default handlers back."""
        signal.set_wakeup_fd(-1)
        for signum in self._handled:
            signal.signal(signum, signal.SIG_DFL)
        self.abandon()

    def abandon(self) -> None:
        """Close the sockets only: for a forked child, which installs handlers of its own."""
        self._reader.close()
        self._writer.close()


def install_for_master() -> SignalInbox:
    """Undo what was inherited (a blocked TERM, an ignored HUP survive exec), then listen."""
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGWINCH, signal.SIG_DFL)
    signal.signal(RAW_DUMP, signal.SIG_IGN)  # until the dumper is there
    inbox = SignalInbox(MASTER_SIGNALS)
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    return inbox


def install_for_child() -> SignalInbox:
    """The handlers of a worker or keeper; the caller unblocks the signals afterwards."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Ignored, not deaf: a background write to a terminal with TOSTOP would be retried for ever.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    signal.signal(RAW_DUMP, signal.SIG_IGN)  # until the dumper is there
    for signum in CHILD_DEAF_TO:
        signal.signal(signum, _flag_only)
    return SignalInbox(CHILD_SIGNALS)


def give_back(inbox: SignalInbox) -> None:
    """Undo :func:`install_for_child` in a process that is no child of the master's any more; what
    the application handles itself stays."""
    inbox.close()
    usual = {Signals.SIGINT: signal.default_int_handler}
    for signum in CHILD_DEAF_TO:
        if signal.getsignal(signum) is _flag_only:
            signal.signal(signum, usual.get(signum, signal.SIG_DFL))
    for signum in (Signals.SIGTTOU, RAW_DUMP):
        if signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
