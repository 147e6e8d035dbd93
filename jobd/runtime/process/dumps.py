"""Where a process's C-level stack dump goes: where others can read it without its help.

A thread that holds the interpreter in C code cannot run a line of Python, so it cannot say where it
is. ``faulthandler``'s signal handler can, and it writes here. A child's is anonymous memory opened
for appending, made before the fork and shared with the master; anyone who can open the master's
descriptors can read it. The master's own is a file in its run directory.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from jobd.runtime.process.safe_path import create

_LIMIT = 1 << 20
_FATAL = b"Fatal Python error"
_CRASHED = "Current thread "


MEMORY = "jobd-dump-"
"""With the child's nonce behind it, how the kernel shows its memory in /proc."""


class StackDump:
    """The dump memory of one child, which is known by its *nonce*.

    Raises:
        OSError: there is no descriptor left.
    """

    def __init__(self, nonce: str) -> None:
        self.fd = os.memfd_create(f"{MEMORY}{nonce}", os.MFD_CLOEXEC)
        fcntl.fcntl(self.fd, fcntl.F_SETFL, os.O_APPEND)

    def clear(self) -> None:
        if self.fd >= 0:
            os.ftruncate(self.fd, 0)

    def size(self) -> int:
        return os.fstat(self.fd).st_size if self.fd >= 0 else 0

    def age(self) -> float:
        """Seconds since somebody wrote to it or cleared it."""
        return time.time() - os.fstat(self.fd).st_mtime

    def read(self) -> str:
        """Everything since :meth:`clear`, up to a mebibyte; nothing once it is closed."""
        if self.fd < 0:
            return ""
        return os.pread(self.fd, _LIMIT, 0).decode(errors="replace")

    def crash(self) -> str:
        """The stacks that a crash in C code left, "" when there was none; first the thread that
        crashed, which Python writes where it comes, in the middle of those that wait."""
        content = os.pread(self.fd, _LIMIT, 0)
        at = content.rfind(_FATAL)
        if at < 0:
            return ""
        head, *parts = content[at:].decode(errors="replace").rstrip().split("\n\n")
        return "\n\n".join([head, *sorted(parts, key=lambda one: not one.startswith(_CRASHED))])

    def trim(self) -> None:
        """Throw a dump away that nobody fetched once it is too large."""
        if self.size() > _LIMIT:
            self.clear()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class DumpFile(StackDump):
    """The master's dump file.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.fd = create(path, os.O_RDWR | os.O_APPEND, 0o600)
        self._path = path

    def remove(self) -> None:
        """Remove and close it."""
        self._path.unlink(missing_ok=True)
        self.close()
