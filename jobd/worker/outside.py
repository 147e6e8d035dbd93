"""What a worker is told by others than its master: by Unix signals, and through Redis."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from signal import Signals

from structlog.typing import FilteringBoundLogger


class Outside:
    """Both kinds of signals, for the main thread.

    Args:
        quiet: called with the cause.
        stop: called with the cause, and the seconds for the jobs that run.
        show_stacks: called for a dump of the threads.
        timeout: seconds for them where nothing else is said.
        log: for signals that nobody knows.
        ring: wakes the main thread.
    """

    def __init__(
        self,
        quiet: Callable[[str], None],
        stop: Callable[[str, float], None],
        show_stacks: Callable[[], None],
        timeout: float,
        log: FilteringBoundLogger,
        ring: Callable[[], None],
    ) -> None:
        self._quiet = quiet
        self._stop = stop
        self._show_stacks = show_stacks
        self._timeout = timeout
        self._log = log
        self._ring = ring
        self._remote: deque[str] = deque()

    def on_signal(self, signal: Signals) -> None:
        """Obey a Unix signal."""
        cause = f"signal {signal.name.removeprefix('SIG')}"
        match signal:
            case Signals.SIGTERM:
                self._stop(cause, self._timeout)
            case Signals.SIGQUIT:
                self._stop(cause, 0.0)
            case Signals.SIGUSR1 | Signals.SIGTSTP:
                self._quiet(cause)
            case _:
                pass

    def take(self, name: str) -> None:
        """Take a signal from Redis. Called by the heartbeat thread."""
        self._remote.append(name)
        self._ring()

    def obey(self) -> None:
        """Obey those that were taken."""
        while self._remote:
            name = self._remote.popleft()
            cause = f"remote signal {name}"
            match name:
                case "TSTP":
                    self._quiet(cause)
                case "TERM":
                    self._stop(cause, self._timeout)
                case "TTIN":
                    self._show_stacks()
                case _:
                    self._log.warning("remote_signal_unknown", name=name)
