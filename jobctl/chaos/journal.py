"""What the jobs noted: every execution, by process."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

DIRECTORY = "CHAOS_JOURNAL"
"""The variable with the directory of the files."""

_OUTCOMES = {"e": "done", "f": "failed", "x": "wronged", "c": "cancelled"}


@dataclass(slots=True)
class Execution:
    """One execution of a job. Times are monotonic seconds.

    *outcome* is ``done``, ``failed`` (it was to fail), ``cancelled``, ``wronged`` (something was
    not as the job has a right to expect), or "" when its end was not reached.
    """

    jid: str
    pid: int
    began: float
    ended: float | None = None
    outcome: str = ""


def read(directory: Path) -> dict[str, list[Execution]]:
    """All executions by token (here called jid), in the order of their beginnings."""
    found: dict[str, list[Execution]] = defaultdict(list)
    for file in directory.iterdir():
        pid = int(file.name.partition(".")[0])
        running: dict[str, Execution] = {}
        # A last line without an end is being written, or its process was killed meanwhile.
        lines = file.read_text().split("\n")[:-1]
        for line in lines:
            what, jid, nanoseconds = line.split()
            at = int(nanoseconds) / 1e9
            if what == "b":
                running[jid] = Execution(jid, pid, at)
                found[jid].append(running[jid])
            else:
                running[jid].ended = at
                running[jid].outcome = _OUTCOMES[what]
    for executions in found.values():
        executions.sort(key=lambda execution: execution.began)
    return found
