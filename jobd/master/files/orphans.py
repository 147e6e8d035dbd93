"""Cleanup after a killed master: its workers, and the jobs that they held.

Workers notice their master's death and exit, but a stopped or hung one does not; and two daemons
must not run with one pidfile.
"""

from __future__ import annotations

import os
import signal
import time

from jobd.master.files.statefile import ChildRecord, State, Unrecovered
from jobd.runtime.log import log
from jobd.runtime.process import processes

_PATIENCE = 5.0

logger = log.get("jobd.master")


def sweep(previous: State) -> list[Unrecovered]:
    """End every process of the previous run that is still alive and belongs to this user.

    Returns:
        its workers, all verified to be dead, for the keeper to recover their jobs. One that lives,
        because it belongs to another user or waits in the kernel, is not among them: its lease says
        when it has ended.
    """
    keeper = [previous.keeper] if previous.keeper else []
    records = [*previous.zygotes, *previous.workers, *keeper]
    # After a reboot none of its processes is alive, even if PIDs and ticks match.
    found = _open(records) if previous.boot_id == processes.boot_id() else []
    living = [(record, process) for record, process in found if _is_ours(process)]
    spared = {record.identity for record, _ in found} - {record.identity for record, _ in living}
    give_up = time.monotonic() + _PATIENCE
    for _, process in living:
        logger.warning("orphan_told_to_stop", orphan=process.pid)
        process.send(signal.SIGTERM)
    for record, process in living:
        if not process.wait(give_up - time.monotonic()):
            logger.warning("orphan_killed", orphan=process.pid)
            process.send(signal.SIGKILL)
            if not process.wait(_PATIENCE):
                spared.add(record.identity)
    for _, process in found:
        process.close()
    dead = {entry.identity: entry for entry in previous.unrecovered}
    for worker in previous.workers:
        if worker.identity not in spared:
            cause = "its master was killed"
            dead.setdefault(worker.identity, Unrecovered(worker.identity, (), cause))
    return list(dead.values())


def _open(records: list[ChildRecord]) -> list[tuple[ChildRecord, processes.Process]]:
    found = ((record, processes.Process.open(record.pid, record.ticks)) for record in records)
    return [(record, process) for record, process in found if process is not None]


def _is_ours(process: processes.Process) -> bool:
    return processes.owner(process.pid) == os.geteuid()
