"""The daemon's log at the terminal, without what its processes say of themselves.

A reload alone would print ten lines. Warnings and errors stay, and so does all that jobs log; with
``--log-level debug`` everything does.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import tty

_PROCESS = rb"(?:master|keeper|zygote(?:\.\d+)?|worker\.\d+)\[\d+\]"
_COLOUR = rb"(?:\x1b\[[\d;]*m)?"
_OWN = re.compile(
    rb"\S+Z " + _COLOUR + rb"(?:INFO *" + _COLOUR + b" " + _PROCESS + rb" +(?:"
    rb"(?:child|master|worker)_\w+|state_changed|lead_changed|\w+_received|control_channel_joined)"
    # The verdict is printed, with what to do.
    rb"|ERROR *" + _COLOUR + b" " + _PROCESS + rb" +reload_failed)(?: |$)"
)


class Log:
    """Copies the log to standard error.

    Attributes:
        end: descriptor for the daemon's output, a terminal if standard error is one.
    """

    def __init__(self) -> None:
        if sys.stderr.isatty():
            self._source, self.end = os.openpty()
            tty.setraw(self.end)
        else:
            self._source, self.end = os.pipe()
        self._thread = threading.Thread(target=self._copy, daemon=True)

    def start(self) -> None:
        """Begin, when the daemon has :attr:`end`."""
        os.close(self.end)
        self._thread.start()

    def finish(self) -> None:
        """Wait until everything is copied, after the daemon has ended."""
        # A program that a job has started may have its output for longer.
        self._thread.join(1.0)

    def _copy(self) -> None:
        rest = b""
        while True:
            try:
                read = os.read(self._source, 65536)
            except OSError:  # of a terminal that no process has any more
                read = b""
            *lines, rest = (rest + read).split(b"\n")
            shown = [line + b"\n" for line in lines if not _OWN.match(line)]
            if not read and rest:
                shown.append(rest + b"\n")
            try:
                sys.stderr.buffer.write(b"".join(shown))
                sys.stderr.flush()
            except (OSError, ValueError):
                pass  # the terminal is gone, and the end is near; the daemon must not wait
            if not read:
                os.close(self._source)
                return
