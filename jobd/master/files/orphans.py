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
        its workers, all verified to be dead, for the keeper to recover their jobs.
    """
    keeper = [previous.keeper] if previous.keeper else []
    records = [*previous.zygotes, *previous.workers, *keeper]
    # After a reboot none of its processes is alive, even if PIDs and ticks match.
    living = _open(records) if previous.boot_id == processes.boot_id() else []
    give_up = time.monotonic() + _PATIENCE
    for process in living:
        logger.warning("orphan_told_to_stop", orphan=process.pid)
        process.send(signal.SIGTERM)
    for process in living:
        if not process.wait(give_up - time.monotonic()):
            logger.warning("orphan_killed", orphan=process.pid)
            process.send(signal.SIGKILL)
            process.wait(_PATIENCE)
        process.close()
    dead = {entry.identity: entry for entry in previous.unrecovered}
    for worker in previous.workers:
        dead.setdefault(worker.identity, Unrecovered(worker.identity, (), "its master was killed"))
    return list(dead.values())


def _open(records: list[ChildRecord]) -> list[processes.Process]:
    found = (processes.Process.open(record.pid, record.ticks) for record in records)
    return [process for process in found if process is not None and _is_ours(process)]


def _is_ours(process: processes.Process) -> bool:
    if processes.owner(process.pid) == os.geteuid():
        return True
    process.close()
    return False
