"""Signal handling: handlers only set a flag and wake the loop, which acts on it.

A handler that does more can deadlock or be re-entered (locks, logging), and without a wake-up byte
the signal would only be noticed when the interrupted ``select`` returns. Standard signals do not
queue, so a signal means "at least once since the last read".
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterable
from signal import Signals
from types import FrameType

# The order in which pending signals are handled: the harsher request wins.
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
"""Makes a process write its stacks from C code, even if it cannot run Python. It reads frames that
may be changing, which can crash it, so it is only for processes that do not respond."""

# Ctrl-C and the end of a terminal session are handled by the master. Children get a handler that
# does nothing instead of SIG_IGN, which programs started by a job would inherit.
CHILD_DEAF_TO = frozenset({Signals.SIGINT, Signals.SIGHUP})

BLOCKED = MASTER_SIGNALS | CHILD_DEAF_TO
"""The signals that are blocked around a fork."""


def _flag_only(_signum: int, _frame: FrameType | None) -> None:
    """The handler of a signal that has no effect."""


class SignalInbox:
    """The signals that have arrived and have not been read.

    It replaces the handlers of *handled* and the process's wake-up descriptor. It can only be
    created in the main thread.

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
        """Install the handlers, replacing any installed meanwhile."""
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for signum in self._handled:
            signal.signal(signum, self._note)
            # C libraries used by jobs should not see interrupted calls.
            signal.siginterrupt(signum, False)

    def _note(self, signum: int, _frame: FrameType | None) -> None:
        self._arrived.add(signum)

    def fileno(self) -> int:
        """Readable when :meth:`read` has something to return."""
        return self._reader.fileno()

    def read(self) -> list[Signals]:
        """The signals that have arrived since the last call, each once, the most urgent first.

        The bytes are only a wake-up: if the socket is full, the byte of a signal is lost, but the
        signal is in the set.
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
        """Restore the wake-up descriptor and the default handlers."""
        signal.set_wakeup_fd(-1)
        for signum in self._handled:
            signal.signal(signum, signal.SIG_DFL)
        self.abandon()

    def abandon(self) -> None:
        """Only close the sockets: for a forked child, which installs its own handlers."""
        self._reader.close()
        self._writer.close()


def install_for_master() -> SignalInbox:
    """Reset inherited signal state (a blocked TERM and an ignored HUP survive exec), and install
    the master's handlers."""
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
    # Ignored instead: a background write to a terminal with TOSTOP would be retried forever.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    signal.signal(RAW_DUMP, signal.SIG_IGN)  # until the dumper is there
    for signum in CHILD_DEAF_TO:
        signal.signal(signum, _flag_only)
    return SignalInbox(CHILD_SIGNALS)


def give_back(inbox: SignalInbox) -> None:
    """Undo :func:`install_for_child` in a process that is no longer a child of the master; keeps
    the application's own handlers."""
    inbox.close()
    usual = {Signals.SIGINT: signal.default_int_handler}
    for signum in CHILD_DEAF_TO:
        if signal.getsignal(signum) is _flag_only:
            signal.signal(signum, usual.get(signum, signal.SIG_DFL))
    for signum in (Signals.SIGTTOU, RAW_DUMP):
        if signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
