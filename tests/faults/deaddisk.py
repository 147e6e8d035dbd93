"""A disk that does not answer: who reads from it waits in the kernel, and no signal but KILL ends
that.

It is a FIFO. A process that is to become another program opens it first, and until it has become
that program the kernel holds the thread that made it in an uninterruptible sleep.
"""

from __future__ import annotations

import os
from pathlib import Path

READ = (
    'os.posix_spawn("/bin/true", ["true"], {}, '
    'file_actions=[(os.POSIX_SPAWN_OPEN, 0, "disk", os.O_RDONLY, 0)])'
)
"""For applications: reads from the disk in the working directory, without letting go of the
interpreter meanwhile, and returns the process id of a child that ends by itself."""


class DeadDisk:
    """The disk; *path* is in the working directory of who is to read from it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def attach(self) -> None:
        """From now on it can be read from."""
        os.mkfifo(self._path)

    def answer(self) -> None:
        """Let go what waits for it, if anything does."""
        try:
            os.close(os.open(self._path, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            pass  # nobody waits


def waiting(pid: int) -> list[int]:
    """The threads of a process that wait in the kernel, the main thread as *pid* itself."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            if (task / "stat").read_text().rpartition(")")[2].split()[0] == "D":
                found.append(int(task.name))
        except OSError:
            continue  # it has ended
    return found
