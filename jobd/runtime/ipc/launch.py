"""The pipe on which a starting daemon reports its result to the launcher in the terminal."""

from __future__ import annotations

import os
import select
import time

import msgspec

from jobd.errors import Exit
from jobd.text.printable import encode
from jobd.wire.json_value import UNREADABLE

_MOST = 32_768  # bytes; a pipe can buffer that much


class Verdict(msgspec.Struct, frozen=True):
    """The result of the start: *code* 0 and the master's *pid*, or an exit code and its reason."""

    code: int
    text: str = ""
    pid: int = 0


class Launch:
    """The daemon's end of the pipe. Without a descriptor (``jobd run``) its methods do nothing."""

    def __init__(self, fd: int = -1) -> None:
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def report(self, verdict: Verdict) -> None:
        """Report the result, once."""
        if self._fd >= 0:
            try:
                os.write(self._fd, encode(verdict, _MOST))
            except OSError:
                pass  # the launcher was interrupted; the daemon continues without it
            self.close()

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def await_verdict(fd: int, timeout: float) -> Verdict:
    """The launcher's end: wait until the daemon has reported or exited."""
    content = b""
    give_up = time.monotonic() + timeout
    while True:
        ready, _, _ = select.select([fd], [], [], max(0.0, give_up - time.monotonic()))
        if not ready:
            return Verdict(
                Exit.SOFTWARE,
                f"the daemon has not reported for {timeout:g} seconds; see its log",
            )
        chunk = os.read(fd, 65536)
        if not chunk:
            break
        content += chunk
    try:
        return msgspec.json.decode(content, type=Verdict)
    except UNREADABLE:
        return Verdict(Exit.SOFTWARE, "the daemon died during its start; see its log")
