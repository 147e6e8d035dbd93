"""Destination of C-level stack dumps, which other processes can read without the process's help.

A process whose interpreter is blocked in C code cannot run Python to report its stacks, but
``faulthandler``'s signal handler can write them here. For a child, this is anonymous memory opened
for appending, created before the fork and shared with the master; anyone who can open the master's
descriptors can read it. For the master, it is a file in its run directory.
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
"""Name of the memory in /proc, followed by the child's nonce."""


class StackDump:
    """The dump memory of the child with this *nonce*.

    Raises:
        OSError: out of descriptors.
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
        """Seconds since it was last written or cleared."""
        return time.time() - os.fstat(self.fd).st_mtime

    def read(self) -> str:
        """Everything since :meth:`clear`, up to 1 MiB; "" after it has been closed."""
        if self.fd < 0:
            return ""
        return os.pread(self.fd, _LIMIT, 0).decode(errors="replace")

    def crash(self) -> str:
        """The stacks written by a crash in C code, the crashed thread first; "" if there was no
        crash."""
        content = os.pread(self.fd, _LIMIT, 0)
        at = content.rfind(_FATAL)
        if at < 0:
            return ""
        head, *parts = content[at:].decode(errors="replace").rstrip().split("\n\n")
        return "\n\n".join([head, *sorted(parts, key=lambda one: not one.startswith(_CRASHED))])

    def trim(self) -> None:
        """Discard the content if it has grown too large."""
        if self.size() > _LIMIT:
            self.clear()

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class DumpFile(StackDump):
    """The master's dump file.

    Raises:
        OSError: it cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self.fd = create(path, os.O_RDWR | os.O_APPEND, 0o600)
        self._path = path

    def remove(self) -> None:
        """Remove and close it."""
        self._path.unlink(missing_ok=True)
        self.close()
