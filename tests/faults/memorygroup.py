"""A limit on the memory of some processes, at which the kernel kills one of them, as in a container
or a unit with ``MemoryMax``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path


class NoMemoryGroup(Exception):
    """This machine does not let us limit memory; the text says why."""


class MemoryGroup:
    """A control group, of either version of the kernel's interface.

    Args:
        megabytes: what its processes may use together, from the moment on that they are in it.

    Raises:
        NoMemoryGroup: not here.
    """

    def __init__(self, megabytes: int) -> None:
        above, limits, self._counter = _place()
        self._path = above / f"jobd-test.{os.getpid()}"
        try:
            self._path.mkdir()
        except OSError as error:
            raise NoMemoryGroup(f"no control group can be made in {above}: {error}") from None
        for name in limits:  # those of swap after that of memory
            if (self._path / name).exists():
                (self._path / name).write_text(str(megabytes << 20))

    def add(self, pids: Iterable[int]) -> None:
        """Put processes into it; their children will be in it, too."""
        for pid in pids:
            (self._path / "cgroup.procs").write_text(str(pid))

    @property
    def kills(self) -> int:
        """How many processes of it the kernel has killed for want of memory."""
        found = re.search(r"^oom_kill (\d+)$", (self._path / self._counter).read_text(), re.M)
        if found is None:
            raise AssertionError(f"{self._counter} does not count the processes that were killed")
        return int(found[1])

    def close(self) -> None:
        """Forget it; its processes must have ended."""
        self._path.rmdir()


def _place() -> tuple[Path, list[str], str]:
    """Where a group can be made, its files for the limit, and the one that counts."""
    ours = dict(
        line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines()
    )
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mounted, kind, options, *_ = line.split()
        at = Path(mounted)
        if kind == "cgroup" and "memory" in options.split(","):
            names = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
            return at / ours["memory"].strip("/"), names, "memory.oom_control"
        if kind == "cgroup2" and "memory" in (at / "cgroup.subtree_control").read_text().split():
            return at, ["memory.max", "memory.swap.max"], "memory.events"
    raise NoMemoryGroup("there is no control group of memory")
