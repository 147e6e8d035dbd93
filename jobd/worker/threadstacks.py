"""The thread dump of a worker: which job each thread runs, for how long, and its stack."""

from __future__ import annotations

import threading
import time
from collections.abc import Set

from jobd.runtime.process import stacks
from jobd.text.printable import cut, name_of
from jobd.wire.job_name import job_name, shown_arguments
from jobd.worker.run.coroutines import Coroutines
from jobd.worker.run.pool import Pool


def dump(
    name: str,
    pool: Pool,
    coroutines: Coroutines,
    holding: int,
    waiting: Set[str],
    *,
    busy: bool,
    arguments: bool,
) -> str:
    """The stacks of this process.

    Args:
        name: the worker's name, for the heading.
        holding: how many jobs it has in flight.
        waiting: names of idle threads outside the pool.
        busy: only the threads that run jobs.
        arguments: include the arguments of these jobs.
    """
    now = time.monotonic_ns()
    idents = {name_of(thread, 200): thread.ident for thread in threading.enumerate()}
    notes = {
        ident: f"{job_name(work.job.payload) or 'a malformed job'} "
        f"from {cut(work.job.queue, 200)}, for {(now - work.started) / 1e9:.1f} s"
        + (f", with {shown_arguments(work.job.payload)}" if arguments else "")
        for work in pool.working()
        if (ident := idents.get(work.thread)) is not None
    }
    heading = (
        f"{name}: {len(notes)} of {pool.size} threads busy, "
        f"{holding} {'job' if holding == 1 else 'jobs'} in flight"
    )
    if busy:
        return stacks.dump(heading, notes, others=coroutines.stacks(), only=notes)
    idle = [
        ident
        for thread, ident in idents.items()
        if thread in pool.names | waiting and ident is not None and ident not in notes
    ]
    return stacks.dump(heading, notes, idle, coroutines.stacks())
