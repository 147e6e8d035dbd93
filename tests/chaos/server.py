"""The server of a chaos run: it can die, freeze, be cut off, and have its clock set.

Two ways lead to it: its UNIX socket, and a network that can go dark.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

from jobd.testing import EmbeddedServer
from tests.chaos.plan import Fault, Kind
from tests.faults.clock import Clock, NoClock
from tests.faults.proxy import Proxy

_STEP = 3600
"""Seconds by which the clock steps, half as much or half as much again."""

_FROZEN = (Kind.SERVER_STOP, Kind.FREEZE)
_ENDED = (Kind.SERVER_KILL, Kind.SERVER_SHUTDOWN, Kind.OUTAGE)
_STEPS = {Kind.CLOCK_FORWARD: _STEP, Kind.CLOCK_BACK: -_STEP}
KINDS = (*_FROZEN, *_ENDED, *_STEPS)
"""What can happen to it."""


class Server(EmbeddedServer):
    """Runs from the beginning on.

    A server that syncs once a second may by design forget the last one when it is killed; here each
    answer is to be a promise. And the file is read in the end, so it must hold everything from the
    beginning.

    Args:
        directory: for the library that sets the clock.
        after: calls a function after so many seconds.

    Attributes:
        down: it does not answer, because of a fault that is not over.
        network: what leads to it by TCP.
    """

    def __init__(self, directory: Path, after: Callable[[float, Callable[[], None]], None]) -> None:
        self._company = ExitStack()
        self._clock: Clock | None = None
        try:
            self._clock = Clock(directory)
        except NoClock:
            pass  # then its clock goes right
        else:
            self._company.callback(self._clock.close)
        super().__init__(
            tcp=True,
            options={"appendfsync": "always", "auto-aof-rewrite-percentage": "0"},
            environment={**os.environ, **(self._clock.environment if self._clock else {})},
        )
        self.down = False
        self._after = after
        self.start()
        self.network = self._company.enter_context(Proxy(urlsplit(self.tcp_url).port or 0))

    def suffer(self, fault: Fault) -> bool:
        """Do it, and undo it later; returns whether it can be done now."""
        if self.down or (fault.kind in _STEPS and self._clock is None):
            return False
        if fault.kind in _STEPS:
            self._step(round(_STEPS[fault.kind] * (0.5 + fault.victim)))
            self._after(fault.seconds, lambda: self._step(0))
            return True
        self.down = True
        if fault.kind in _FROZEN:
            self.send(signal.SIGSTOP)
            self._after(fault.seconds, self._goes_on)
        else:
            (self.stop if fault.kind is Kind.SERVER_SHUTDOWN else self.kill)()
            self._after(fault.seconds, self._starts)
        return True

    def _step(self, seconds: int) -> None:
        if self._clock is not None:
            self._clock.step(seconds)

    def _goes_on(self) -> None:
        self.send(signal.SIGCONT)
        self.down = False

    def _starts(self) -> None:
        self.start()
        self.down = False

    def go_dark(self) -> None:
        """Take the network away: what is connected now will not be again."""
        self.network.dark = True
        self.network.cut()

    def light_up(self) -> None:
        """Take new connections again."""
        self.network.dark = False

    def remove(self) -> None:
        """End everything."""
        self._company.close()
        super().remove()
