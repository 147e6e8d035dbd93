"""The daemon of ``jobd dev``: a child that runs ``jobd run``, and its control socket.

It is executed, and not forked: watchfiles has a thread of its own, and a master must not.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from jobd.dev.log import Log
from jobd.master.control import control_socket
from jobd.master.control.messages import Reload, Shown, Status
from jobd.testing.tether import spawn
from jobd.wire.json_value import UNREADABLE

_ANSWER_SECONDS = 2.0


class Said(msgspec.Struct, frozen=True):
    """An answer to the request for a reload, of any type."""

    type: str
    error: str = ""


_ENDED = Said("failed", "the daemon ended before it was done")


class Daemon:
    """One ``jobd run`` with these arguments.

    Args:
        whole_log: whether to show what its processes say of themselves, too.
    """

    def __init__(self, words: tuple[str, ...], pidfile: Path, *, whole_log: bool) -> None:
        self._control = pidfile.with_suffix(".sock")
        self._line: socket.socket | None = None
        self._rest = b""
        self._log = None if whole_log else Log()
        # Not in the session of the terminal: Ctrl-C there is for `jobd dev`.
        command = [sys.executable, "-m", "jobd", "run", *words, f"--pidfile={pidfile}"]
        self.process = spawn(command, output=self._log.end if self._log else sys.stderr.fileno())
        if self._log:
            self._log.start()

    @property
    def code(self) -> int | None:
        """The exit code; None while it runs."""
        return self.process.poll()

    def runs(self) -> bool:
        """Whether its workers are ready."""
        try:
            with control_socket.connect(self._control) as line:
                line.settimeout(_ANSWER_SECONDS)
                line.sendall(msgspec.json.encode(Status()) + b"\n")
                answer = msgspec.json.decode(line.makefile("rb").readline(), type=Shown)
        except (OSError, *UNREADABLE):
            return False
        return answer.status.state == "running"

    def reload(self) -> None:
        """Request a reload, as ``jobctl reload --wait`` does; :meth:`answers` tells how it went.

        Raises:
            OSError: the daemon cannot be reached.
        """
        self._forget()
        line = control_socket.connect(self._control)
        line.settimeout(_ANSWER_SECONDS)
        line.sendall(msgspec.json.encode(Reload()) + b"\n")
        line.setblocking(False)
        self._line = line

    def answers(self) -> Iterator[Said]:
        """What it has answered to the last request since the last call, without waiting."""
        while self._line is not None:
            try:
                read = self._line.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                read = b""
            *lines, self._rest = (self._rest + read).split(b"\n")
            said = [msgspec.json.decode(each, type=Said) for each in lines if each]
            if not read and not any(one.type in ("done", "failed") for one in said):
                said.append(_ENDED)
            yield from said
            if not read or any(one.type in ("done", "failed") for one in said):
                self._forget()

    def _forget(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line, self._rest = None, b""

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        self.process.send_signal(number)

    def ended_within(self, seconds: float) -> bool:
        """Whether it has ended after *seconds* at most."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        self._forget()
        if self._log:
            self._log.finish()
        return True
