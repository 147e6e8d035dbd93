"""How much memory processes have, each page divided by the number of processes that share it."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path

import psutil

_EVERY = 0.5


def pss(pid: int) -> float:
    """Proportional set size in MB; 0 for a process that has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    line = next(line for line in text.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) / 1024


def families(pids: Iterable[int]) -> list[int]:
    """These processes and all that they have started."""
    found = []
    for pid in pids:
        try:
            children = psutil.Process(pid).children(recursive=True)
        except psutil.NoSuchProcess:
            continue
        found += [pid, *(child.pid for child in children)]
    return found


class Watch:
    """The most memory that processes and what they have started had, in MB, while the ``with``
    statement lasted: looked at every half second."""

    def __init__(self, pids: Iterable[int]) -> None:
        self.most = 0.0
        self._pids = tuple(pids)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="footprint", daemon=True)

    def _run(self) -> None:
        while not self._ended.wait(_EVERY):
            self.most = max(self.most, sum(map(pss, families(self._pids))))

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
