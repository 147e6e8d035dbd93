"""Reopening of the log: on request, and when the file has been moved away."""

from __future__ import annotations

import time
from collections.abc import Callable

from jobd.master.children.child_events import Staff
from jobd.runtime.ipc import messages
from jobd.runtime.log import log
from jobd.runtime.log.file import LogFile

_LOOK_EVERY = 10.0

logger = log.get("jobd.master")


class OwnLog:
    """The log of one master, and the dumps of the master and its children.

    Args:
        trim: truncates the master's own dump if it is too large.
    """

    def __init__(self, staff: Staff, logfile: LogFile, trim: Callable[[], None]) -> None:
        self._staff = staff
        self._logfile = logfile
        self._trim = trim
        self._next_look = time.monotonic() + _LOOK_EVERY

    @property
    def trouble(self) -> str:
        """Why log records are lost; "" if they are written."""
        return self._logfile.trouble

    def reopen(self) -> str | None:
        """Reopen it; returns the error, if any. The master goes first: it creates the file."""
        error = self._logfile.reopen()
        self._next_look = time.monotonic() + _LOOK_EVERY
        if error is None:  # the log file itself reports a failure
            logger.info("log_reopened")
        return error

    def turn(self, now: float) -> None:
        """Reopen the log after a rotation without a signal, and keep unread dumps small."""
        if now < self._next_look:
            return
        self._next_look = now + _LOOK_EVERY
        self._trim()
        for child in self._staff.slots.children():
            child.workplace.dump.trim()
        if self._logfile.moved() and self.reopen() is None:
            self._staff.tell(messages.Reopen())
