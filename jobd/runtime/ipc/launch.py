"""The line from a starting daemon back to the terminal: a pipe that the launcher waits on."""

from __future__ import annotations

import os
import select
import time

import msgspec

from jobd.errors import Exit
from jobd.text.printable import encode

_MOST = 32_768  # bytes, which a pipe takes at once


class Verdict(msgspec.Struct, frozen=True):
    """How the start went: *code* 0 and the master's *pid*, or the exit code and one sentence."""

    code: int
    text: str = ""
    pid: int = 0


class Launch:
    """The daemon's end. Without a descriptor (``jobd run``) everything here does nothing."""

    def __init__(self, fd: int = -1) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def report(self, verdict: Verdict) -> None:
        """Say how it went, once."""
        if self._fd >= 0:
            try:
                os.write(self._fd, encode(verdict, _MOST))
            except OSError:
                pass  # the launcher was interrupted; the daemon goes on without it
            self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def await_verdict(fd: int, timeout: float) -> Verdict:
    """The launcher's end: wait until the daemon has spoken or has gone."""
    content = b""
    give_up = time.monotonic() + timeout
    while True:
        ready, _, _ = select.select([fd], [], [], max(0.0, give_up - time.monotonic()))
        if not ready:
            return Verdict(
                Exit.SOFTWARE,
                f"the daemon has said nothing for {timeout:g} seconds; look into its log",
            )
        chunk = os.read(fd, 65536)
        if not chunk:
            break
        content += chunk
    try:
        return msgspec.json.decode(content, type=Verdict)
    except (msgspec.DecodeError, ValueError):
        return Verdict(Exit.SOFTWARE, "the daemon died while it was starting; look into its log")
