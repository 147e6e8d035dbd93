"""``jobctl`` at a terminal of its own."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

from jobd.testing import EmbeddedServer
from tests.support.daemon import environment


def at_terminal(
    server: EmbeddedServer,
    out: Path | None,
    *words: str,
    columns: int = 80,
    env: dict[str, str] | None = None,
) -> tuple[str, int]:
    """What ``jobctl`` writes to a terminal, and its exit code.

    Args:
        out: a file for its standard output; None if that is the terminal, too.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with out.open("wb") if out else os.fdopen(os.dup(theirs), "wb") as file:
        running = subprocess.Popen(
            [sys.executable, "-m", "jobctl", *words],
            env=environment({"JOBD_REDIS": server.url, "TERM": "xterm", **(env or {})}),
            stdin=theirs,
            stdout=file,
            stderr=theirs,
        )
    os.close(theirs)
    found = b""
    try:
        while part := os.read(ours, 65536):
            found += part
    except OSError:  # its end of the terminal is closed
        pass
    os.close(ours)
    return found.decode(), running.wait(30)
